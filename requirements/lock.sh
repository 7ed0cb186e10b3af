#!/usr/bin/env bash
# Resolves pyproject.toml anew into requirements/cpu.txt and gpu.txt (`make lock`). They hold for Linux on
# x86-64 and Python 3.11 to 3.13: no pinned package depends on which of them it is.
set -euo pipefail
cd "$(dirname "$0")/.."

for extra in cpu gpu; do
  . requirements/indexes.sh
  overrides=()
  if [ "$extra" = cpu ]; then overrides=(--overrides requirements/overrides.txt); fi
  VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip compile pyproject.toml --extra "$extra" --extra track --extra eval --extra gym --extra dev "${overrides[@]}" \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-header "${args[@]}" "$@" -q -o "requirements/$extra.txt"
done
