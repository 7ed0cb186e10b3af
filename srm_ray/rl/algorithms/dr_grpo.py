"""Dr. GRPO (arXiv 2503.20783): GRPO without its two biases, the division by spread and that by length.

advantage   A_i = r_i - mean within the group (section 3.2)
loss        -min(rho_t A, clip(rho_t) A), as DAPO's
divided by  completions times the longest that one may be, a constant: `--loss.normalisation constant`
choice      groups with right and wrong completions, as DAPO's
needs       loss.normalise_std false
"""

from srm_ray.rl.algorithms.contract import Settings
from srm_ray.rl.algorithms.dapo import advantage, choice, loss

__all__ = ["SETTINGS", "advantage", "choice", "loss"]

SETTINGS = Settings(normalisation="constant", normalise_std=False, fixed=("normalise_std",))
