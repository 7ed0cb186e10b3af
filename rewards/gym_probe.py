"""Reasoning Gym's scorers, tried before a run trains on them: what do they give for answers that deserve nothing?

    GymTask x n --> "", noise, another problem's answer --Scorer--> share of each that gets full marks

A family whose scorer accepts any answer teaches nothing but to give it. Another problem's answer is right by
chance where there are few answers (yes or no): that rate is reported, and it is what a policy gets without a thought.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rewards.gym import GymTask, Scorer

NOISE = ("zqxv 7319 lorem ipsum", "I do not know.")
REFUSED = 0.1  # share of empty or noisy answers with full marks above which a scorer is no judge
REPORTED = 0.5  # share of other problems' answers with full marks above which it is reported


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares that got full marks, of the answers that the scorer could judge. example: a noisy one, or ""."""

    nothing: float
    noise: float
    others: float
    example: str = ""

    @property
    def worthless(self) -> bool:
        return max(self.nothing, self.noise) > REFUSED


def probe(scorer: Scorer, problems: Sequence[tuple[GymTask, str | None]]) -> Rates | None:
    """problems: each with its gold answer, where it has one. None where the scorer can judge nothing here."""
    nothing = [accepted(scorer, "", task) for task, _ in problems]
    noise = [(text, accepted(scorer, text, task)) for task, _ in problems for text in NOISE]
    others = []
    for place, (task, gold) in enumerate(problems):
        other = next((answer for _, answer in rotated(problems, place) if answer is not None and answer != gold), None)
        if other is not None:
            others.append(accepted(scorer, other, task))
    if all(one is None for one in nothing) and all(one is None for _, one in noise):
        return None
    example = next((text for text, one in noise if one), "")
    return Rates(share(nothing), share([one for _, one in noise]), share(others), example)


def accepted(scorer: Scorer, answer: str, task: GymTask) -> bool | None:
    return scorer.grade(answer, task).correct


def rotated(problems: Sequence[tuple[GymTask, str | None]], place: int) -> list[tuple[GymTask, str | None]]:
    return [*problems[place + 1 :], *problems[:place]]


def share(found: Sequence[bool | None]) -> float:
    """Of those that were judged; 0.0 where none was."""
    judged = [one for one in found if one is not None]
    return sum(judged) / len(judged) if judged else 0.0
