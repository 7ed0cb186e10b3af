"""Policy losses: pure functions of per-token log-probabilities.

Shapes: C = completion tokens of a micro-batch, laid flat; S = sequences (completions) in it.
`denominator` is the number of unmasked completion tokens (or sequences, see `normalisation`) of the
*whole optimizer step*, over all ranks and micro-batches. It is a required argument, since a mean
taken per micro-batch would weigh tokens by how the batch happened to be cut, and the gradient would
change with the micro-batch size. Micro-batch losses are then summed.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

LossName = Literal["dapo", "dr_grpo", "gspo", "cispo"]
LOSS_NAMES = get_args(LossName)


@dataclass(frozen=True, slots=True)
class LossTerms:
    """loss: scalar, to be summed over micro-batches. ratio_C: importance ratios, detached."""

    loss: torch.Tensor
    ratio_C: torch.Tensor


def clipped_surrogate(ratio: torch.Tensor, advantage: torch.Tensor, clip_low: float, clip_high: float) -> torch.Tensor:
    """`-min(rho A, clip(rho, 1 - low, 1 + high) A)` (PPO; DAPO eq. 8 with decoupled bounds), elementwise."""
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratio * advantage, clipped * advantage)


def policy_loss(
    name: LossName,
    *,
    logprobs_C: torch.Tensor,
    old_logprobs_C: torch.Tensor,
    advantages_C: torch.Tensor,
    mask_C: torch.Tensor,
    weights_C: torch.Tensor,
    sequence_C: torch.Tensor,
    denominator: float,
    clip_low: float,
    clip_high: float,
) -> LossTerms:
    """The named loss of one micro-batch.

    logprobs_C: log pi_theta, with gradient. old_logprobs_C: log pi_old. advantages_C: the
    completion's advantage at each of its tokens. mask_C: 1 where a token counts. weights_C:
    importance correction of rollout against learner (`mismatch_weights`), 1 for none. sequence_C:
    which completion a token belongs to (0..S-1). denominator: see the module's docstring.

    dapo:    -sum_t w_t min(rho_t A, clip(rho_t) A) / N (arXiv 2503.14476, eq. 8)
    dr_grpo: the same sum over a constant, advantages without std (arXiv 2503.20783)
    cispo:   -sum_t w_t sg(min(rho_t, 1 + high)) A log pi / N (MiniMax-M1, arXiv 2506.13585, eq. 4)
    gspo:    -sum_i min(s_i A, clip(s_i) A) / S, s_i = exp(mean_t log-ratio) (arXiv 2507.18071, eq. 5)
    """
    log_ratio_C = (logprobs_C - old_logprobs_C) * mask_C
    ratio_C = log_ratio_C.exp()
    if name in ("dapo", "dr_grpo"):
        token_C = clipped_surrogate(ratio_C, advantages_C, clip_low, clip_high)
    elif name == "cispo":
        token_C = -ratio_C.detach().clamp(max=1.0 + clip_high) * advantages_C * logprobs_C
    elif name == "gspo":
        length_S = _per_sequence(mask_C, sequence_C).clamp(min=1.0)
        ratio_S = (_per_sequence(log_ratio_C, sequence_C) / length_S).exp()
        surrogate_C = clipped_surrogate(ratio_S[sequence_C], advantages_C, clip_low, clip_high)
        # 1/|y_i| at each token, so that a sequence's tokens sum to its one term.
        token_C = surrogate_C / length_S[sequence_C]
        ratio_C = ratio_S[sequence_C]
    else:
        raise ValueError(f"unknown loss {name!r}: one of {', '.join(LOSS_NAMES)}")
    return LossTerms((token_C * weights_C * mask_C).sum() / denominator, ratio_C.detach())


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
    ratio_C = (old_logprobs_C - rollout_logprobs_C).detach().exp()
    weights_C = torch.ones_like(ratio_C) if cap is None else ratio_C.clamp(max=cap)
    if band is not None:
        weights_C = weights_C * ((ratio_C >= band[0]) & (ratio_C <= band[1]))
    return weights_C


def step_denominator(
    name: LossName,
    normalisation: Literal["tokens", "sequences", "constant"],
    *,
    tokens: int,
    sequences: int,
    constant_length: int,
) -> float:
    """The denominator of a whole optimizer step, from counts over all of its unmasked completions.

    tokens: DAPO's token mean. sequences: one term a completion (GSPO; for token losses see
    `sequence_weights`). constant: `sequences * constant_length`, Dr. GRPO's fixed budget.
    Raises ValueError where there is nothing to divide by.
    """
    if tokens <= 0 or sequences <= 0:
        raise ValueError("a step needs at least one unmasked completion token")
    if name == "gspo" or normalisation == "sequences":
        return float(sequences)
    return float(sequences * constant_length) if normalisation == "constant" else float(tokens)


def sequence_weights(mask_C: torch.Tensor, sequence_C: torch.Tensor) -> torch.Tensor:
    """`1/|y_i|` at each token of completion i: with the denominator S this is GRPO's sequence mean."""
    return (1.0 / _per_sequence(mask_C, sequence_C).clamp(min=1.0))[sequence_C]


def _per_sequence(values_C: torch.Tensor, sequence_C: torch.Tensor) -> torch.Tensor:
    """Sum of each sequence's tokens, [S]. A micro-batch holds whole sequences, so this is exact."""
    count = int(sequence_C.max()) + 1 if sequence_C.numel() else 0
    return values_C.new_zeros(count).index_add(0, sequence_C, values_C)
