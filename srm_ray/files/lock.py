"""One command at a time in a folder: two that write into one would leave what neither of them made.

The lock is the kernel's (flock on `<folder>/.lock`): it goes with its process, however that ends.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from srm_ray.errors import UserError

NAME = ".lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # of file systems that know no locks


@dataclass
class Held:
    """Descriptors of this process's locks, by the file's device and number."""

    locks: dict[tuple[int, int], int] = field(default_factory=dict)


_held = Held()


def hold(folder: Path, option: str) -> None:
    """Keep every other process out of `folder`, which exists, until this one ends. Within one process it may be called
    again, as commands call each other.

    option: what named the folder, for the message. Raises UserError where another command works there, OSError where
    the folder cannot be written.
    """
    if not _lock(folder / NAME):
        who = f"another command{_holder(folder / NAME)}"
        raise UserError(f"{option} {folder}: {who} works in it: wait until it ends, or give another folder")


@contextlib.contextmanager
def alone(file: Path, waiting: Callable[[], None], *, poll: float = 1.0) -> Iterator[None]:
    """Within the block no other process is in such a block of `file`, which is made where it is not there.

    waiting: called once where another one is. poll: seconds between two tries.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    announced = False
    while not _lock(file):
        if not announced:
            waiting()
            announced = True
        time.sleep(poll)
    try:
        yield
    finally:
        release(file)


def release(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        info = file.stat()
        descriptor = _held.locks.pop((info.st_dev, info.st_ino), None)
        if descriptor is not None:
            os.close(descriptor)


def _lock(file: Path) -> bool:
    """False where another process holds it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    info = os.fstat(descriptor)
    key = (info.st_dev, info.st_ino)
    if key in _held.locks:
        os.close(descriptor)
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                return False
            raise
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    _held.locks[key] = descriptor
    return True


def _holder(file: Path) -> str:
    """E.g. ` (process 4711)`, where its name is written there."""
    text = file.read_text(errors="replace").strip()
    return f" (process {text})" if text.isdigit() else ""
