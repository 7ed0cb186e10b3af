"""Where words go: ours to the person, everybody else's into a log file.

    echo, complain, bars -----------------------------> the terminal, or where the command was sent to
    what libraries print, here and in child processes -> <run folder>/logs/driver.log
    what a worker and its libraries print ------------> <run folder>/logs/<worker>.log

Libraries print through logging, warnings, `print` and C alike, and so do the processes that they start. What they all
have in common is the process's file descriptors 1 and 2; so these lead to the log, and we write to copies of what they
were.
"""

import contextlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from srm_ray.console.advice import Advisor
from srm_ray.errors import printable

DRIVER = "driver.log"
FOLDER = "SRM_RAY_LOGS"  # environment variable of workers: the folder of their logs


@dataclass
class Routed:
    """out, err: to the person. log: where descriptors 1 and 2 lead; None: nowhere that has a name yet."""

    out: TextIO
    err: TextIO
    log: Path | None = None


_routed: Routed | None = None


@dataclass
class Folders:
    """Log folders of this process's runs, newest last."""

    used: list[Path] = field(default_factory=list)


_folders = Folders()
advisor = Advisor()


def out() -> TextIO:
    return _routed.out if _routed else sys.stdout


def err() -> TextIO:
    return _routed.err if _routed else sys.stderr


def complain(text: str) -> None:
    """To stderr, where there is still someone."""
    with contextlib.suppress(OSError):
        print(printable(text), file=err(), flush=True)


class Cleaned:
    """A text stream on which control characters are shown, for what libraries print where a person reads."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def show_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback to stderr: its message may hold what anybody wrote. In place of `sys.excepthook`."""
    complain("".join(traceback.format_exception(kind, error, trace)).rstrip())


def silence_children() -> None:
    """From now on output goes into the log alone."""
    if _routed is not None:
        for stream in (_routed.out, _routed.err):
            os.dup2(1, stream.fileno())


def leave_terminal() -> None:
    """Nobody reads any more (a terminal that is gone, a pipe that is closed): what would be said there, where every
    write fails, goes into the log from now on."""
    if _routed is None:
        return
    for stream in (_routed.out, _routed.err):
        try:
            os.write(stream.fileno(), b"")  # of a terminal that is gone
            stream.flush()  # of a pipe, with what it did not take
        except OSError:
            os.dup2(1, stream.fileno())


def on_terminal() -> bool:
    """Whether a person watches, on a terminal that can move its cursor."""
    return out().isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


@contextlib.contextmanager
def routed() -> Iterator[None]:
    """While the block runs, what libraries print goes to a log: an unnamed one until `log_to` names it."""
    global _routed
    _flush()
    copies = os.dup(1), os.dup(2)
    streams = [os.fdopen(os.dup(copy), "w", buffering=1, errors="replace") for copy in copies]
    _routed = Routed(streams[0], streams[1])
    with tempfile.TemporaryFile("ab") as unnamed:
        _lead(unnamed.fileno())
    try:
        yield
    finally:
        _flush()
        for copy, place in zip(copies, (1, 2), strict=True):
            os.dup2(copy, place)
            os.close(copy)
        _routed = None
        for stream in streams:
            stream.close()


def log_to(folder: Path) -> None:
    """What libraries print from now on, and what they have printed where that had no name yet, goes into the log
    folder, made where it is not there. Workers that are started from now on write theirs beside it."""
    folder = folder.absolute()
    _folders.used = [*(one for one in _folders.used if one != folder), folder]
    if _routed is None:
        return
    _flush()
    folder.mkdir(parents=True, exist_ok=True)
    advisor.follow(folder)
    path = folder / DRIVER
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if _routed.log is None:
        os.write(log, _read_all(1))
    _lead(log)
    os.close(log)
    _routed.log = path


@contextlib.contextmanager
def log_restored() -> Iterator[None]:
    """`log_to` within the block holds until its end."""
    before = _routed.log if _routed else None
    try:
        yield
    finally:
        if before is not None:
            log_to(before.parent)


def log_folder() -> Path | None:
    """Where logs go now."""
    return _folders.used[-1] if _folders.used else None


def keep_log(name: str) -> None:
    """In a worker's process: what it prints from now on goes to `<log folder>/<name>.log`, where the folder can be
    seen from here; else it stays where Ray keeps it."""
    folder = os.environ.get(FOLDER, "")
    if not folder or not os.path.isdir(folder):
        return
    with contextlib.suppress(OSError):
        log = os.open(Path(folder) / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        _flush()
        _lead(log)
        os.close(log)


def logs_of(message: str) -> str:
    """The logs that say more than a message about what went wrong: those of the workers that it names, else the
    driver's; "" where nothing was printed."""
    if found := logs_of_workers(message):
        return found
    drivers = [folder / DRIVER for folder in reversed(_folders.used)]
    return next((_short(path) for path in drivers if path.is_file() and path.stat().st_size), "")


def logs_of_workers(message: str) -> str:
    """The logs of the workers that a message names; "" where there are none."""
    for folder in reversed(_folders.used):
        found = [path for path in sorted(folder.glob("*-*.log")) if re.search(rf"\b{path.stem}\b", message)]
        if found := [path for path in found if path.stat().st_size]:
            return ", ".join(map(_short, found))
    return ""


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed, or nobody reads it any more
            stream.flush()


def _lead(log: int) -> None:
    os.dup2(log, 1)
    os.dup2(log, 2)


def _read_all(descriptor: int) -> bytes:
    with open(f"/proc/self/fd/{descriptor}", "rb") as file:
        return file.read()
