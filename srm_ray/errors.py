"""Errors that a user can cause. How a command reports them: `srm_ray.console.command`.

A `UserError` ends a command with one line on stderr and exit status 2; a `RunError` (the run
itself went wrong: a worker missed its time limit, weights did not arrive, the disk is full) with
one line and exit status 1. Anything else is a defect and keeps its traceback.
"""

import re


class UserError(Exception):
    """Wrong input: an unknown key, a missing file, a model that is not one. Exit status 2."""


class RunError(Exception):
    """The run cannot go on. The message names the cause and what to do. Exit status 1."""


class LearnerLost(RunError):
    """A learner rank died or hangs. The driver starts the learner again from the newest checkpoint."""


LONGEST = 2000  # characters of a message: it may show a value of a file from elsewhere


def one_line(error: BaseException) -> str:
    """Its message in one line that a terminal shows, the middle of a long one left out."""
    text = " ".join(printable(str(error)[: 100 * LONGEST]).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 500]} ... {text[-490:]}"


# Control characters other than line feed and tab, the C1 controls, other ends of lines, what turns the direction of
# text around or shapes it, annotations, and the tags that write text which nobody sees.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Text that a terminal shows and does not obey: control characters as `\x1b`, whoever wrote them."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
