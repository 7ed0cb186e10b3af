"""What a run does about the policy's entropy: a bonus that keeps to a target, and the tokens that decide.

entropy of the step before --Bonus--> weight of the bonus in this one
entropies of an update's tokens --high_entropy--> which of them the policy loss is of
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Bonus:
    """The entropy bonus of a step (adaptive entropy control of Skywork-OR1, arXiv 2505.22312).

    coefficient: c. entropy: of the step before, nats a token; None before the first. target: None for a bonus of
    always the same weight. change: what c grows by in a step below the target, and falls by above it.

    Deviation from the paper: a step's entropy is known after its forward pass, so the step before stands for it.
    """

    coefficient: float
    target: float | None = None
    change: float = 0.0
    entropy: float | None = None

    @property
    def weight(self) -> float:
        """c, where the entropy is at the target or below it (or there is no target); else 0."""
        reached = self.target is not None and (self.entropy is None or self.entropy > self.target)
        return 0.0 if reached else self.coefficient

    def after(self, entropy: float) -> "Bonus":
        """The bonus of the step that follows one of this entropy. c is never below 0."""
        if self.target is None or entropy == self.target:
            coefficient = self.coefficient
        else:
            coefficient = max(0.0, self.coefficient + math.copysign(self.change, self.target - entropy))
        return Bonus(coefficient, self.target, self.change, entropy)


def high_entropy(
    entropies: Sequence[np.ndarray], masks: Sequence[np.ndarray], share: float
) -> tuple[list[np.ndarray], float]:
    """1 for the tokens of an update with the highest entropy (arXiv 2506.01939, objective J_HighEnt).

    entropies, masks: of each micro-batch, [C]; masked tokens are not counted. share: rho, of the counted tokens, in
    (0, 1]. Returns float32 masks laid out alike, and the entropy from which on tokens are in (all that equal it are).
    """
    counted = np.concatenate([values[mask > 0] for values, mask in zip(entropies, masks, strict=True)])
    if not len(counted):
        return [np.zeros(len(values), np.float32) for values in entropies], 0.0
    number = max(1, math.ceil(share * len(counted) - 1e-9))
    threshold = float(np.partition(counted, len(counted) - number)[len(counted) - number])
    return [(values >= threshold).astype(np.float32) for values in entropies], threshold
