"""Memory that a long-lived process has freed and its allocator still holds.

Batches of ever other shapes leave holes between what stays: glibc keeps them, and a process grows for hours that
leaks nothing.
"""

import ctypes
from functools import cache

EVERY = 20  # steps, or groups


@cache
def c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def give_back(count: int) -> None:
    """Return free memory to the system, every `EVERY` counts. Nothing where the C library is not glibc."""
    if count % EVERY:
        return
    trim = getattr(c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)
