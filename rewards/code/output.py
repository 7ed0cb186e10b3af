"""What a program printed, against what it should have printed.

Lines are compared as text, without white space at their ends and without empty lines at the end. Where the expected
output writes a number with a point or an exponent, a number in its place may differ by `tolerance` (1e-6): relatively
for numbers below 1, absolutely from there on, and by its millionth relatively (1e-12) above a million.
Tests of which none expects any output are passed by nobody. Whole numbers are text: 3 is neither 3.0 nor 03.
"""

import re
from typing import Any

from rewards.code.inside.tolerance import TOLERANCE, within
from rewards.code.sandbox import Ended

REAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,3})?", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
SPACE = re.compile(r"(\s+)")
LONGEST = 64  # characters of a number that is read as one
RAISED = {"MemoryError": "memory", "SyntaxError": "rejected_syntax", "IndentationError": "rejected_syntax"}


def judge(ended: Ended, expected: str, tolerance: float = TOLERANCE) -> str:
    """The reason-word of one run of a program."""
    if ended.reason:
        return ended.reason
    status = ended.frame
    error = raised(status)
    if error is not None:
        return RAISED.get(error[0], "runtime_error") if isinstance(error[0], str) else "runtime_error"
    if status != ["done"] and (not ended.codes or ended.codes[0] != 0):
        return "no_result"
    return "correct" if same(ended.output.decode(errors="replace"), expected, tolerance) else "wrong"


def raised(frame: Any) -> tuple[Any, Any] | None:
    """(class, text) of what a program raised, by its last frame (`inside/candidate.py`), as the candidate's process
    says it; None for any other frame."""
    is_raise = isinstance(frame, list) and len(frame) == 4 and frame[0] == "raise"
    return (frame[1], frame[2]) if is_raise else None


def same(output: str, expected: str, tolerance: float = TOLERANCE) -> bool:
    ours, theirs = lines(output), lines(expected)
    return len(ours) == len(theirs) and all(
        one == other or same_numbers(SPACE.split(one), SPACE.split(other), tolerance)
        for one, other in zip(ours, theirs, strict=True)
    )


def lines(text: str) -> list[str]:
    """Lines without white space at their ends, without empty ones at the end."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


def same_numbers(ours: list[str], theirs: list[str], tolerance: float) -> bool:
    """Whether two lines differ in nothing but real numbers, and in those within the tolerance."""
    return len(ours) == len(theirs) and all(
        one == other or near(one, other, tolerance) for one, other in zip(ours, theirs, strict=True)
    )


def near(one: str, other: str, tolerance: float) -> bool:
    if max(len(one), len(other)) > LONGEST or not REAL.fullmatch(other) or not NUMBER.fullmatch(one):
        return False
    return bool(within(float(one), float(other), tolerance))
