"""Greedy accuracy on held-out problems, and what the completions look like."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from srm_ray.intervals import Share, wilson
from srm_ray.rl.types import Completion, Group

END_THINK = "</think>"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """accuracy: with its 95 % interval. thinks: share of completions with any thinking.

    thinking_length: mean characters of thinking, over all completions. length: mean tokens.
    samples: a few scored groups, for showing. by_source: accuracy on each source's problems.
    """

    accuracy: Share
    thinks: Share
    thinking_length: float
    length: float
    truncated: float
    samples: tuple[Group, ...]
    by_source: dict[str, Share] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """As summary.json has it, without the samples."""
        return {
            "accuracy": self.accuracy.to_plain(),
            "thinks": self.thinks.to_plain(),
            "thinking_characters": self.thinking_length,
            "tokens": self.length,
            "truncated": self.truncated,
            "by_source": {source: share.to_plain() for source, share in self.by_source.items()},
        }


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
        accuracy=accuracy(groups),
        thinks=wilson(sum(bool(thought) for thought in thoughts), n),
        thinking_length=sum(map(len, thoughts)) / max(1, n),
        length=sum(len(completion.token_ids) for completion in completions) / max(1, n),
        truncated=sum(completion.truncated for completion in completions) / max(1, n),
        samples=shown(groups, samples),
        by_source={source: accuracy(of_source) for source, of_source in sources(groups).items()},
    )


def accuracy(groups: Sequence[Group]) -> Share:
    return wilson(sum(group.rewards[0].correct is True for group in groups), len(groups))


def sources(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Groups by the source of their prompts, in the order of first appearance."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.prompt.source, []).append(group)
    return found


def shown(groups: Sequence[Group], count: int) -> tuple[Group, ...]:
    """The first groups of each source in turn."""
    by_turn = itertools.chain.from_iterable(itertools.zip_longest(*sources(groups).values()))
    return tuple(itertools.islice((group for group in by_turn if group is not None), count))
