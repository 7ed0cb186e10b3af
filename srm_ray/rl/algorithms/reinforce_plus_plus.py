"""REINFORCE++ with baseline (arXiv 2501.03262): the group's mean as baseline, one normalisation for the whole step.

advantage   A'_i = r_i - mean of its group, then A_i = (A'_i - mean) / (std + 1e-6) over the step's completions
            ("REINFORCE++ w/ Baseline", global advantage normalisation; population std)
loss        -min(rho_t A, clip(rho_t) A), as PPO's
divided by  the step's tokens
choice      every group
needs       several groups a step: the bias of a step's spread vanishes with their number

Deviation: the mean and spread are taken over completions, not over tokens, so that long ones weigh no more.
"""

import numpy as np

from srm_ray.rl.advantages import relative
from srm_ray.rl.algorithms.contract import Settings
from srm_ray.rl.algorithms.dapo import loss
from srm_ray.rl.algorithms.grpo import choice

__all__ = ["SETTINGS", "across", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="tokens", normalise_std=False, fixed=("normalise_std",))


def advantage(rewards: np.ndarray) -> np.ndarray:
    return relative(rewards, normalise_std=False)


def across(advantages: np.ndarray) -> np.ndarray:
    return relative(advantages, normalise_std=True)
