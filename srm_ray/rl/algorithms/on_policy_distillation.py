"""On-policy distillation (Thinking Machines 2025; MiniLLM, arXiv 2306.08543): the teacher's word alone.

advantage   0 of each completion: the teacher's term, by token, is all (srm_ray.rl.distillation)
loss        -rho_t A_t, whose gradient is -rho_t A_t grad log pi_t: REINFORCE's where rho_t is 1; nothing is clipped
divided by  the step's tokens
choice      every group
needs       a teacher (`teacher.*`); group_size 2 or more
"""

import numpy as np

from srm_ray.rl.algorithms.contract import Settings
from srm_ray.rl.algorithms.rloo import loss
from srm_ray.rl.types import Group

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="tokens", normalise_std=False)


def advantage(rewards: np.ndarray) -> np.ndarray:
    return np.zeros(len(rewards))


def choice(group: Group) -> bool:
    return True
