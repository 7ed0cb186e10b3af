"""The hub as a user sees it: without a network its client tries for half a minute, and that is one error."""

import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from srm_ray.console.progress import phase


@contextlib.contextmanager
def asking(name: str) -> Iterator[None]:
    """While the block loads `name` from the hub: says that it goes on, in place of the client's line for each try."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        with phase(f"asking the hub for {name}", status=partial(downloaded, name)):
            yield
    finally:
        client.setLevel(level)


def downloaded(name: str) -> str:
    """How much of a model or data set has come, while some of it is still coming, e.g. `1.2 GB downloaded`."""
    from huggingface_hub.constants import HF_HUB_CACHE

    files: dict[Path, int] = {}
    for kind in ("models", "datasets"):
        for path in (Path(HF_HUB_CACHE) / f"{kind}--{name.replace('/', '--')}" / "blobs").glob("*"):
            with contextlib.suppress(FileNotFoundError):  # it has its final name since
                files[path] = path.stat().st_size
    coming = any(path.suffix == ".incomplete" for path in files)
    return f"{sum(files.values()) / 1e9:.2f} GB downloaded" if coming else ""
