"""GRPO (DeepSeekMath, arXiv 2402.03300): the original, every group trained on, a mean of each completion's mean.

advantage   A_i = (r_i - mean) / (std + 1e-6) within the group (section 4.1.2; population std)
loss        -min(rho_t A, clip(rho_t) A) (eq. 3); the paper's bounds are equal: `--loss.clip_high 0.2`
divided by  each completion's length, then the number of completions (eq. 3)
choice      every group; one whose rewards are equal has advantage 0 throughout
needs       group_size 2 or more; the paper adds KL against the starting model: `--loss.kl_beta 0.04` (eq. 4)
"""

from srm_ray.rl.advantages import some_decided
from srm_ray.rl.algorithms.contract import Settings
from srm_ray.rl.algorithms.dapo import advantage, loss
from srm_ray.rl.types import Group

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="sequences", normalise_std=True)


def choice(group: Group) -> bool:
    return some_decided(group.rewards)
