"""What is written is whole or not there, and a write that fails is one line with the file and the cause.

write_atomically(path, text)               a file
with replacing_file(path) as partial:      a file that is written piece by piece, or by a library
with replacing(folder) as partial:         a folder
append(path, text)                         lines at the end of a log
discard(folder)                            a folder is whole until it is not there any more
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from srm_ray.files.faults import writing_to

ABANDONED = 600.0  # seconds without a write


def write_atomically(path: Path, text: str, *, shared: bool = False) -> None:
    """Write beside `path` and rename, so that a reader sees the old file or the new one. Raises WriteFailed.

    shared: other processes may write it at the same time; the last one's is what stays.
    """
    with replacing_file(path, shared=shared) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A path to write a file to, which takes the place of `path` once it is whole and on the disk.

    Raises WriteFailed where that cannot be; then, and where the block raises, `path` is what it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial" if shared else f".{path.name}.partial")
    with writing_to(path):
        if shared:
            sweep(path)
        try:
            yield partial
            flush(partial)
            partial.replace(path)
        except Exception:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def sweep(path: Path) -> None:
    """Remove what processes that were killed have left of a shared file."""
    for left in path.parent.glob(f".{path.name}.*.partial"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A path to write a folder to, which takes the place of `folder` once it is whole and on the disk.

    Raises WriteFailed where that cannot be. A process killed at any moment leaves the old folder, the new one or none.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    with writing_to(folder):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            yield partial
            flush_tree(partial)
            discard(folder)
            partial.rename(folder)
        except Exception:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        flush(folder.parent)


def discard(folder: Path) -> None:
    """Remove a folder that others take for whole: it loses its name first, as removing its files takes time."""
    gone = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def append(path: Path, text: str) -> None:
    """Add whole lines at the end of a file, of which a line that a kill cut short is removed.

    Raises WriteFailed; what there was room for of `text` is removed again.
    """
    with writing_to(path), path.open("ab") as file:
        end = cut_half_line(path, file.tell())
        if end != file.tell():
            file.truncate(end)
        try:
            file.write(text.encode("utf-8", "surrogatepass"))
            file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), end)
            raise


def cut_half_line(path: Path, size: int) -> int:
    """Where the last whole line of a file of `size` bytes ends."""
    with path.open("rb") as file:
        while size:
            start = max(0, size - 65536)
            file.seek(start)
            found = file.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    return 0


def flush_tree(folder: Path) -> None:
    """All files of a folder to disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            flush(path)
    flush(folder)


def flush(path: Path) -> None:
    """A file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
