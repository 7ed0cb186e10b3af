"""SAPO, Soft Adaptive Policy Optimization (arXiv 2511.20347): a smooth gate in place of the clip.

advantage   A_i = (r_i - mean) / (std + 1e-6) within the group
loss        -f(rho_t) A, f(x) = 4 / tau * sigmoid(tau (x - 1)), tau by the sign of A (eq. 5 and 6): its gradient is
            -4 p (1 - p) rho_t A grad log pi_t with p = sigmoid(tau (rho_t - 1)), whole at rho_t = 1, less on both sides
divided by  each completion's length, then the number of completions (eq. 5)
choice      every group
needs       loss.tau_negative at least loss.tau_positive to be as stable as in the paper (1.05 and 1)
"""

import torch

from srm_ray.rl.algorithms.contract import LossTerms, Options, Settings, TokenInputs
from srm_ray.rl.algorithms.grpo import advantage, choice

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="sequences", normalise_std=True)


def loss(tokens: TokenInputs, options: Options) -> LossTerms:
    ratio_C = tokens.log_ratio_C.exp()
    positive_C, negative_C = (torch.full_like(ratio_C, tau) for tau in (options.tau_positive, options.tau_negative))
    tau_C = torch.where(tokens.advantages_C > 0, positive_C, negative_C)
    gate_C = 4.0 / tau_C * torch.sigmoid(tau_C * (ratio_C - 1.0))
    return LossTerms(-gate_C * tokens.advantages_C, ratio_C.detach())
