"""What all sources of groups share: a step's groups, what a checkpoint must hold of a source, how far to draw ahead."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from srm_ray.rl.advantages import has_signal
from srm_ray.rl.types import Group, Prompt

Sample = Callable[..., Awaitable[Group]]  # a prompt, and how often it had been drawn before (0 where left out)
Grade = Callable[[Group], Awaitable[Group]]  # a sampled group to one with rewards and advantages
Choice = Callable[[Group], bool]  # whether a graded group is trained on; others are drawn anew


def with_signal(group: Group) -> bool:
    """The usual choice: some completions right and some wrong."""
    return has_signal(group.rewards)


@dataclass(frozen=True, slots=True)
class Calls:
    """What a source does with a prompt. prompt: the one of an index. sample: it, to a group. grade: the group, with
    rewards and advantages. choice: whether it is trained on."""

    prompt: Callable[[int], Prompt]
    sample: Sample
    grade: Grade
    choice: Choice = with_signal


@dataclass(frozen=True, slots=True)
class Collected:
    """groups: those to train on, at most as many as wanted, possibly none; graded: these and the groups without
    signal; both ordered by prompt index.

    stale: groups that were too many versions old when their turn came; their prompts are drawn again.
    seconds_rollout: waited until the last completion needed had arrived; seconds_reward: grading after that;
    seconds_sampling: in which these groups were sampled.
    """

    groups: tuple[Group, ...]
    graded: tuple[Group, ...]
    seconds_rollout: float
    seconds_reward: float
    seconds_sampling: float
    stale: tuple[Group, ...] = ()

    @property
    def kept(self) -> set[tuple[int, int]]:
        """(prompt index, draw) of the groups to train on."""
        return {(group.prompt.index, group.draw) for group in self.groups}

    def with_groups(self, groups: tuple[Group, ...]) -> "Collected":
        """With other advantages of the groups to train on, in the same order."""
        new = {(group.prompt.index, group.draw): group for group in groups}
        graded = tuple(new.get((group.prompt.index, group.draw), group) for group in self.graded)
        return replace(self, groups=groups, graded=graded)


@dataclass(frozen=True, slots=True)
class Draw:
    """A prompt that is to be sampled, or is being sampled since `version`. draw: how often it had been before."""

    index: int
    draw: int
    version: int = 0


@dataclass
class SourceState:
    """What a checkpoint must hold, so that a continued run neither loses nor repeats a group.

    cursor: next prompt index. Of asynchronous runs, too: pending, (prompt index, draw) to sample before new
    prompts, those in flight when the run was saved among them; ready, graded groups with signal; no_signal, graded
    groups without, and stale, groups dropped for their age, neither logged yet.
    """

    cursor: int = 0
    pending: list[tuple[int, int]] = field(default_factory=list)
    ready: list[Group] = field(default_factory=list)
    no_signal: list[Group] = field(default_factory=list)
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


def by_prompt(group: Group) -> tuple[int, int]:
    """The order of a batch."""
    return group.prompt.index, group.draw
