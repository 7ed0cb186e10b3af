"""Checkpoints: `checkpoints/step_<n>/`, committed by an atomic rename.

A checkpoint is written into a hidden folder, flushed to disk, marked complete and renamed. A process
killed at any moment leaves the previous checkpoint as the newest complete one.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from srm_ray.errors import RunError

MARKER = "COMPLETE"


def folder_of(root: Path, step: int) -> Path:
    return root / f"step_{step}"


def complete(root: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every complete checkpoint, oldest first."""
    found = []
    for path in root.glob("step_*"):
        number = path.name.removeprefix("step_")
        if number.isdigit() and (path / MARKER).is_file():
            found.append((int(number), path))
    return sorted(found)


def newest(root: Path) -> tuple[int, Path] | None:
    """The newest complete checkpoint, or None."""
    return max(complete(root), default=None)


@contextlib.contextmanager
def writing(root: Path, step: int, *, keep: int) -> Iterator[Path]:
    """Yield an empty folder to write into; on leaving, commit it as step_<step> and drop the oldest.

    Raises RunError, with what is still usable, where the disk is full or cannot be written.
    """
    partial = root / f".step_{step}.partial"
    try:
        root.mkdir(parents=True, exist_ok=True)
        discard_partial(root)
        partial.mkdir()
        yield partial
        (partial / MARKER).write_text(f"{step}\n")
        _flush(partial)
        final = folder_of(root, step)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _flush_folder(root)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not _is_disk_error(error):
            raise
        before = newest(root)
        usable = f"{before[1]} is complete and usable" if before else "no earlier checkpoint exists"
        raise RunError(
            f"checkpoint of step {step} could not be written to {root} ({_disk_reason(error)}); {usable}"
        ) from error
    for _, old in complete(root)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def discard_partial(root: Path) -> None:
    """Remove what interrupted writes left."""
    for left in root.glob(".step_*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def discard_after(root: Path, step: int) -> None:
    """Remove checkpoints newer than `step`."""
    for number, path in complete(root):
        if number > step:
            shutil.rmtree(path, ignore_errors=True)


def _is_disk_error(error: BaseException) -> bool:
    """An OSError, or a library's report of one: torch raises a RuntimeError when its writer fails."""
    text = str(error)
    return isinstance(error, OSError) or any(
        sign in text
        for sign in ("No space left on device", "PytorchStreamWriter failed", "unexpected pos", "Disk quota exceeded")
    )


def _disk_reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return os.strerror(errno.ENOSPC)


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
