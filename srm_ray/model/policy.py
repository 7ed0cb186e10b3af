"""The policy as the learner sees it: packed tokens in, log-probabilities of completion tokens out.

Logits over the vocabulary are made for completion tokens alone, a chunk at a time, and again in the
backward pass, so that memory never holds all of them.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from srm_ray.model.families import decoder_of
from srm_ray.model.lora import plain
from srm_ray.model.packed_attention import AttentionLayout, use_packed_attention

KEPT_LOGITS = 1 << 23  # a chunk with more logits than this is computed again in the backward pass


def rounded(values_N: torch.Tensor) -> torch.Tensor:
    """With zeros behind, up to one of eight lengths between two powers of two: 3 % more, on average.

    Batches then come in few shapes. Allocators that keep what they freed find room for the next one in it, and
    libraries that prepare a kernel for each shape (oneDNN) do it seldom.
    """
    count = len(values_N)
    step = max(8, 1 << max(0, count.bit_length() - 4))
    return F.pad(values_N, (0, -count % step))


class PolicyModel(nn.Module):
    """A transformers causal LM, or one with an adapter, that returns (log-probabilities, entropies), both [C] float32.

    With `others_CK`, K token ids for each place, it returns their log-probabilities, [C, K], as a third.
    temperature: logits are divided by it, as the sampler did. chunk: completion tokens whose logits exist at a time.
    autocast: dtype of the matrix products, or None for the weights' own. entropy_gradient: whether entropies have one.
    """

    def __init__(
        self,
        model,
        *,
        temperature: float = 1.0,
        chunk: int = 4096,
        autocast: torch.dtype | None = None,
        entropy_gradient: bool = False,
    ):
        super().__init__()
        self.entropy_gradient = entropy_gradient
        use_packed_attention(plain(model))
        self.model = model
        self.temperature = temperature
        self.chunk = chunk
        self.autocast = autocast

    def forward(
        self,
        tokens_T: torch.Tensor,
        positions_T: torch.Tensor,
        layout: AttentionLayout,
        predict_C: torch.Tensor,
        targets_C: torch.Tensor,
        others_CK: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        count, device = len(targets_C), tokens_T.device.type
        tokens_T, positions_T = rounded(tokens_T), rounded(positions_T)
        layout = AttentionLayout(layout.buckets, rounded(layout.output_T))
        predict_C, targets_C = rounded(predict_C), rounded(targets_C)
        wanted_CN = targets_C[:, None]  # the sampled token, then the others
        if others_CK is not None:
            padded_CK = F.pad(others_CK, (0, 0, 0, len(targets_C) - count))
            wanted_CN = torch.cat([wanted_CN, padded_CK], 1)
        with torch.autocast(device, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            hidden_TD = decoder_of(plain(self.model))(
                input_ids=tokens_T[None], position_ids=positions_T[None], attention_layout=layout, use_cache=False
            ).last_hidden_state[0]
            hidden_CD = hidden_TD.index_select(0, predict_C)
            pieces = [
                self._score(hidden_CD[at : at + self.chunk], wanted_CN[at : at + self.chunk])
                for at in range(0, len(targets_C), self.chunk)
            ]
        logprobs, entropies = zip(*pieces, strict=True)
        logprobs_CN, entropy_C = torch.cat(logprobs)[:count], torch.cat(entropies)[:count]
        if others_CK is None:
            return logprobs_CN[:, 0], entropy_C
        return logprobs_CN[:, 0], entropy_C, logprobs_CN[:, 1:]

    def _score(self, hidden_CD: torch.Tensor, wanted_CN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if torch.is_grad_enabled() and len(wanted_CN) * self.model.config.vocab_size > KEPT_LOGITS:
            return checkpoint(self._logprobs, hidden_CD, wanted_CN, use_reentrant=False)
        return self._logprobs(hidden_CD, wanted_CN)

    def _logprobs(self, hidden_CD: torch.Tensor, wanted_CN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits_CV = plain(self.model).get_output_embeddings()(hidden_CD)
        logits_CV = logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32)) / self.temperature
        logprobs_CV = logits_CV.log_softmax(-1)
        chosen_CN = logprobs_CV.gather(1, wanted_CN)
        with torch.set_grad_enabled(self.entropy_gradient and torch.is_grad_enabled()):
            entropy_C = -(logprobs_CV.exp() * logprobs_CV).sum(-1)
        return chosen_CN, entropy_C
