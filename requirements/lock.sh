#!/usr/bin/env bash
# Resolves pyproject.toml anew into cpu.txt and gpu.txt of a folder (`make lock`: of requirements/), for Linux on
# x86-64 and Arm (aarch64) and for Python 3.11 to 3.13. What is pinned there already stays, unless --upgrade is given.
# Usage: requirements/lock.sh [FOLDER] [options of uv pip compile]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=requirements
if [ $# -gt 0 ] && [ -d "$1" ]; then folder="$1"; shift; fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
for extra in cpu gpu; do
  . requirements/indexes.sh
  # A wheel folder has the build of PyTorch for this machine; PyTorch's index has those for the others.
  for wheel in ${torch_wheels[@]+"${torch_wheels[@]}"}; do
    .venv/bin/python requirements/environments.py builds "$wheel" "$scratch"
    args+=(--find-links "$scratch")
  done
  if [ "$extra" = cpu ]; then args+=(--overrides requirements/overrides.txt); fi
  VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip compile pyproject.toml --extra "$extra" --extra track --extra eval --extra gym --extra dev \
    --universal --python-version 3.11 --no-header "${args[@]}" "$@" -q -o "$folder/$extra.txt"
  .venv/bin/python requirements/environments.py simplify "$folder/$extra.txt"
done
