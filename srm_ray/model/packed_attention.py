"""Attention over packed tokens, plugged into transformers' attention interface.

The model runs on one row of T tokens (see `srm_ray.rl.batching`). This function gathers each
completion's prompt and own tokens into [B, L] rows, in buckets of similar length, runs causal SDPA on
each bucket, and lays the outputs back. Padding is on the right, where causality hides it. The keys
and values of a prompt are computed once for its whole group; gradients from all of its completions
meet again in the gather's backward. A row of a bucket is a whole sequence, so its columns are positions.
Shapes: H query heads, K key/value heads, D head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from srm_ray.errors import UserError
from srm_ray.model.families import why_not_packed

NAME = "srm_packed"


@dataclass(frozen=True, slots=True)
class AttentionLayout:
    """buckets: int64 [B, L] positions in T. output_T: where each packed token's output lies."""

    buckets: Sequence[torch.Tensor]
    output_T: torch.Tensor


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    *,
    attention_layout: AttentionLayout,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:  # the parameters are those of transformers' attention interface
    """query [1, H, T, D], key and value [1, K, T, D]; returns ([1, T, H, D], None), as transformers expects.

    sliding_window: keys that a query sees, itself among them; None: all before it.
    """
    heads, size = query.shape[1], query.shape[3]
    query_T, key_T, value_T = (x[0].transpose(0, 1).flatten(1) for x in (query, key, value))
    outputs = []
    for index_BL in attention_layout.buckets:
        rows, width = index_BL.shape
        flat = index_BL.reshape(-1)
        q, k, v = (
            x.index_select(0, flat).view(rows, width, -1, size).transpose(1, 2) for x in (query_T, key_T, value_T)
        )
        seen_LL = visible(width, sliding_window, chunk_of(module), query.device)
        out = F.scaled_dot_product_attention(
            q, k, v, seen_LL, is_causal=seen_LL is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        outputs.append(out.transpose(1, 2).reshape(rows * width, heads * size))
    flat_output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return flat_output.index_select(0, attention_layout.output_T).view(1, -1, heads, size), None


def visible(width: int, window: int | None, chunk: int | None, device: torch.device) -> torch.Tensor | None:
    """Which keys [column] each query [row] of a sequence sees, where that is less than all before it; else None.

    window: the nearest that many (Mistral, Gemma 3). chunk: those of its own piece of that many (Llama 4).
    """
    window, chunk = (limit if limit and width > limit else None for limit in (window, chunk))
    if window is None and chunk is None:
        return None
    place_L = torch.arange(width, device=device)
    distance_LL = place_L[:, None] - place_L[None, :]
    seen_LL = distance_LL >= 0
    if window is not None:
        seen_LL &= distance_LL < window
    if chunk is not None:
        seen_LL &= place_L[:, None] // chunk == place_L[None, :] // chunk
    return seen_LL


def chunk_of(module) -> int | None:
    """Tokens of a piece, in a layer that attends within pieces: transformers passes it to the mask alone."""
    kinds = getattr(module.config, "layer_types", None)
    if not kinds or kinds[module.layer_idx] != "chunked_attention":
        return None
    return module.config.attention_chunk_size


def use_packed_attention(model) -> None:
    """Switch a transformers model to `packed_attention`; raises `UserError` for models with other attention."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    if reason := why_not_packed(model.config):
        raise UserError(f"{reason}: packing does not cover that")
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    try:
        model.set_attn_implementation(NAME)
    except ValueError as error:
        raise UserError(f"{model.config.model_type}: packing does not cover its attention: {error}") from None
