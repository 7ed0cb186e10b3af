"""Errors that a user can cause, and how a command reports them.

A `UserError` ends a command with one line on stderr and exit status 2; a `RunError` (the run
itself went wrong: a worker missed its time limit, weights did not arrive, the disk is full) with
one line and exit status 1. Anything else is a defect and keeps its traceback.
"""

import functools
import re
import sys
from collections.abc import Callable


class UserError(Exception):
    """Wrong input: an unknown key, a missing file, a model that is not one. Exit status 2."""


class RunError(Exception):
    """The run cannot go on. The message names the cause and what to do. Exit status 1."""


class LearnerLost(RunError):
    """A learner rank died or hangs. The driver starts the learner again from the newest checkpoint."""


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Wrap a command's `main`: a `UserError` or `RunError` becomes one line and an exit status."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except UserError as error:
            print(f"error: {one_line(error)}", file=sys.stderr)
            return 2
        except RunError as error:
            print(f"run failed: {one_line(error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    return wrapped


def one_line(error: BaseException) -> str:
    return " ".join(printable(str(error)).split())


# Control characters other than line feed and tab, the C1 controls, and what turns the direction of text around.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Text that a terminal shows and does not obey: control characters as `\x1b`, whoever wrote them."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
