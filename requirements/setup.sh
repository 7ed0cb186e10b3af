#!/usr/bin/env bash
# Creates or updates .venv with the pinned versions of requirements/<extra>.txt.
# Usage: requirements/setup.sh [cpu|gpu]
set -euo pipefail
cd "$(dirname "$0")/.."
extra="${1:-cpu}"
lock="requirements/$extra.txt"
python="${PYTHON:-python3}"

"$python" - <<'PY' || { echo "srm_ray needs Python 3.11 to 3.13; set PYTHON=/path/to/python3.11" >&2; exit 2; }
import sys
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PY

stamp=.venv/.installed
want="$(cat "$lock" requirements/overrides.txt pyproject.toml requirements/setup.sh | sha256sum | cut -d' ' -f1)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

[ -x .venv/bin/python ] || "$python" -m venv .venv 2>/dev/null || {
  # Debian's python3 comes without ensurepip until python3-venv is installed.
  rm -rf .venv
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "install python3-venv, then run this again" >&2; exit 2; }
  apt-get update -qq && apt-get install -y -qq python3-venv python3-dev
  "$python" -m venv .venv
}
.venv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.8

# uv does not read pip's configuration: hand its wheel folders and indexes on, so that a
# machine set up for pip alone (mirrors, no network) works here too.
args=()
pip_get() { .venv/bin/python -m pip config get "$1" 2>/dev/null || true; }
for source in "${PIP_FIND_LINKS:-}" "$(pip_get global.find-links)"; do
  for link in $source; do args+=(--find-links "$link"); done
done
for url in ${PIP_INDEX_URL:-$(pip_get global.index-url)}; do args+=(--default-index "$url"); done

# PyTorch's CPU build is on PyTorch's own index, unless pip is configured with a folder that has it.
if [ "$extra" = cpu ] && ! .venv/bin/python -m pip download -q --no-deps --no-index -d "$(mktemp -d)" \
    "torch==$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$lock")" >/dev/null 2>&1; then
  args+=(--index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
fi

VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q "${args[@]}" -r "$lock" --no-deps
VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install -q --no-deps -e .
echo "$want" > "$stamp"
