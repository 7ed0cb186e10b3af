"""RLOO (arXiv 2402.14740; Kool et al. 2019): REINFORCE with the mean of the group's others as baseline.

advantage   A_i = r_i - mean of the others' r = G / (G - 1) (r_i - mean); of the only decided one 0
loss        -rho_t A, whose gradient is -rho_t A grad log pi_t: REINFORCE's where rho_t is 1; nothing is clipped
divided by  completions times a constant length, so that a completion's term is its whole log-probability's
choice      every group
needs       group_size 2 or more
"""

import numpy as np

from srm_ray.rl.algorithms.contract import LossTerms, Settings, TokenInputs
from srm_ray.rl.algorithms.grpo import choice

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="constant", normalise_std=False, fixed=("normalise_std",))


def advantage(rewards: np.ndarray) -> np.ndarray:
    count = len(rewards)
    return count / max(1, count - 1) * (rewards - rewards.mean())


def loss(tokens: TokenInputs) -> LossTerms:
    ratio_C = tokens.log_ratio_C.exp()
    return LossTerms(-ratio_C * tokens.advantages_C, ratio_C.detach())
