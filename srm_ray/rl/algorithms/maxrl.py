"""MaxRL (arXiv 2602.02710): towards the maximum likelihood of a right answer; hard prompts weigh about 1/p.

advantage   A_i = (r_i - mean) / mean of the group, 0 where the mean is not above 0 (theorem 2 and algorithm 1): the
            successes' mean score less the baseline, unbiased for the first terms of log p = -sum_k (1 - p)^k / k
loss        -min(rho_t A, clip(rho_t) A), as DAPO's
divided by  completions times a constant length, so that a completion's term is its whole log-probability's
choice      every group; one without a right completion has advantage 0 throughout
needs       rewards that are not negative, by the paper 0 and 1: `--reward.weights.format 0`

The group's size is the order at which the series ends (less one, as groups without a success give nothing): a larger
group is another objective, nearer to likelihood, and not only less noise.
"""

import numpy as np

from srm_ray.rl.algorithms.contract import Settings
from srm_ray.rl.algorithms.dapo import loss
from srm_ray.rl.algorithms.grpo import choice

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="constant", normalise_std=False, fixed=("normalise_std",))


def advantage(rewards: np.ndarray) -> np.ndarray:
    mean = rewards.mean()
    return (rewards - mean) / mean if mean > 0 else np.zeros_like(rewards)
