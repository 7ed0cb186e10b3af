#!/usr/bin/env bash
# Downloads and compiles llama.cpp into .venv, with $CMAKE_ARGS.
set -euo pipefail
cd "$(dirname "$0")/.."
. requirements/progress.sh
nothing() { :; }
wanted="$(sed -n 's/^llamacpp = \["\(.*\)"\]$/\1/p' pyproject.toml)"
export VIRTUAL_ENV="$PWD/.venv"
with_progress "downloading and compiling $wanted: about six minutes on two cores" nothing \
  .venv/bin/uv pip install -q --no-binary llama-cpp-python "$wanted"
