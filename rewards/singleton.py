"""One of a kind for a whole process."""

import atexit
import threading
from collections.abc import Callable
from functools import cache
from typing import Protocol, TypeVar


class Closed(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closed)


def shared(make: Callable[[], T]) -> Callable[[], T]:
    """A function that gives the same object to every caller and thread: made when first asked for, closed at exit."""
    lock = threading.Lock()

    @cache
    def made() -> T:
        one = make()
        atexit.register(one.close)
        return one

    def given() -> T:
        with lock:
            return made()

    return given
