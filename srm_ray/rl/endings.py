"""When a run ends before its last step: its problems are solved, or nothing is to be learned from them.

a step's groups -> Outcome -> the newest of them -> solved? (ends well)  starved? (ends with the reasons)
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from srm_ray.errors import RunError
from srm_ray.rl.types import Group

# What to do about the grader's word that most completions were given.
ADVICE = {
    "no_answer": "the completions hold no final answer: check the model's chat template and data.system, or begin with "
    "SFT on the answer's form",
    "truncated": "raise rollout.max_new_tokens: the completions are cut before they answer",
    "wrong": "choose problems that the model solves sometimes (python -m srm_ray.filter), or a stronger model",
    "bad_gold": "the data's own answers cannot be read: correct them",
    "bad_tests": "the data's own tests fail: correct them",
    "several_answers": "the completions give more than one final answer: ask for one, with data.system or SFT",
    "timeout": "grading takes too long: raise reward.timeout, or look at the candidates' programs in the rollouts",
    "environment_error": "the environment fails: why is on the terminal, and in the log of the environment worker",
    "worker_died": "the processes that grade, or hold an environment, die: their workers' logs say why, where that is "
    "memory raise environment.memory_gb",
    "grader_error": "a grader fails: its traceback is in the log of the reward worker",
    "undecided": "the graders cannot decide: are the data's own answers of a form that they can compare?",
    "sandbox_unavailable": "no sandbox holds here: reward.allow_unsafe true runs code without one",
}


class Starved(RunError):
    """Steps in a row had no group to learn from. groups: the newest step's, graded."""

    def __init__(self, message: str, groups: tuple[Group, ...]):
        super().__init__(message)
        self.groups = groups


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step's sampling came to.

    drawn: groups graded, kept: those trained on. right, decided: completions. reasons: completions by the grader's
    word, see `rewards.verdict.REASONS`.
    """

    drawn: int
    kept: int
    right: int
    decided: int
    reasons: dict[str, int] = field(default_factory=dict)


def outcome_of(graded: Sequence[Group], kept: int) -> Outcome:
    rewards = [reward for group in graded for reward in group.rewards]
    return Outcome(
        drawn=len(graded),
        kept=kept,
        right=sum(reward.correct is True for reward in rewards),
        decided=sum(reward.correct is not None for reward in rewards),
        reasons=dict(Counter(reward.reason for reward in rewards).most_common()),
    )


def solved(recent: Sequence[Outcome], share: float | None, window: int) -> bool:
    """Whether, of what the graders could decide in the newest `window` steps together, `share` or more was right.

    share: None for never.
    """
    newest = recent[-window:]
    decided = sum(outcome.decided for outcome in newest)
    if share is None or len(newest) < window or not decided:
        return False
    return sum(outcome.right for outcome in newest) >= share * decided


def starved(recent: Sequence[Outcome], steps: int | None, share: float | None) -> str:
    """Why the run ends, where none of the newest `steps` steps had a group with signal; else "".

    steps: None for never. share: of right completions, from which problems count as solved and not as too hard.
    """
    if steps is None or len(recent) < steps or any(outcome.kept for outcome in recent[-steps:]):
        return ""
    newest = recent[-steps:]
    right, decided = (sum(getattr(outcome, name) for outcome in newest) for name in ("right", "decided"))
    if decided and right >= (1.0 if share is None else share) * decided:
        return ""
    reasons: Counter[str] = Counter()
    for outcome in newest:
        reasons.update(outcome.reasons)
    found = "nothing was right" if not right else f"{right:,} were right, none beside a wrong one of the same problem"
    most = next((word for word, _ in reasons.most_common() if word != "correct"), "")
    return (
        f"{steps} steps in a row had no group to learn from: of {reasons.total():,} completions {found} "
        f"({counted(reasons.most_common())}); {ADVICE.get(most, ADVICE['wrong'])}"
    )


def shown(recent: Sequence[Outcome]) -> str:
    """`1,199 of 1,200 completions of the last 5 steps were right (2 more could not be graded)`"""
    right, decided = sum(one.right for one in recent), sum(one.decided for one in recent)
    all_of_them = sum(sum(one.reasons.values()) for one in recent)
    left = f" ({all_of_them - decided:,} more could not be graded)" if all_of_them > decided else ""
    return f"{right:,} of {decided:,} completions of the last {len(recent)} steps were right{left}"


def counted(reasons: Iterable[tuple[str, int]]) -> str:
    """`no_answer 1,204, truncated 12`"""
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons)


def shortage(outcome: Outcome, want: int) -> str:
    """What is reported of a step with fewer groups than wanted; "" where it has them all."""
    if outcome.kept >= want:
        return ""
    without = outcome.drawn - outcome.kept
    what = f"trains on {outcome.kept} of {want} groups" if outcome.kept else "is skipped, the weights stay as they are"
    return (
        f"{what}: {without} of the {outcome.drawn} drawn were all right or all wrong "
        f"({counted(outcome.reasons.items())})"
    )
