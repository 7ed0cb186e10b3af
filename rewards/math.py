"""Math grader: is this answer the gold answer?

    completion --extract--> answer --check--> --clean--> equal strings? --number--> equal rationals?

Equivalence is symmetric, and nothing in an answer is ever executed.
"""

import time

from rewards import extract, normal
from rewards.verdict import CORRECT, Reward, Verdict, judged


def quick(answer: str, gold: str) -> Verdict | None:
    """Steps one and two, in the caller's process, in microseconds; None where they do not decide."""
    for text in (answer, gold):
        reason = normal.check(text)
        if reason:
            return Verdict(False, reason)
    left, right = normal.clean(answer), normal.clean(gold)
    if not left:
        return Verdict(False, "no_answer")
    if normal.squeeze(left) == normal.squeeze(right):
        return CORRECT
    first, second = normal.number(left), normal.number(right)
    if first is not None and second is not None:
        return judged(first == second)
    return None


def equivalent(answer: str, gold: str) -> Verdict:
    """Whether two answers are the same mathematical object. Symmetric."""
    verdict = quick(answer, gold)
    return verdict if verdict is not None else Verdict(None, "undecided")


def score(completion: str, gold: str, *, allow_last_number: bool = False) -> Reward:
    """Extract the final answer of `completion` and compare it with `gold`.

    value: 1.0 when correct, else 0.0. `correct` is None where the grader could not decide.
    """
    start = time.perf_counter()
    answers = extract.final_answers(completion, allow_last_number)
    verdict = choose([equivalent(answer, gold) for answer in answers])
    return Reward(float(verdict.correct is True), verdict.correct, verdict.reason, time.perf_counter() - start)


def choose(verdicts: list[Verdict]) -> Verdict:
    """One verdict for all the final answers given: they must agree."""
    if not verdicts:
        return Verdict(False, "no_answer")
    outcomes = {verdict.correct for verdict in verdicts}
    if outcomes == {True, False}:
        return Verdict(False, "several_answers")
    return verdicts[-1] if None not in outcomes else next(v for v in verdicts if v.correct is None)
