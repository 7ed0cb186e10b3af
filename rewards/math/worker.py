"""Steps three and four of the comparison, as they run inside killable worker processes.

`serve_compare`: our own parser and evaluation (`rewards.math.compare`).
`serve_fallback`: Math-Verify, for what that parser does not read (sums, integrals, ...).

Both answer each item `[answer, gold]` (cleaned strings) with `[correct, reason]`; `serve_compare`
also with `[null, "unread", fault]`, which passes the pair on to the fallback.
"""

import logging
import re
import socket
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rewards.sandbox.processes import receive, send

Reply = list[Any]

# What the fallback is given: short, without names that are no LaTeX, without anything that SymPy
# would try to write out (large powers, factorials, sums of many terms).
FALLBACK_CHARS = 400
REFUSED = re.compile(r"__|['\"`;@#]|\d{16}|\d{3,}\s*!|!\s*!|\)\s*!|\^\s*\{?\s*[-+]?\d{4,}|\*\*|\^[^^]*\^[^^]*\^[^^]*\^")
LARGE_BOUND = re.compile(r"\\(?:sum|prod)(?![a-z])[^=]*=(?:.*\d{4,}|[^}]*\}?\s*\^\s*\{?\s*\d+\s*[\^!*\\(])", re.DOTALL)
PLAIN_NAME = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")


def serve(sock: socket.socket, grade: Callable[[str, str], Reply]) -> None:
    """Answer batches until the owner closes. A defect in `grade` is an answer too, and is logged."""
    sys.setrecursionlimit(20_000)
    while True:
        _, items = receive(sock)
        for answer, gold in items:
            try:
                reply = grade(answer, gold)
            except MemoryError:
                reply = [None, "undecided"]
            except RecursionError:
                reply = [False, "too_long"]
            except Exception:  # counted by its reason; never a reward of 0
                traceback.print_exc()
                reply = [None, "grader_error"]
            send(sock, reply)


def serve_compare(sock: socket.socket) -> None:
    serve(sock, compare_pair)


def serve_fallback(sock: socket.socket) -> None:
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own alarms are off
    serve(sock, fallback_pair)


def compare_pair(answer: str, gold: str) -> Reply:
    from rewards.math import compare
    from rewards.math.algebra import Undefined
    from rewards.math.latex import TooBig, Unreadable

    try:
        return judged(compare.same_answer(answer, gold))
    except TooBig:
        return [None, "undecided"] if too_big(gold) else [False, "too_long"]
    except Undefined:  # both were read, and one has no value (1/0)
        return judged(False)
    except Unreadable:
        return [None, "unread", "" if readable(answer) else "answer"]


def judged(same: bool) -> Reply:
    return [True, "correct"] if same else [False, "wrong"]


def too_big(text: str) -> bool:
    """Whether `text` is too large to evaluate by itself."""
    from rewards.math import compare
    from rewards.math.algebra import Undefined
    from rewards.math.latex import TooBig, Unreadable

    try:
        compare.same_answer(text, text)
    except TooBig:
        return True
    except (Unreadable, Undefined):
        return False
    return False


def readable(text: str) -> bool:
    from rewards.math import compare, latex

    if compare.is_words(text):
        return True
    try:
        for reading in compare.readings(text):
            latex.parse(reading)
    except latex.Unreadable:
        return False
    return True


def allowed(text: str) -> bool:
    """Whether the fallback may see `text`."""
    return (
        len(text) <= FALLBACK_CHARS
        and text.isascii()
        and not REFUSED.search(text)
        and not LARGE_BOUND.search(text)
        and not PLAIN_NAME.search(re.sub(r"\\(?:text|mathrm|operatorname|begin|end)\s*\{[^{}]*\}", " ", text))
        and text.count("{") + text.count("(") <= 40
    )


def fallback_pair(answer: str, gold: str) -> Reply:
    """Math-Verify, which must agree in both directions."""
    if not (allowed(answer) and allowed(gold)):
        return [False, "unread"]
    from math_verify import verify

    left, right = parsed(answer), parsed(gold)
    if not left or not right:
        return [False, "unread"]
    options = {"float_rounding": 12, "numeric_precision": 30, "strict": True, "timeout_seconds": None}
    return judged(bool(verify(right, left, **options)) and bool(verify(left, right, **options)))


@lru_cache(maxsize=256)
def parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # Expressions only: Math-Verify gives strings back for what it cannot parse, and those were
    # compared in step one.
    found = parse(f"${text}$", [LatexExtractionConfig(boxed_match_priority=-1)], parsing_timeout=None)
    return [item for item in found if not isinstance(item, str)]
