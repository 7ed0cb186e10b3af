# `make demo`, `make speedrun` and `make test` each set up what they need (.venv, from requirements/*.txt).
# EXTRA=gpu takes the CUDA build of vLLM and PyTorch; PYTHON chooses the interpreter.
EXTRA ?= cpu
PYTHON ?= python3

.PHONY: setup demo speedrun test lint lock clean

setup:
	@PYTHON=$(PYTHON) requirements/setup.sh $(EXTRA)

demo: setup
	@.venv/bin/python -m srm_ray.grpo

speedrun: setup
	@.venv/bin/python -m srm_ray.speedrun

test: setup
	@requirements/system.sh
	@.venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

lock: setup
	@requirements/lock.sh --upgrade

# Runs stay: they are results.
clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
