"""What a machine does to a writer, within this process: a kill before any of its steps, a disk without room."""

import contextlib
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.symlink", "shutil.rmtree"}


class Killed(BaseException):
    """The process is no more: nothing that it would have done to clean up happens."""


class Killer:
    """Counts the steps that this process takes in a folder, and allows `left` of them."""

    def __init__(self) -> None:
        self.folder, self.left, self.armed = "", 0, False

    def hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.armed and event in STEPS and str(args[0]).startswith(self.folder):
            if self.left <= 0:
                raise Killed
            self.left -= 1

    @contextlib.contextmanager
    def after(self, steps: int, folder: Path) -> Iterator[None]:
        self.folder, self.left, self.armed = str(folder), steps, True
        try:
            yield
        finally:
            self.armed = False


killer = Killer()
sys.addaudithook(killer.hook)


def kill_everywhere(root: Path, before: Callable[[Path], None], work: Callable[[Path], None]) -> Iterator[Path]:
    """A folder for each moment at which `work` may be killed, made by `before`; the last one is where it was not."""
    for steps in range(1000):
        folder = root / f"killed_after_{steps}"
        folder.mkdir()
        before(folder)
        try:
            with killer.after(steps, folder):
                work(folder)
        except Killed:
            yield folder
        else:
            assert steps > 2, "it takes no steps that are seen"
            yield folder
            return
    pytest.fail("it never ends")


@contextlib.contextmanager
def no_room(size: int = 2048) -> Iterator[None]:
    """No file can be longer than `size` bytes: the write that would make it so fails, whatever language writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open no file more, whatever others (a collector, a thread) close meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def content(folder: Path) -> dict[str, bytes]:
    """Files by name, without locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
