"""Importing large libraries in less time."""

import contextlib
import gc
import sys
from collections.abc import Iterator

# What they import where it is installed, and nothing here uses: scikit-learn by transformers' assisted generation,
# MLflow by DeepSpeed's autotuner (which takes four fifths of importing DeepSpeed).
UNUSED = ("mlflow", "sklearn")


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """For imports alone, nothing of a user's: within the block there is no `UNUSED` package to import, unless it had
    been, and no garbage is collected, of which imports make none."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # to `import` and to `find_spec`: there is none
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
