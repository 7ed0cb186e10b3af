"""Batched sampling from a transformers model with a key-value cache: for small checks, not for rollouts."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from srm_ray.inference.completers import Sampling

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


async def sample(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_ids: Sequence[int],
    seed: int = 3407,
) -> list[list[int]]:
    """One completion for each prompt, without its stop token. The event loop has its turn after each token.

    Prompts are padded on the left with id 0 and masked there. top_p is not looked at.
    """
    import torch

    width = max(map(len, prompts))
    tokens_BT = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask_BT = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    generator = torch.Generator().manual_seed(seed)
    stops, done, cache = torch.tensor(stop_ids), torch.zeros(len(prompts), dtype=torch.bool), None
    sampled: list[torch.Tensor] = []
    for _ in range(sampling.max_new_tokens):
        with torch.no_grad():
            out = model(
                input_ids=tokens_BT,
                attention_mask=mask_BT,
                position_ids=positions_BT,
                past_key_values=cache,
                use_cache=True,
            )
        cache = out.past_key_values
        chosen_B = choose(out.logits[:, -1].float(), sampling.temperature, generator)
        chosen_B[done] = stops[0]
        sampled.append(chosen_B)
        done |= torch.isin(chosen_B, stops)
        if done.all():
            break
        tokens_BT = chosen_B[:, None]
        mask_BT = torch.cat([mask_BT, torch.ones_like(tokens_BT)], 1)
        positions_BT = positions_BT[:, -1:] + 1
        await asyncio.sleep(0)
    return [cut(row, set(stop_ids)) for row in torch.stack(sampled, 1).tolist()]


def choose(logits_BV: "torch.Tensor", temperature: float, generator: "torch.Generator") -> "torch.Tensor":
    """Token ids [B]."""
    import torch

    if temperature == 0:
        return logits_BV.argmax(-1)
    return torch.multinomial(torch.softmax(logits_BV / temperature, -1), 1, generator=generator)[:, 0]


def cut(tokens: list[int], stops: set[int]) -> list[int]:
    for place, token in enumerate(tokens):
        if token in stops:
            return tokens[:place]
    return tokens
