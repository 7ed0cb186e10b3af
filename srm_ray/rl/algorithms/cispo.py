"""CISPO (MiniMax-M1, arXiv 2506.13585): every token keeps its gradient, at a capped weight.

advantage   A_i = (r_i - mean) / (std + 1e-6) within the group
loss        -sg(min(rho_t, 1 + clip_high)) A log pi_t (eq. 4 and 5), sg: without gradient; no lower bound
divided by  the step's tokens (eq. 4)
choice      groups with right and wrong completions, as DAPO's
needs       group_size 2 or more
"""

from srm_ray.rl.algorithms.contract import LossTerms, Options, Settings, TokenInputs
from srm_ray.rl.algorithms.dapo import advantage, choice

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="tokens", normalise_std=True)


def loss(tokens: TokenInputs, options: Options) -> LossTerms:
    ratio_C = tokens.log_ratio_C.exp()
    weight_C = ratio_C.detach().clamp(max=1.0 + options.clip_high)
    return LossTerms(-weight_C * tokens.advantages_C * tokens.logprobs_C, ratio_C.detach())
