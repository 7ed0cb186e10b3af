"""GSPO (arXiv 2507.18071): ratio and clip of whole completions.

advantage   A_i = (r_i - mean) / (std + 1e-6) within the group (eq. 6)
loss        -min(s_i A, clip(s_i) A), s_i = exp(mean over the completion's tokens of log rho_t) (eq. 5 and 7)
divided by  the number of completions (eq. 5); each token has 1/|y_i| of its completion's term
choice      groups with right and wrong completions, as DAPO's
needs       loss.normalisation sequences; the paper's bounds are narrow: `--loss.clip_low 3e-4 --loss.clip_high 4e-4`
"""

from srm_ray.rl.algorithms.contract import LossTerms, Options, Settings, TokenInputs
from srm_ray.rl.algorithms.dapo import advantage, choice
from srm_ray.rl.loss import clipped_surrogate, per_sequence

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="sequences", normalise_std=True, fixed=("normalisation",))


def loss(tokens: TokenInputs, options: Options) -> LossTerms:
    length_S = per_sequence(tokens.mask_C, tokens.sequence_C).clamp(min=1.0)
    ratio_S = (per_sequence(tokens.log_ratio_C, tokens.sequence_C) / length_S).exp()
    ratio_C = ratio_S[tokens.sequence_C]
    surrogate_C = clipped_surrogate(ratio_C, tokens.advantages_C, options.clip_low, options.clip_high)
    return LossTerms(surrogate_C / length_S[tokens.sequence_C], ratio_C.detach(), averaged=True)
