"""Group-relative advantages and the choice of groups that carry signal.

Deviation from DAPO: a completion whose grader could not decide (`correct` is None) is left out of
its group's mean and spread and gets advantage 0; the loss masks it out.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rewards.verdict import Reward
from srm_ray.rl.types import Group

EPSILON = 1e-6


def group_advantages(
    rewards: Sequence[float], *, normalise_std: bool = True, decided: Sequence[bool] | None = None
) -> np.ndarray:
    """`A_i = (r_i - mean) / (std + 1e-6)` over one group (GRPO, DeepSeekMath eq. 3; population std).

    rewards: one number per completion. normalise_std=False is Dr. GRPO (arXiv 2503.20783), which
    leaves the division out. decided: False marks a completion to leave out. Returns [G] float32.
    Equal rewards give equal advantages whatever the completions' lengths.
    """
    values = np.asarray(rewards, dtype=np.float64)
    keep = np.ones(len(values), bool) if decided is None else np.asarray(decided, bool)
    advantages = np.zeros(len(values))
    if keep.any():
        advantages[keep] = relative(values[keep], normalise_std=normalise_std)
    return advantages.astype(np.float32)


def relative(values: np.ndarray, *, normalise_std: bool) -> np.ndarray:
    """`values` less their mean, over their population standard deviation + 1e-6 unless `normalise_std` is False."""
    centred = values - values.mean()
    return centred / (values.std() + EPSILON) if normalise_std else centred


def has_signal(rewards: Sequence[Reward]) -> bool:
    """Dynamic sampling (DAPO, arXiv 2503.14476, eq. 11): some correct and some not, correctness alone."""
    decided = [reward.correct for reward in rewards if reward.correct is not None]
    return 0 < sum(decided) < len(decided)


def some_decided(rewards: Sequence[Reward]) -> bool:
    """Whether there is anything to learn from at all: a completion that the graders could decide."""
    return any(reward.correct is not None for reward in rewards)


def with_advantages(group: Group, *, normalise_std: bool) -> Group:
    """The graded group with `group_advantages` of its rewards."""
    decided = [reward.correct is not None for reward in group.rewards]
    values = [reward.value for reward in group.rewards]
    return replace(group, advantages=group_advantages(values, normalise_std=normalise_std, decided=decided))
