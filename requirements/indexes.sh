# Sourced by setup.sh and lock.sh: fills `args` with the wheel folders and indexes that uv is to use for $extra, and
# `torch_wheels` with the builds of PyTorch for CPUs that those folders have.

# uv does not read pip's configuration: hand its wheel folders and indexes on, so that a
# machine set up for pip alone (mirrors, no network) works here too.
args=()
torch_wheels=()
pip_get() { .venv/bin/python -m pip config get "$1" 2>/dev/null || true; }
for source in "${PIP_FIND_LINKS:-}" "$(pip_get global.find-links)"; do
  for link in $source; do
    builds=$(compgen -G "$link/torch-*+cpu-*.whl" || true)
    # To a resolver 2.13.0+cpu is a 2.13.0, and the newest: such a folder would put it in the place of the CUDA build.
    if [ -n "$builds" ] && [ "$extra" = gpu ]; then continue; fi
    args+=(--find-links "$link")
    torch_wheels+=($builds)
  done
done
for url in ${PIP_INDEX_URL:-$(pip_get global.index-url)}; do args+=(--default-index "$url"); done

# PyTorch's CPU build is on PyTorch's own index, unless pip is configured with a folder that has it.
wheel="$(mktemp -d)"
if [ "$extra" = cpu ] && ! .venv/bin/python -m pip download -q --no-deps --no-index -d "$wheel" \
    "torch==$(sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements/cpu.txt)" >/dev/null 2>&1; then
  args+=(--index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
fi
rm -rf "$wheel"
