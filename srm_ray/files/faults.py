"""What a machine refuses: a full disk, a folder that may not be written, too many open files. Each in one line."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from srm_ray.errors import RunError, UserError

SPACE = "free some space there, then give the same command again"
FOLDER = "let it be written, or give another folder"
FILES = "raise the limit of open files (ulimit -n 65536)"
ADVICE = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: "raise the limit of a file's size (ulimit -f unlimited)",
    errno.EROFS: FOLDER,
    errno.EACCES: FOLDER,
    errno.EPERM: FOLDER,
    errno.EIO: "the disk, or the connection to it, fails",
    errno.EMFILE: FILES,
    errno.ENFILE: FILES,
}
# How libraries that are not written in Python name an errno: ours through Ray, those in Rust.
NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)|\bOs \{ code: (\d+)")
# Writers that do not say why: torch's, and NumPy's `tofile`.
SHORT = re.compile(r"PytorchStreamWriter failed|unexpected pos|^\d+ requested and \d+ written$")


class WriteFailed(RunError):
    """A file could not be written. The message names it, the cause, and what to do."""


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Within the block the file or folder at `path` is written. Raises WriteFailed where the machine refuses that."""
    try:
        yield
    except (RunError, UserError):
        raise
    except Exception as error:
        number = refused(error)
        if number is None:
            raise
        cause = os_reason(number)
        other = error.filename if isinstance(error, OSError) else None
        if isinstance(other, str) and Path(path).name not in other:
            cause = f"{other}: {cause}"  # what is read meanwhile
        raise WriteFailed(f"{path} could not be written: {cause}") from error


def refused(error: BaseException) -> int | None:
    """The errno of what the machine refused, whoever reports it; None of another error."""
    if isinstance(error, OSError) and error.errno:
        return error.errno if error.errno in ADVICE else None
    text = str(error)
    for found in NUMBER.finditer(text):
        number = int(found[found.lastindex or 1])
        if number in ADVICE:
            return number
    if SHORT.search(text):
        return errno.ENOSPC
    return None


def os_reason(number: int) -> str:
    """E.g. `No space left on device; free some space there, then give the same command again`."""
    return f"{os.strerror(number)}; {ADVICE[number]}"


def line_of(error: BaseException) -> str:
    """One line on what the machine refused, "" of another error."""
    number = refused(error)
    if number is None:
        return ""
    name = error.filename if isinstance(error, OSError) and error.filename else ""
    return f"{name}: {os_reason(number)}" if name else os_reason(number)
