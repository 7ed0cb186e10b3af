"""What an algorithm is made of.

Shapes: G = decided completions of a group; N = those of a step; C = completion tokens of a micro-batch, laid flat.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from srm_ray.errors import RunError
from srm_ray.rl.types import Group

if TYPE_CHECKING:
    from torch import Tensor

Normalisation = Literal["tokens", "sequences", "constant"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the functions of an algorithm may ask for, by the name `options`: `loss.*` of a run's config."""

    normalisation: Normalisation = "tokens"
    normalise_std: bool = True
    clip_low: float = 0.20
    clip_high: float = 0.28
    tau_positive: float = 1.0
    tau_negative: float = 1.05


@dataclass(frozen=True, slots=True)
class Settings:
    """What `loss.normalisation` and `loss.normalise_std` are where a run does not say; `SETTINGS` of a module.

    fixed: those of the two that the algorithm does not work without.
    """

    normalisation: Normalisation = "tokens"
    normalise_std: bool = True
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenInputs:
    """What a loss is made from, [C] each.

    logprobs_C: log pi_theta, with gradient. old_logprobs_C: log pi_old. advantages_C: the completion's at each of its
    tokens. mask_C: 1 where a token counts. sequence_C: which completion a token belongs to, 0..S-1; a micro-batch holds
    whole completions.
    """

    logprobs_C: "Tensor"
    old_logprobs_C: "Tensor"
    advantages_C: "Tensor"
    mask_C: "Tensor"
    sequence_C: "Tensor"

    @property
    def log_ratio_C(self) -> "Tensor":
        """log pi_theta - log pi_old; 0 where a token does not count, so that no exponential overflows there."""
        return (self.logprobs_C - self.old_logprobs_C) * self.mask_C


@dataclass(frozen=True, slots=True)
class LossTerms:
    """token_C: the term of each token, to be weighted and summed. ratio_C: the ratio that is clipped, for the metrics.

    averaged: a completion's terms are its mean already, so that `normalisation` sequences does not divide again.
    """

    token_C: "Tensor"
    ratio_C: "Tensor"
    averaged: bool = False


Advantage = Callable[[np.ndarray, Group], np.ndarray]  # rewards [G] and their group, to advantages [G]
Across = Callable[[np.ndarray], np.ndarray]  # advantages of a step's completions [N], to [N]
Loss = Callable[[TokenInputs], LossTerms]
Choice = Callable[[Group], bool]


@dataclass(frozen=True)
class Algorithm:
    """An algorithm with a run's options in its functions. sources: where each part comes from, by part."""

    name: str
    options: Options
    advantage: Advantage
    across: Across | None
    loss: Loss
    choice: Choice
    sources: dict[str, str]

    def with_advantages(self, group: Group) -> Group:
        """The graded group with its advantages. Undecided completions are left out, and have advantage 0."""
        decided = [index for index, reward in enumerate(group.rewards) if reward.correct is not None]
        advantages_G = np.zeros(len(group.rewards))
        if decided:
            rewards = tuple(group.rewards[index] for index in decided)
            seen = replace(group, completions=tuple(group.completions[index] for index in decided), rewards=rewards)
            values = np.asarray([reward.value for reward in rewards], np.float64)
            advantages_G[decided] = checked(self.advantage(values, seen), len(values), self.sources["advantage"])
        return replace(group, advantages=advantages_G.astype(np.float32))

    def across_step(self, groups: Sequence[Group]) -> tuple[Group, ...]:
        """The groups of a step with advantages that hold across it (`across`); as they are where there is none."""
        decided = [np.asarray([reward.correct is not None for reward in group.rewards]) for group in groups]
        if self.across is None or not any(mask.any() for mask in decided):
            return tuple(groups)
        of_groups = [
            np.asarray(group.advantages, np.float64)[mask] for group, mask in zip(groups, decided, strict=True)
        ]
        flat = np.concatenate(of_groups)
        found = checked(self.across(flat), len(flat), self.sources["advantage"])
        made = []
        for group, mask, part in zip(groups, decided, split(found, of_groups), strict=True):
            advantages_G = np.zeros(len(mask))
            advantages_G[mask] = part
            made.append(replace(group, advantages=advantages_G.astype(np.float32)))
        return tuple(made)

    def denominator(self, *, tokens: int, sequences: int, constant_length: int) -> float:
        """Of a whole optimizer step, from counts over all of its unmasked completions.

        tokens: DAPO's token mean. sequences: one term a completion. constant: `sequences * constant_length`,
        Dr. GRPO's fixed budget. Raises ValueError where there is nothing to divide by.
        """
        if tokens <= 0 or sequences <= 0:
            raise ValueError("a step needs at least one unmasked completion token")
        whole = {"tokens": tokens, "sequences": sequences, "constant": sequences * constant_length}
        return float(whole[self.options.normalisation])


def split(flat: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    return np.split(flat, np.cumsum([len(part) for part in like])[:-1])


def checked(found: object, count: int, where: str) -> np.ndarray:
    """`found` as [count] numbers. Raises RunError where it is not."""
    values = np.asarray(found, np.float64)
    if values.shape != (count,):
        raise RunError(f"{where} gave advantages of shape {values.shape} for {count} rewards, shape ({count},)")
    if not np.isfinite(values).all():
        raise RunError(f"{where} gave advantages that are no finite numbers: {values.tolist()}")
    return values
