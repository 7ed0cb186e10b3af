"""The module that DeepSpeed trains: rows in, summed losses of a micro-batch out."""

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from srm_ray.data.packing import Rows
from srm_ray.training.job import TrainSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def loss_module(model: "PreTrainedModel", job: TrainSpec) -> Any:
    """A module whose forward pass returns summed losses of a micro-batch, shape [4]."""
    import torch

    from srm_ray.training import losses

    class SummedLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            tokens_BT: torch.Tensor,
            positions_BT: torch.Tensor,
            mask_BT: torch.Tensor,
            reference_P2: torch.Tensor | None = None,
            noise_seeds_B: list[int] | None = None,
        ) -> torch.Tensor:
            if job.pairs:
                assert reference_P2 is not None, "pairs have a reference"
                return self.pair_sums(self.row_logprobs(tokens_BT, positions_BT, mask_BT), reference_P2)
            logprobs_N = self.logprobs(tokens_BT, positions_BT, mask_BT, noise_seeds_B)
            kind = losses.TOKEN_LOSSES[job.loss] if self.training else losses.nll
            loss = kind(logprobs_N)
            return torch.stack([loss, *[loss.new_zeros(())] * 3])

        def logprobs(
            self,
            tokens_BT: torch.Tensor,
            positions_BT: torch.Tensor,
            mask_BT: torch.Tensor,
            noise_seeds_B: list[int] | None = None,
        ) -> torch.Tensor:
            """Of the masked tokens, [N]."""
            reduced = job.optim.precision == "bf16_autocast"
            kind = tokens_BT.device.type
            noise = (job.neftune, noise_seeds_B) if self.training and noise_seeds_B else None
            with torch.autocast(kind, torch.bfloat16) if reduced else contextlib.nullcontext():
                return losses.target_logprobs(self.model, tokens_BT, positions_BT, mask_BT, neftune=noise)

        def row_logprobs(
            self, tokens_BT: torch.Tensor, positions_BT: torch.Tensor, mask_BT: torch.Tensor
        ) -> torch.Tensor:
            """Summed log-probability of each row's masked tokens, [B]."""
            logprobs_N = self.logprobs(tokens_BT, positions_BT, mask_BT)
            return losses.sum_by_row(logprobs_N, mask_BT)

        def pair_sums(self, logprobs_B: torch.Tensor, reference_P2: torch.Tensor) -> torch.Tensor:
            delta_P2 = logprobs_B.view(-1, 2) - reference_P2
            chosen_P, rejected_P = delta_P2.unbind(1)
            margin_P = job.beta * (chosen_P - rejected_P)
            loss_P = losses.PAIR_LOSSES[job.loss](chosen_P, rejected_P, job.beta)
            zero = margin_P.new_zeros(())
            return torch.stack([loss_P.sum(), (margin_P > 0).float().sum(), margin_P.sum(), zero])

    return SummedLoss()


def to_device(rows: Rows, device: "torch.device | str") -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Tokens, positions and loss mask of the rows, [B, T] each."""
    import numpy as np
    import torch

    return (
        torch.from_numpy(np.asarray(rows.tokens, np.int64)).to(device),
        torch.from_numpy(np.asarray(rows.positions, np.int64)).to(device),
        torch.from_numpy(np.array(rows.mask)).to(device),
    )


def noise_seed(seed: int, step: int, unit: int) -> int:
    """Seed of what is drawn at random for a unit of a step (NEFTune's noise), whoever computes it."""
    digest = hashlib.blake2b(f"noise/{seed}/{step}/{unit}".encode(), digest_size=7).digest()
    return int.from_bytes(digest)
