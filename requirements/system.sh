#!/usr/bin/env bash
# Debian packages that the tests use: the code sandbox's first tier, the browser that opens run reports, and the
# Prometheus that scrapes a run.
# As root they are installed; otherwise it is said what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
command -v bwrap >/dev/null || missing+=(bubblewrap)
command -v chromium >/dev/null || missing+=(chromium)
command -v prometheus >/dev/null || missing+=(prometheus)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  . requirements/progress.sh
  nothing() { :; }
  debian() { apt-get update -qq && apt-get install -y -qq "${missing[@]}" >/dev/null; }
  with_progress "installing Debian's ${missing[*]} for the tests (about a minute)" nothing debian || true
fi
for program in bwrap chromium prometheus; do
  command -v "$program" >/dev/null ||
    echo "$program is not here: what is tested with it is not tested (apt-get install bubblewrap chromium prometheus)" >&2
done
