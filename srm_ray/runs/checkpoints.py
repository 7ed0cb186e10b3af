"""Checkpoints: `checkpoints/step_<n>/`, committed by an atomic rename.

A checkpoint is written into a hidden folder, flushed to disk, marked complete and renamed. A process
killed at any moment leaves the previous checkpoint as the newest complete one.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from srm_ray.errors import RunError
from srm_ray.files.atomic import discard, flush, flush_tree
from srm_ray.files.faults import refused

MARKER = "COMPLETE"


def folder_of(root: Path, step: int) -> Path:
    return root / f"step_{step}"


def complete(root: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every complete checkpoint, oldest first."""
    found = []
    for path in root.glob("step_*"):
        number = path.name.removeprefix("step_")
        if number.isdecimal() and len(number) < 16 and (path / MARKER).is_file():
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
        flush_tree(partial)
        discard(folder_of(root, step))
        partial.rename(folder_of(root, step))
        flush(root)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        number = refused(error)
        if number is None:
            raise
        before = newest(root)
        usable = f"{before[1]} is complete and usable" if before else "no earlier checkpoint exists"
        raise RunError(
            f"checkpoint of step {step} could not be written to {root} ({os.strerror(number)}); {usable}"
        ) from error
    for _, old in complete(root)[:-keep]:
        discard(old)


def discard_partial(root: Path) -> None:
    """Remove what interrupted writes and removals left."""
    for left in (*root.glob(".step_*.partial"), *root.glob(".step_*.old")):
        shutil.rmtree(left, ignore_errors=True)


def discard_after(root: Path, step: int) -> None:
    """Remove checkpoints newer than `step`."""
    for number, path in complete(root):
        if number > step:
            discard(path)
