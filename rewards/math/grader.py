"""Math grader: is this answer the gold answer?

    completion --extract--> answer --check--> --clean--> equal strings? --number--> equal rationals?
        (in the caller's process, microseconds)
    --Pool--> own parser, exact and 60-digit evaluation --Pool--> Math-Verify
        (in killable processes with a memory and a time limit)

Equivalence is symmetric, but for percentages (a gold of 10 % accepts `10\\%`, `10` and `.1`; a gold
of 10 does not accept `10\\%`). Nothing in an answer is ever executed. Two deviations from the usual
ladder: the own parser's trees are evaluated in prime fields and with mpmath instead of being
rewritten by SymPy (which is what hangs), and Math-Verify sees only what that parser does not read.

    python -m rewards.math [--workers N] [--timeout S] [--last-number]   JSON lines in, JSON lines out

In: {"answer": ..., "gold": ...} or {"completion": ..., "gold": ...}. Out, in order:
{"correct": true|false|null, "reason": "...", "seconds": ...}.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from rewards import extract
from rewards.math import normalize
from rewards.sandbox.processes import Died, Failure, Pool
from rewards.singleton import shared
from rewards.verdict import CORRECT, Reward, Verdict, judged

TIMEOUT = 5.0  # seconds a comparison may take in a worker process
MEMORY = 1 << 30  # bytes of address space a worker process may have
MAX_COMPLETION = 2_000_000  # characters of a completion that are searched for an answer
MAX_ANSWERS = 20


def quick(answer: str, gold: str) -> Verdict | None:
    """Steps one and two, in the caller's process, in microseconds; None where they do not decide."""
    left, right = cleaned(answer), cleaned(gold)
    if isinstance(left, Verdict):
        return left
    if isinstance(right, Verdict):
        return Verdict(None, "bad_gold")
    return quick_cleaned(left, right)


def cleaned(text: str) -> str | Verdict:
    """The cleaned text, or why it is no answer."""
    reason = normalize.check(text)
    if reason:
        return Verdict(False, reason)
    return normalize.clean(text) or Verdict(False, "no_answer")


def quick_cleaned(left: str, right: str) -> Verdict | None:
    if left == right or normalize.squeeze(left) == normalize.squeeze(right):
        return CORRECT
    first, second = normalize.number(left), normalize.number(right)
    if first is None or second is None:
        return None
    if first != second and abs(first - second) * 10**5 < abs(first):
        return None  # a decimal may stand for what rounds to it: left to `compare.same_rounded`
    return judged(first == second)


class Grader:
    """Owns the worker processes of steps three and four. Thread-safe; `close` ends them.

    processes: how many pairs are compared at once. timeout: seconds each comparison may take.
    """

    def __init__(self, processes: int = 1, timeout: float = TIMEOUT, memory: int = MEMORY) -> None:
        self.timeout = timeout
        self.own = Pool(
            "rewards.math.worker:serve_compare",
            ["rewards.math.worker", "rewards.math.compare", "mpmath"],
            processes,
            memory,
        )
        self.fallback = Pool(
            "rewards.math.worker:serve_fallback", ["math_verify", "rewards.math.worker"], processes, memory
        )

    def equivalent(self, answer: str, gold: str) -> Verdict:
        return self.grade([(answer, gold)])[0]

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each (answer, gold), in order; equal pairs are compared once."""
        verdicts: dict[tuple[str, str], Verdict] = {}
        open_pairs: dict[tuple[str, str], tuple[str, str]] = {}
        for pair in dict.fromkeys(pairs):
            verdict = quick(*pair)
            if verdict is None:
                open_pairs[pair] = (normalize.clean(pair[0]), normalize.clean(pair[1]))
            else:
                verdicts[pair] = verdict
        if open_pairs:
            verdicts.update(zip(open_pairs, self.compare(list(open_pairs.values())), strict=True))
        return [verdicts[pair] for pair in pairs]

    def compare(self, pairs: list[tuple[str, str]]) -> list[Verdict]:
        """Steps three and four for cleaned pairs."""
        replies = self.ask(self.own, pairs)
        unread = [n for n, reply in enumerate(replies) if not isinstance(reply, Failure) and reply[1] == "unread"]
        faults = {n: replies[n][2] for n in unread}
        if unread:
            for n, reply in zip(unread, self.ask(self.fallback, [pairs[n] for n in unread]), strict=True):
                replies[n] = reply
        return [self.verdict(reply, faults.get(n, "")) for n, reply in enumerate(replies)]

    def ask(self, pool: Pool, pairs: list[tuple[str, str]]) -> list[Any]:
        try:
            return pool.run(pairs, self.timeout)
        except Died:
            return [Failure("worker_died")] * len(pairs)

    @staticmethod
    def verdict(reply: Any, fault: str) -> Verdict:
        if isinstance(reply, Failure):
            return Verdict(None, reply.reason)
        correct, reason = reply
        if reason == "unread":
            return Verdict(False, "rejected_syntax" if fault else "wrong")
        return Verdict(correct, reason)

    def score(self, completion: str, gold: str, *, allow_last_number: bool = False) -> Reward:
        """As the module's `score`."""
        start = time.perf_counter()
        answers = answers_of(completion, allow_last_number)
        if isinstance(answers, Verdict):
            verdict = answers
        else:
            verdict = choose(answers, self.grade([(answer, gold) for answer in answers]), self.grade)
        return Reward(float(verdict.correct is True), verdict.correct, verdict.reason, time.perf_counter() - start)

    def warm(self) -> None:
        """Start both kinds of process now, so that the first hard pair does not wait for imports."""
        for pool in (self.own, self.fallback):
            with contextlib.suppress(Died):
                pool.warm()

    def pids(self) -> list[int]:
        return [*self.own.pids(), *self.fallback.pids()]

    def close(self) -> None:
        self.own.close()
        self.fallback.close()


