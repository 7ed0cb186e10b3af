"""Policy losses: pure functions of per-token log-probabilities.

Shapes: C = completion tokens of a micro-batch, laid flat; S = sequences (completions) in it.
The losses themselves are `srm_ray.rl.algorithms`; here is what all of them share.
`denominator` is the number of unmasked completion tokens (or sequences, see `Algorithm.denominator`) of the
*whole optimizer step*, over all ranks and micro-batches. It is a required argument, since a mean
taken per micro-batch would weigh tokens by how the batch happened to be cut, and the gradient would
change with the micro-batch size. Micro-batch losses are then summed.
"""

import torch

from srm_ray.rl.algorithms.contract import LossTerms


def clipped_surrogate(ratio: torch.Tensor, advantage: torch.Tensor, clip_low: float, clip_high: float) -> torch.Tensor:
    """`-min(rho A, clip(rho, 1 - low, 1 + high) A)` (PPO; DAPO eq. 8 with decoupled bounds), elementwise."""
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratio * advantage, clipped * advantage)


def reduced(terms: LossTerms, weights_C: torch.Tensor, mask_C: torch.Tensor, denominator: float) -> torch.Tensor:
    """A micro-batch's part of the step's loss: its tokens' terms, weighted, under the denominator of the whole step.

    weights_C: importance correction of rollout against learner (`mismatch_weights`), and `sequence_weights`.
    """
    return (terms.token_C * weights_C * mask_C).sum() / denominator


def kl_loss(
    logprobs_C: torch.Tensor, reference_C: torch.Tensor, mask_C: torch.Tensor, *, denominator: float
) -> torch.Tensor:
    """Per-token k3 estimate of KL(pi_theta || pi_ref): `exp(d) - d - 1`, d = log pi_ref - log pi_theta
    (Schulman, "Approximating KL divergence"), summed under the same denominator as the policy loss."""
    return (k3(reference_C - logprobs_C) * mask_C).sum() / denominator


def k3(difference: torch.Tensor) -> torch.Tensor:
    """`exp(d) - d - 1`: unbiased for KL(p || q) with d = log q - log p on samples of p; never negative."""
    return torch.expm1(difference) - difference


def mismatch_weights(
    old_logprobs_C: torch.Tensor,
    rollout_logprobs_C: torch.Tensor,
    *,
    cap: float | None,
    band: tuple[float, float] | None = None,
) -> torch.Tensor:
    """Importance weights pi_old / pi_rollout of each token, detached; the denominator stays N.

    cap: truncated importance sampling, `min(w, cap)`; None leaves the weights at 1.
    band: IcePop: tokens whose w falls outside [low, high] get weight 0.
    """
    return held((old_logprobs_C - rollout_logprobs_C).detach().exp(), cap=cap, band=band)


def sequence_mismatch_weights(
    old_logprobs_C: torch.Tensor,
    rollout_logprobs_C: torch.Tensor,
    *,
    mask_C: torch.Tensor,
    sequence_C: torch.Tensor,
    geometric: bool,
    cap: float | None,
    band: tuple[float, float] | None = None,
) -> torch.Tensor:
    """As `mismatch_weights`, with one weight for a whole completion at each of its tokens.

    It is the product of its tokens' weights (the unbiased one, whose spread grows with length), or, with `geometric`,
    their geometric mean, exp(mean log w), which does not. cap then truncates completions, band leaves whole
    completions out (Liu et al. 2025, "When Speed Kills Stability", sequence-level and geometric corrections).
    """
    log_C = (old_logprobs_C - rollout_logprobs_C).detach() * mask_C
    log_S = per_sequence(log_C, sequence_C)
    if geometric:
        log_S = log_S / per_sequence(mask_C, sequence_C).clamp(min=1.0)
    return held(log_S.exp()[sequence_C], cap=cap, band=band)


def held(ratio_C: torch.Tensor, *, cap: float | None, band: tuple[float, float] | None) -> torch.Tensor:
    """The ratios up to `cap`, 1 without one; 0 outside `band`."""
    weights_C = torch.ones_like(ratio_C) if cap is None else ratio_C.clamp(max=cap)
    if band is not None:
        weights_C = weights_C * ((ratio_C >= band[0]) & (ratio_C <= band[1]))
    return weights_C


def sequence_weights(mask_C: torch.Tensor, sequence_C: torch.Tensor) -> torch.Tensor:
    """`1/|y_i|` at each token of completion i: with the denominator S this is GRPO's sequence mean."""
    return (1.0 / per_sequence(mask_C, sequence_C).clamp(min=1.0))[sequence_C]


def per_sequence(values_C: torch.Tensor, sequence_C: torch.Tensor) -> torch.Tensor:
    """Sum of each sequence's tokens, [S]. A micro-batch holds whole sequences, so this is exact."""
    count = int(sequence_C.max()) + 1 if sequence_C.numel() else 0
    return values_C.new_zeros(count).index_add(0, sequence_C, values_C)
