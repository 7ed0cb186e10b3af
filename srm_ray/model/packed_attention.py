"""Attention over packed tokens, plugged into transformers' attention interface.

The model runs on one row of T tokens (see `srm_ray.rl.batching`). This function gathers each
completion's prompt and own tokens into [B, L] rows, in buckets of similar length, runs causal SDPA on
each bucket, and lays the outputs back. Padding is on the right, where causality hides it. The keys
and values of a prompt are computed once for its whole group; gradients from all of its completions
meet again in the gather's backward. Shapes: H query heads, K key/value heads, D head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

NAME = "srm_packed"


@dataclass(frozen=True, slots=True)
class AttentionLayout:
    """buckets: int64 [B, L] positions in T. output_T: where each packed token's output lies."""

    buckets: Sequence[torch.Tensor]
    output_T: torch.Tensor


def packed_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, *, attention_layout, **_):
    """query [1, H, T, D], key and value [1, K, T, D]; returns ([1, T, H, D], None), as transformers expects."""
    heads, _, size = query.shape[1:]
    query_T, key_T, value_T = (x[0].transpose(0, 1).flatten(1) for x in (query, key, value))
    outputs = []
    for index_BL in attention_layout.buckets:
        rows, width = index_BL.shape
        flat = index_BL.reshape(-1)
        q, k, v = (
            x.index_select(0, flat).view(rows, width, -1, size).transpose(1, 2) for x in (query_T, key_T, value_T)
        )
        out = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        outputs.append(out.transpose(1, 2).reshape(rows * width, heads * size))
    flat_output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return flat_output.index_select(0, attention_layout.output_T).view(1, -1, heads, size), None


def use_packed_attention(model) -> None:
    """Switch a transformers model to `packed_attention`; raises ValueError for models with other attention."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    if getattr(model.config, "sliding_window", None) and getattr(model.config, "use_sliding_window", True):
        raise ValueError(f"{model.config.model_type} uses sliding-window attention, which packing does not cover")
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    model.set_attn_implementation(NAME)
