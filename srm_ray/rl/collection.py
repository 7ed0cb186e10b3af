"""Dynamic sampling: draw prompts until a step has the groups it wants.

Prompts are drawn in the order of the stream and judged in that order, whichever finishes first: the
batch is the first `want` groups with signal by prompt index. What was launched beyond the last of them
is cancelled and drawn again in the next step, with the same seeds. So the batch depends on the seed and
the weights alone, not on timing, nor on how many prompts were in flight.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from srm_ray.errors import RunError
from srm_ray.rl.advantages import group_advantages, has_signal
from srm_ray.rl.types import Group, Prompt

Sample = Callable[[Prompt], Awaitable[Group]]
Score = Callable[[Group], Awaitable[Group]]


@dataclass(frozen=True, slots=True)
class Collected:
    """groups: those to train on, judged: these and the groups without signal; both ordered by prompt index.

    stale: groups that were too many versions old when their turn came; their prompts are drawn again.
    seconds_rollout: waited until the last completion needed had arrived; seconds_reward: grading after that;
    seconds_sampling: in which these groups were sampled.
    """

    groups: tuple[Group, ...]
    judged: tuple[Group, ...]
    seconds_rollout: float
    seconds_reward: float
    seconds_sampling: float
    stale: tuple[Group, ...] = ()

    @property
    def kept(self) -> set[tuple[int, int]]:
        """(prompt index, draw) of the groups to train on."""
        return {(group.prompt.index, group.draw) for group in self.groups}


@dataclass
class Queue:
    """What a checkpoint must hold, so that a continued run neither loses nor repeats a group.

    cursor: next prompt index. Of asynchronous runs, too: again, (prompt index, draw) to sample before new
    prompts, those under way when the run was saved among them; ready, scored groups with signal; dull, scored
    groups without, and stale, groups dropped for their age, neither logged yet.
    """

    cursor: int = 0
    again: list[tuple[int, int]] = field(default_factory=list)
    ready: list[Group] = field(default_factory=list)
    dull: list[Group] = field(default_factory=list)
    stale: list[Group] = field(default_factory=list)


@dataclass
class KeepRate:
    """Running share of groups with signal. Steers how many prompts are launched ahead, never which are kept."""

    value: float = 0.7

    def update(self, kept: int, drawn: int) -> None:
        self.value = max(0.05, 0.8 * self.value + 0.2 * kept / drawn)

    def to_launch(self, want: int) -> int:
        """Prompts that give `want` groups with signal in about five of six cases."""
        return math.ceil(want / self.value + math.sqrt(want * (1 - self.value)) / self.value)


async def collect(
    cursor: int,
    *,
    want: int,
    limit: int,
    prompt: Callable[[int], Prompt],
    sample: Sample,
    score: Score,
    keep_rate: KeepRate,
    normalise_std: bool = True,
) -> Collected:
    """Collect one step's groups, starting at prompt index `cursor`.

    limit: prompts that may be drawn. Raises RunError past it, since a run whose groups are all
    right or all wrong learns nothing.
    """
    began = time.perf_counter()
    sampled_at = began

    async def one(index: int) -> Group:
        nonlocal sampled_at
        group = await sample(prompt(index))
        sampled_at = time.perf_counter()
        return with_advantages(await score(group), normalise_std=normalise_std)

    in_flight: deque[asyncio.Task[Group]] = deque()
    judged: list[Group] = []
    kept: list[Group] = []
    try:
        while len(kept) < want:
            missing = want - len(kept)
            while len(in_flight) < min(keep_rate.to_launch(missing), limit - len(judged)):
                in_flight.append(asyncio.create_task(one(cursor + len(judged) + len(in_flight))))
            if not in_flight:
                raise RunError(starved(len(kept), want, judged))
            group = await in_flight.popleft()
            judged.append(group)
            if has_signal(group.rewards):
                kept.append(group)
        done = time.perf_counter()
    finally:
        for task in in_flight:
            task.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)
    keep_rate.update(len(kept), len(judged))
    sampled_at = min(sampled_at, done)
    return Collected(tuple(kept), tuple(judged), sampled_at - began, done - sampled_at, sampled_at - began)


class InOrder:
    """The groups of a deterministic run: each step samples under its own weights, from the cursor on."""

    def __init__(self, queue: Queue, *, keep_rate: KeepRate, **options: Any):
        self.cursor, self.keep_rate, self.options = queue.cursor, keep_rate, options

    async def take(self) -> Collected:
        collected = await collect(self.cursor, keep_rate=self.keep_rate, **self.options)
        self.cursor += len(collected.judged)
        return collected

    def advance(self, version: int) -> None:
        """Nothing is under way between two steps."""

    def queue(self) -> Queue:
        return Queue(self.cursor)

    def describe(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        """Nothing is under way between two steps."""


def with_advantages(group: Group, *, normalise_std: bool) -> Group:
    decided = [reward.correct is not None for reward in group.rewards]
    values = [reward.value for reward in group.rewards]
    return replace(group, advantages=group_advantages(values, normalise_std=normalise_std, decided=decided))


def starved(kept: int, want: int, judged: list[Group]) -> str:
    rewards = [reward for group in judged for reward in group.rewards]
    right = sum(reward.correct is True for reward in rewards) / max(1, len(rewards))
    undecided = sum(reward.correct is None for reward in rewards)
    return (
        f"after {len(judged)} prompts only {kept} of the {want} groups wanted have both right and wrong completions "
        f"({right:.0%} of completions are right, {undecided} undecided): choose problems that the model solves "
        "sometimes, or raise max_refill"
    )
