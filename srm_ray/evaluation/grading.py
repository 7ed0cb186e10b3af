r"""Completions of a problem to graded samples.

    Problem, ChatCompletion x n --Grader--> Sample x n (verdict, class of equal answers, finished, boxed)

A `Grader` is a pool of reward workers, which use the one dispatch (`rewards.dispatch.Graders`). A truncated completion
is never correct, but for `flexible`: lm-evaluation-harness's flexible-extract of GSM8K reads the last number of
whatever was generated, and compares it as text.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rewards.extract import after_thinking, boxed, opened_thinking
from rewards.problem import Problem
from rewards.verdict import Verdict, judged
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.evaluation.statistics import votes
from srm_ray.inference.completers import ChatCompletion

# What lm-evaluation-harness 0.4.13's gsm8k takes for numbers, and what it leaves out when it compares.
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = re.compile(r",|\$|(?s:.*)#### |\.$")


class Grader(Protocol):
    """What grades: reward workers; `rewards.dispatch.Graders` alone has the same methods."""

    async def grade(
        self, problem: Problem, question: str | None, text: str, *, truncated: bool = False, last_number: bool = False
    ) -> Verdict: ...

    async def same(self, one: str, other: str) -> bool:
        """Whether two answers are the same mathematical object."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One graded completion. group: number of its class of mathematically equal answers among the problem's samples.

    finished: its thinking is closed, and it ended by itself. boxed: its answer is.
    """

    completion: ChatCompletion
    verdict: Verdict
    group: int | None
    finished: bool
    boxed: bool


async def grade(
    grader: Grader,
    problem: Problem,
    question: str | None,
    completions: Sequence[ChatCompletion],
    *,
    last_number: bool = False,
    flexible: bool = False,
) -> list[Sample]:
    """The problem's completions, graded. question, last_number: as of `Grader.grade`. flexible: see the module."""
    texts = [opened_thinking(one.prompt) + one.text for one in completions]

    async def one(completion: ChatCompletion, text: str) -> Verdict:
        if flexible:
            return flexible_verdict(completion.text, problem.answer or "")
        return await grader.grade(problem, question, text, truncated=completion.truncated, last_number=last_number)

    verdicts = await asyncio.gather(*map(one, completions, texts))
    answers = [verdict.answer for verdict in verdicts]
    several = len(completions) > 1
    groups = await votes(answers, grader.same) if several else [0 if answer else None for answer in answers]
    return [
        Sample(
            completion,
            verdict,
            group,
            finished=after_thinking(text) is not None and not completion.truncated,
            boxed=bool(boxed(after_thinking(text) or "")),
        )
        for completion, text, verdict, group in zip(completions, texts, verdicts, groups, strict=True)
    ]


def flexible_verdict(text: str, gold: str) -> Verdict:
    found = last_number_of(text)
    if not found:
        return Verdict(False, "no_answer", "math")
    verdict = judged(bare(found) == bare(gold))
    return Verdict(verdict.correct, verdict.reason, "math", found)


def last_number_of(text: str) -> str | None:
    """The last number of a text, as the harness's `flexible-extract` filter of gsm8k takes it."""
    found: list[tuple[str, str]] = FLEXIBLE.findall(text)
    return next((group for group in found[-1] if group), "").strip() if found else None


def bare(answer: str) -> str:
    """An answer as gsm8k's `exact_match` compares it: without commas, dollar signs and a final full stop."""
    return IGNORED.sub("", answer).lower()


def check_tier(tier: str, with_code: tuple[str, ...]) -> None:
    """Say in which tier of the sandbox these suites' code runs; `UserError` where none holds ("")."""
    if not tier:
        raise UserError(
            f"no sandbox works here, so {' and '.join(with_code)} cannot be graded: install bubblewrap, "
            "or accept the risk with --grading.allow_unsafe"
        )
    echo(f"code runs in sandbox tier {tier}")
