"""DAPO (arXiv 2503.14476): clip-higher, token mean, groups with signal alone. The default.

advantage   A_i = (r_i - mean) / (std + 1e-6) within the group (eq. 9; population std)
loss        -min(rho_t A, clip(rho_t, 1 - clip_low, 1 + clip_high) A), rho_t = pi / pi_old of the token (eq. 8)
divided by  the step's tokens (eq. 8)
choice      groups with right and wrong completions (eq. 11); others are drawn anew
needs       group_size 2 or more
"""

import numpy as np

from srm_ray.rl.advantages import has_signal, relative
from srm_ray.rl.algorithms.contract import LossTerms, Options, Settings, TokenInputs
from srm_ray.rl.loss import clipped_surrogate
from srm_ray.rl.types import Group

SETTINGS = Settings(normalisation="tokens", normalise_std=True)


def advantage(rewards: np.ndarray, options: Options) -> np.ndarray:
    return relative(rewards, normalise_std=options.normalise_std)


def loss(tokens: TokenInputs, options: Options) -> LossTerms:
    ratio_C = tokens.log_ratio_C.exp()
    token_C = clipped_surrogate(ratio_C, tokens.advantages_C, options.clip_low, options.clip_high)
    return LossTerms(token_C, ratio_C.detach())


def choice(group: Group) -> bool:
    return has_signal(group.rewards)
