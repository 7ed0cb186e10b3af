"""Math grader: is this answer the gold answer?

    completion --extract--> answer --check--> --clean--> equal strings? --number--> equal rationals?
        (in the caller's process, microseconds)
    --Pool--> own parser, exact and 60-digit evaluation, form --Pool--> Math-Verify
        (in killable processes with a memory and a time limit)

The value decides with two exceptions, which both need the question where there is one:

- A percent sign. A gold of 10 % accepts `10\\%`, `10` and `.1`; a gold of 10 accepts `10\\%` only where
  the question asks for a percentage.
- The form. Where the gold is a number, `47+36+29` is `unevaluated`, though it is 112, and so is what the
  question itself shows (see `rewards.math.forms`).

Nothing in an answer is ever executed. Two deviations from the usual ladder: the own parser's trees are
evaluated in prime fields and with mpmath instead of being rewritten by SymPy (which is what hangs), and
Math-Verify sees only sums, products, integrals and limits, which that parser reads and leaves alone.
A gold that cannot be read decides nothing: `correct` is None, the reason `bad_gold`.
"""

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from rewards import extract
from rewards.math import normalize
from rewards.sandbox.processes import Died, Failure, Pool
from rewards.singleton import shared
from rewards.verdict import CORRECT, Reward, Verdict, judged

TIMEOUT = 5.0  # seconds a comparison may take in a worker process
MEMORY = 1 << 30  # bytes of address space a worker process may have
MAX_COMPLETION = 2_000_000  # characters of a completion that are searched for an answer
MAX_QUESTION = 20_000  # characters of a question, from its end, that are read
MAX_ANSWERS = 20
# Commands that hold or set off what is not there.
HOLDERS = r"text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox|left\.|right\.|[,;:! ]"
EMPTY = re.compile(rf"(?:\\(?:{HOLDERS})|[{{}}\s~])*+")


def quick(answer: str, gold: str, question: str = "") -> Verdict | None:
    """Steps one and two, in the caller's process, in microseconds; None where they do not decide."""
    left, right = cleaned(answer), cleaned(gold)
    if isinstance(left, Verdict):
        return left
    if isinstance(right, Verdict):
        return Verdict(None, "bad_gold")
    return quick_cleaned(left, right, asked=bool(question))


def cleaned(text: str) -> str | Verdict:
    """The cleaned text, or why it is no answer."""
    reason = normalize.check(text)
    if reason:
        return Verdict(False, reason)
    kept = normalize.clean(text)
    return kept if kept and not EMPTY.fullmatch(kept) else Verdict(False, "no_answer")


def quick_cleaned(left: str, right: str, asked: bool = False) -> Verdict | None:
    if left == right or normalize.squeeze(left) == normalize.squeeze(right):
        return CORRECT
    first, second = normalize.number(left), normalize.number(right)
    if first is None or second is None:
        return None
    if first != second and abs(first - second) * 10**5 < abs(first):
        return None  # a decimal may stand for what rounds to it: left to `compare.same_rounded`
    if first == second and asked and not normalize.INTEGER.fullmatch(left):
        return None  # `224/2` may be what the question said
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

    def equivalent(self, answer: str, gold: str, question: str = "") -> Verdict:
        return self.grade([(answer, gold)], question)[0]

    def grade(self, pairs: Sequence[tuple[str, str]], question: str = "") -> list[Verdict]:
        """A verdict for each (answer, gold), in order; equal pairs are compared once. question: that of all of them."""
        verdicts: dict[tuple[str, str], Verdict] = {}
        open_pairs: dict[tuple[str, str], tuple[str, str]] = {}
        for pair in dict.fromkeys(pairs):
            verdict = quick(*pair, question)
            if verdict is None:
                open_pairs[pair] = (normalize.clean(pair[0]), normalize.clean(pair[1]))
            else:
                verdicts[pair] = verdict
        if open_pairs:
            verdicts.update(zip(open_pairs, self.compare(list(open_pairs.values()), question), strict=True))
        return [verdicts[pair] for pair in pairs]

    def compare(self, pairs: list[tuple[str, str]], question: str = "") -> list[Verdict]:
        """Steps three and four for cleaned pairs."""
        replies = self.ask(self.own, pairs, question)
        unread = [n for n, reply in enumerate(replies) if not isinstance(reply, Failure) and reply[1] == "unread"]
        if unread:
            for n, reply in zip(unread, self.ask(self.fallback, [pairs[n] for n in unread], question), strict=True):
                replies[n] = reply
        return [Verdict(None, reply.reason) if isinstance(reply, Failure) else Verdict(*reply) for reply in replies]

    def ask(self, pool: Pool, pairs: list[tuple[str, str]], question: str) -> list[Any]:
        try:
            return pool.run([(*pair, question[-MAX_QUESTION:]) for pair in pairs], self.timeout)
        except Died:
            return [Failure("worker_died")] * len(pairs)

    def score(self, completion: str, gold: str, question: str = "", *, allow_last_number: bool = False) -> Reward:
        """As the module's `score`."""
        start = time.perf_counter()
        answers = answers_of(completion, allow_last_number)
        if isinstance(answers, Verdict):
            verdict = answers
        else:
            verdict = choose(answers, self.grade([(answer, gold) for answer in answers], question), self.grade)
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


def choose(
    answers: list[str], verdicts: list[Verdict], grade: Callable[[Sequence[tuple[str, str]]], list[Verdict]]
) -> Verdict:
    """One verdict for all the final answers given: they must be one and the same answer."""
    if len(answers) == 1 or all(has_value(verdict) for verdict in verdicts):
        return verdicts[-1]
    if any(has_value(verdict) for verdict in verdicts):
        if any(verdict.correct is None for verdict in verdicts):
            return next(verdict for verdict in verdicts if verdict.correct is None)
        return Verdict(False, "several_answers")
    same = grade([(answer, answers[-1]) for answer in answers[:-1]])
    return verdicts[-1] if all(has_value(verdict) for verdict in same) else Verdict(False, "several_answers")


def has_value(verdict: Verdict) -> bool:
    """Whether an answer has the gold's value, if perhaps not its form."""
    return verdict.correct is True or verdict.reason == "unevaluated"


# The module's own grader, started when first needed
default_grader = shared(Grader)


def equivalent(answer: str, gold: str, question: str = "") -> Verdict:
    """Whether two answers are the same mathematical object (see the module's docstring).

    Any two strings give a verdict; `correct` is None where the grader could not decide. question: its text, which
    distinguishes a percentage that was asked for from one that was not, and an answer from the question repeated.
    """
    verdict = quick(answer, gold, question)
    return verdict if verdict is not None else default_grader().equivalent(answer, gold, question)


def score(completion: str, gold: str, question: str = "", *, allow_last_number: bool = False) -> Reward:
    """Extract the final answer of `completion` and compare it with `gold`.

    value: 1.0 when correct, else 0.0. `correct` is None where the grader could not decide.
    question: as for `equivalent`. allow_last_number: without an announced answer, take the text's last number.
    """
    return default_grader().score(completion, gold, question, allow_last_number=allow_last_number)
