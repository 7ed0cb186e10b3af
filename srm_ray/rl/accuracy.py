"""Greedy accuracy on held-out problems, and what the completions look like."""

from collections.abc import Sequence
from dataclasses import dataclass

from srm_ray.rl.types import Completion, Group
from srm_ray.runs.intervals import Share, wilson

END_THINK = "</think>"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """accuracy: with its 95 % interval. thinks: share of completions with any thinking.

    thinking_length: mean characters of thinking, over all completions. length: mean tokens.
    samples: a few scored groups, for showing.
    """

    accuracy: Share
    thinks: Share
    thinking_length: float
    length: float
    truncated: float
    samples: tuple[Group, ...]


def thinking(completion: Completion) -> str:
    """What was thought: everything before `</think>` (the opening tag is in the prompt)."""
    thought, closed, _ = completion.text.partition(END_THINK)
    return thought.strip() if closed or completion.truncated else ""


def summarise(groups: Sequence[Group], *, samples: int) -> Evaluation:
    """groups: one completion each, scored."""
    completions = [group.completions[0] for group in groups]
    thoughts = [thinking(completion) for completion in completions]
    n = len(groups)
    return Evaluation(
        accuracy=wilson(sum(group.rewards[0].correct is True for group in groups), n),
        thinks=wilson(sum(bool(thought) for thought in thoughts), n),
        thinking_length=sum(map(len, thoughts)) / max(1, n),
        length=sum(len(completion.token_ids) for completion in completions) / max(1, n),
        truncated=sum(completion.truncated for completion in completions) / max(1, n),
        samples=tuple(groups[:samples]),
    )
