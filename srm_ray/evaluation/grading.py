r"""Completions of a problem to graded samples, through the graders of `rewards`.

    Item, ChatCompletion x n --answers_of, equivalent--> Sample x n (correct, reason, answer, class of equal answers)
                   --sandboxed tests-->

A truncated completion is never correct, but for `flexible`: lm-evaluation-harness's flexible-extract of GSM8K reads
the last number of whatever was generated, and compares it as text.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import rewards.code
import rewards.extract
import rewards.math.grader
from rewards.code.sandbox import Limits
from rewards.verdict import Verdict, judged
from srm_ray.evaluation.statistics import votes
from srm_ray.evaluation.suites import Item, Suite
from srm_ray.inference.completers import ChatCompletion

# What lm-evaluation-harness 0.4.13's gsm8k takes for numbers, and what it leaves out when it compares.
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = re.compile(r",|\$|(?s:.*)#### |\.$")


@dataclass(frozen=True, slots=True)
class Sample:
    """One graded completion. correct: None where the grader could not decide. answer: what was taken for its final
    answer, or None. group: number of its class of mathematically equal answers among the problem's samples."""

    said: ChatCompletion
    correct: bool | None
    reason: str
    answer: str | None
    group: int | None
    finished: bool
    boxed: bool


class Graders:
    """Owns the killable grading processes and the sandbox; `close` ends them. Thread-safe."""

    def __init__(self, *, processes: int, timeout: float, extract: str = "final", allow_unsafe: bool = False) -> None:
        self.extract = extract
        self.math = rewards.math.grader.Grader(processes, timeout)
        self._code: rewards.code.Grader | None = None
        self._code_options = (processes, Limits(seconds=timeout), allow_unsafe)
        self.threads = ThreadPoolExecutor(processes, thread_name_prefix="grade")

    @property
    def code(self) -> rewards.code.Grader:
        if self._code is None:
            self._code = rewards.code.Grader(*self._code_options)
        return self._code

    def grade(self, suite: Suite, item: Item, said: Sequence[ChatCompletion]) -> list[Sample]:
        """The problem's completions, graded."""
        texts = [rewards.extract.opened_thinking(one.prompt) + one.text for one in said]
        if suite.kind == "code":
            verdicts = [self._tests(item, one, text) for one, text in zip(said, texts, strict=True)]
            answers: list[str | None] = [None] * len(said)
        else:
            pairs = [self._answer(suite, item, one, text) for one, text in zip(said, texts, strict=True)]
            verdicts, answers = [verdict for verdict, _ in pairs], [answer for _, answer in pairs]
        groups = votes(answers, self._same) if len(said) > 1 else [0 if answer else None for answer in answers]
        return [
            Sample(
                one,
                verdict.correct,
                verdict.reason,
                answer,
                group,
                finished=rewards.extract.after_thinking(text) is not None and not one.truncated,
                boxed=bool(rewards.extract.boxed(rewards.extract.after_thinking(text) or "")),
            )
            for one, text, verdict, answer, group in zip(said, texts, verdicts, answers, groups, strict=True)
        ]

    def _answer(self, suite: Suite, item: Item, said: ChatCompletion, text: str) -> tuple[Verdict, str | None]:
        assert item.answer is not None, f"{suite.name} {item.index} has no gold answer"
        if suite.name == "gsm8k" and self.extract == "flexible":
            found = flexible(said.text)
            return (judged(bare(found) == bare(item.answer)), found) if found else (Verdict(False, "no_answer"), None)
        answers = rewards.math.grader.answers_of(text, suite.last_number)
        if isinstance(answers, Verdict):
            return (Verdict(False, "truncated") if said.truncated else answers), None
        if said.truncated:
            return Verdict(False, "truncated"), None
        verdicts = self.math.grade([(answer, item.answer) for answer in answers], item.question)
        return rewards.math.grader.choose(answers, verdicts, self.math.grade), answers[-1]

    def _same(self, one: str, other: str) -> bool:
        return self.math.equivalent(one, other).correct is True

    def _tests(self, item: Item, said: ChatCompletion, text: str) -> Verdict:
        if said.truncated:
            return Verdict(False, "truncated")
        reward = self.code.score(text, item.tests, item.entry_point, item.prelude)
        return Verdict(reward.correct, reward.reason)

    def tier(self) -> str:
        """The code sandbox's tier, "" where none holds."""
        return self.code.tier

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.math.close()
        if self._code is not None:
            self._code.close()


def flexible(text: str) -> str | None:
    """The last number of a text, as the harness's `flexible-extract` filter of gsm8k takes it."""
    found: list[Any] = FLEXIBLE.findall(text)
    return next((group for group in found[-1] if group), "").strip() if found else None


def bare(answer: str) -> str:
    """An answer as gsm8k's `exact_match` compares it: without commas, dollar signs and a final full stop."""
    return IGNORED.sub("", answer).lower()
