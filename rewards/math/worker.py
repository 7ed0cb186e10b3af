"""Steps three and four of the comparison, as they run inside killable worker processes.

`serve_compare`: our own parser and evaluation (`rewards.math.compare`).
`serve_fallback`: Math-Verify, for sums, products, integrals and limits, which that parser reads but
does not evaluate. It reads more freely than ours does, so it is never given what ours rejects.

`serve_kinds`: whether a gold is read at all.

The first two answer each item `[answer, gold, question]` (answer and gold cleaned) with `[correct, reason]`;
`serve_compare` also with `[null, "unread"]`, which passes the pair on to the fallback.
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


def serve(sock: socket.socket, grade: Callable[[str, str, str], Reply]) -> None:
    """Answer batches until the owner closes. A defect in `grade` is an answer too, and is logged."""
    sys.setrecursionlimit(20_000)
    while True:
        _, items = receive(sock)
        for answer, gold, question in items:
            try:
                reply = grade(answer, gold, question)
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


def serve_kinds(sock: socket.socket) -> None:
    serve(sock, is_gold)


def is_gold(_: str, gold: str, question: str = "") -> Reply:
    """Whether a (cleaned) gold can be compared with anything."""
    from rewards.math import reading

    kind = reading.kind(gold)
    return [kind != "none" and (kind != "big" or allowed(gold)), kind]


def compare_pair(answer: str, gold: str, question: str = "") -> Reply:
    from rewards.math import compare, reading
    from rewards.math.tree import TooBig, Undefined, Unreadable

    try:
        verdict = compare.same_answer(answer, gold, question)
        return [verdict.correct, verdict.reason]
    except TooBig:
        return [None, "undecided"] if reading.is_too_big(gold) else [False, "too_long"]
    except Undefined:  # both were read, and one has no value (1/0)
        return [False, "wrong"]
    except Unreadable:
        return unread(answer, gold)


def unread(answer: str, gold: str) -> Reply:
    """The verdict on a pair that could not be compared: whose fault it is, or that the fallback may try."""
    from rewards.math import reading

    wanted, given = reading.kind(gold), reading.kind(answer)
    if wanted == "none":
        return [None, "bad_gold"]
    if given == "none":
        return [False, "rejected_syntax"]
    if wanted != "big":  # a sum, integral or limit that is left to do is no answer where the gold has none
        return [False, "wrong"]
    if reading.outline(answer) != reading.outline(gold):
        return [False, "wrong"]
    return [None, "unread"]


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


def fallback_pair(answer: str, gold: str, question: str = "") -> Reply:
    """Math-Verify, which must agree in both directions."""
    right = parsed(gold) if allowed(gold) else []
    if not right:
        return [None, "bad_gold"]
    left = parsed(answer) if allowed(answer) else []
    if not left:
        return [False, "rejected_syntax"]
    from math_verify import verify

    options = {"float_rounding": 12, "numeric_precision": 30, "strict": True, "timeout_seconds": None}
    same = bool(verify(right, left, **options)) and bool(verify(left, right, **options))
    return [True, "correct"] if same else [False, "wrong"]


@lru_cache(maxsize=256)
def parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # Expressions only: Math-Verify gives strings back for what it cannot parse, and those were
    # compared in step one.
    found = parse(f"${text}$", [LatexExtractionConfig(boxed_match_priority=-1)], parsing_timeout=None)
    return [item for item in found if not isinstance(item, str)]
