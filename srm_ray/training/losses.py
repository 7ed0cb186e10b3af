"""Losses of pretraining, SFT and preference optimisation, as pure functions of tensors.

Shapes: B rows, T tokens, N tokens that carry loss, V vocabulary.

Every token loss is a *sum*; the caller divides by the number of loss tokens in the whole optimizer
step, over all micro-batches and ranks. A mean over each micro-batch would weigh tokens by how few
others share their micro-batch, and change with accumulation and ranks.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from srm_ray.model.families import decoder_of
from srm_ray.model.lora import plain
from srm_ray.training.logits import targets_at_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenLoss = Callable[[Tensor], Tensor]


def nll(logprobs_N: Tensor) -> Tensor:
    """Summed negative log-likelihood of the target tokens, from their log-probabilities."""
    return -logprobs_N.sum()


def dft(logprobs_N: Tensor) -> Tensor:
    """Dynamic fine-tuning: `-sg(p) log p`, summed; each token weighted by its own detached
    probability (Wu et al. 2025, "On the Generalization of SFT", equation 9)."""
    return -(logprobs_N.detach().exp() * logprobs_N).sum()


TOKEN_LOSSES: dict[str, TokenLoss] = {"nll": nll, "dft": dft}


def backbone_of(model: "PreTrainedModel") -> "torch.nn.Module":
    """What computes the hidden states, and so what there is to compile: everything but the output embedding."""
    return decoder_of(plain(model))


def target_logprobs(
    model: "PreTrainedModel",
    tokens_BT: Tensor,
    positions_BT: Tensor,
    mask_BT: Tensor,
    *,
    chunk: int = 0,
    neftune: tuple[float, Sequence[int]] | None = None,
) -> Tensor:
    """Log-probabilities [N] of the masked tokens, each predicted from the token before it, in FP32.

    Logits are made only where they are needed, `chunk` targets at a time (0: `targets_at_once`), recomputed in the
    backward pass when there is more than one chunk, so that [B, T, V] never exists. `neftune`:
    alpha of NEFTune's noise on the embeddings, and each row's seed for it.
    """
    from torch.utils.checkpoint import checkpoint

    inner = plain(model)
    given: dict[str, Tensor] = {"input_ids": tokens_BT}
    if neftune:
        given = {"inputs_embeds": noisy(inner.get_input_embeddings()(tokens_BT), positions_BT, *neftune)}
    hidden_BTD = backbone_of(model)(**given, position_ids=positions_BT, use_cache=False).last_hidden_state
    wanted = mask_BT[:, 1:]
    hidden_ND, targets_N = hidden_BTD[:, :-1][wanted], tokens_BT[:, 1:][wanted]
    head = inner.get_output_embeddings()
    chunk = chunk or targets_at_once(inner.config.get_text_config().vocab_size)
    if len(targets_N) <= chunk:
        return _gather_logprobs(head, hidden_ND, targets_N)
    pieces = zip(hidden_ND.split(chunk), targets_N.split(chunk), strict=True)
    return torch.cat([checkpoint(_gather_logprobs, head, h, t, use_reentrant=False) for h, t in pieces])


def noisy(embedded_BTD: Tensor, positions_BT: Tensor, alpha: float, seeds_B: Sequence[int]) -> Tensor:
    """NEFTune: uniform noise in [-1, 1] scaled by alpha / sqrt(L D), L being each document's own
    length (Jain et al. 2023, algorithm 1). A row's noise comes from its own seed, so that it does
    not depend on who computes the row, or with which others."""
    starts_BT = positions_BT == 0
    document_BT = starts_BT.long().cumsum(1) - 1
    counts = torch.zeros_like(document_BT).scatter_add_(1, document_BT, torch.ones_like(document_BT))
    length_BT = counts.gather(1, document_BT)
    scale_BT1 = (alpha / (length_BT * embedded_BTD.shape[-1]).float().sqrt())[..., None]
    noise_BTD = torch.empty_like(embedded_BTD)
    for row_TD, seed in zip(noise_BTD, seeds_B, strict=True):
        row_TD.uniform_(-1, 1, generator=torch.Generator(embedded_BTD.device).manual_seed(seed))
    return embedded_BTD + scale_BT1.to(embedded_BTD.dtype) * noise_BTD


def sum_by_row(logprobs_N: Tensor, mask_BT: Tensor) -> Tensor:
    """Sum the values of the masked tokens of each row: [N] to [B]."""
    row_N = mask_BT[:, 1:].nonzero()[:, 0]
    return logprobs_N.new_zeros(len(mask_BT)).index_add(0, row_N, logprobs_N)


def _gather_logprobs(head: "torch.nn.Module", hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
    return -F.cross_entropy(head(hidden_ND).float(), targets_N, reduction="none")


# Preference optimisation: d = log pi(y) - log pi_ref(y), summed over a completion


def dpo(delta_chosen_B: Tensor, delta_rejected_B: Tensor, beta: float) -> Tensor:
    """`-log sigmoid(beta (d_w - d_l))` for each pair; ln 2 at pi = pi_ref (Rafailov et al. 2023, equation 7)."""
    return -F.logsigmoid(beta * (delta_chosen_B - delta_rejected_B))


def apo_zero(delta_chosen_B: Tensor, delta_rejected_B: Tensor, beta: float) -> Tensor:
    """`1 - sigmoid(beta d_w) + sigmoid(beta d_l)` for each pair; 1 at pi = pi_ref (D'Oosterlinck et al. 2024)."""
    return 1 - torch.sigmoid(beta * delta_chosen_B) + torch.sigmoid(beta * delta_rejected_B)


PAIR_LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"dpo": dpo, "apo_zero": apo_zero}