def answers_of(completion: str, allow_last_number: bool = False) -> list[str] | Verdict:
    """The distinct final answers of a completion, or the verdict where there is none to compare."""
    if len(completion) > MAX_COMPLETION:
        return Verdict(False, "too_long")
    answers = list(dict.fromkeys(a.strip() for a in extract.final_answers(completion, allow_last_number)))
    if not answers:
        return Verdict(False, "no_answer")
    if len(answers) > MAX_ANSWERS:
        return Verdict(False, "several_answers")
    return answers


def choose(answers: list[str], verdicts: list[Verdict], grade: Any) -> Verdict:
    """One verdict for all the final answers given: they must be one and the same answer."""
    if len(answers) == 1 or all(verdict.correct for verdict in verdicts):
        return verdicts[-1]
    if any(verdict.correct for verdict in verdicts):
        if any(verdict.correct is None for verdict in verdicts):
            return next(verdict for verdict in verdicts if verdict.correct is None)
        return Verdict(False, "several_answers")
    same = grade([(answer, answers[-1]) for answer in answers[:-1]])
    return verdicts[-1] if all(verdict.correct for verdict in same) else Verdict(False, "several_answers")


# The module's own grader, started when first needed
default_grader = shared(Grader)


def equivalent(answer: str, gold: str) -> Verdict:
    """Whether two answers are the same mathematical object (see the module's docstring).

    Any two strings give a verdict; `correct` is None where the grader could not decide.
    """
    verdict = quick(answer, gold)
    return verdict if verdict is not None else default_grader().equivalent(answer, gold)


def score(completion: str, gold: str, *, allow_last_number: bool = False) -> Reward:
    """Extract the final answer of `completion` and compare it with `gold`.

    value: 1.0 when correct, else 0.0. `correct` is None where the grader could not decide.
    allow_last_number: without an announced answer, take the last number of the text.
    """
    return default_grader().score(completion, gold, allow_last_number=allow_last_number)


# Command line


def grade_record(record: dict[str, Any], grader: Grader, allow_last_number: bool) -> Verdict:
    gold = record.get("gold")
    if isinstance(gold, str) and isinstance(answer := record.get("answer"), str):
        return grader.equivalent(answer, gold)
    if isinstance(gold, str) and isinstance(completion := record.get("completion"), str):
        reward = grader.score(completion, gold, allow_last_number=allow_last_number)
        return Verdict(reward.correct, reward.reason)
    return Verdict(None, "bad_input")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rewards.math", description="Grade math answers, JSON lines.")
    parser.add_argument("--workers", type=int, default=2, help="pairs compared at once (default 2)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help=f"seconds a comparison may take ({TIMEOUT})")
    parser.add_argument("--last-number", action="store_true", help="take the last number where none is announced")
    options = parser.parse_args(argv)
    if options.workers < 1 or options.timeout <= 0:
        parser.error("--workers must be at least 1 and --timeout above 0")
    from rewards.jsonl_server import serve

    grader = Grader(options.workers, options.timeout)
    try:

        def grade(record: dict[str, Any]) -> dict[str, Any]:
            verdict = grade_record(record, grader, options.last_number)
            return {"correct": verdict.correct, "reason": verdict.reason}

        return serve(sys.stdin.buffer, sys.stdout, grade, options.workers)
    finally:
        grader.close()
