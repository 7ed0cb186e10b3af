"""The hub as a user sees it: without a network its client tries for half a minute, and that is one error."""

import contextlib
import logging
from collections.abc import Iterator

from srm_ray.console.progress import phase


@contextlib.contextmanager
def asking(name: str) -> Iterator[None]:
    """While the block loads `name` from the hub: says that it goes on, in place of the client's line for each try."""
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        with phase(f"asking the hub for {name}"):
            yield
    finally:
        client.setLevel(level)
