"""The losses written the slow way: padded batches, all logits, one completion and one token at a time.

Nothing here is shared with `srm_ray.rl`: no packing, no flat token axis, no micro-batches.
"""

import math
from collections.abc import Sequence

from srm_ray.config.grpo import LossConfig
from srm_ray.rl.types import Group


def plain_logprobs(model, groups: Sequence[Group], *, temperature: float = 1.0) -> list:
    """Log-probabilities of each completion's tokens, from transformers' own forward on padded sequences."""
    import torch

    pairs = [(g.prompt.token_ids, [int(t) for t in c.token_ids]) for g in groups for c in g.completions]
    width = max(len(prompt) + len(own) for prompt, own in pairs)
    ids = torch.zeros(len(pairs), width, dtype=torch.long)
    attended = torch.zeros_like(ids)
    for row, (prompt, own) in enumerate(pairs):
        ids[row, : len(prompt) + len(own)] = torch.tensor([*prompt, *own])
        attended[row, : len(prompt) + len(own)] = 1
    logits = model(input_ids=ids, attention_mask=attended, use_cache=False).logits
    found = []
    for row, (prompt, own) in enumerate(pairs):
        scores = (logits[row, len(prompt) - 1 : len(prompt) + len(own) - 1] / temperature).log_softmax(-1)
        found.append(scores[range(len(own)), own])
    return found


def counted(groups: Sequence[Group], *, filter_overlong: bool = False) -> list[bool]:
    """For each completion, whether the loss counts it."""
    return [
        reward.correct is not None and not (filter_overlong and completion.finish_reason == "length")
        for group in groups
        for completion, reward in zip(group.completions, group.rewards, strict=True)
    ]


def plain_loss(
    logprobs: list, groups: Sequence[Group], options: LossConfig, *, old: list | None = None, max_new_tokens: int = 1
):
    """The step's loss from `plain_logprobs`, with gradient. old: log pi_old, or None for the current values."""
    completions = [completion for group in groups for completion in group.completions]
    advantages = [float(advantage) for group in groups for advantage in group.advantages]  # type: ignore[union-attr]
    counts = counted(groups, filter_overlong=options.filter_overlong)
    chosen = [i for i, counts_here in enumerate(counts) if counts_here]
    tokens = sum(len(completions[i].token_ids) for i in chosen)
    total = 0.0
    for i in chosen:
        before = old[i] if old is not None else logprobs[i].detach()
        sampled, length = completions[i].logprobs, len(completions[i].token_ids)
        mean_log_ratio = (logprobs[i] - before).mean()
        for t in range(length):
            weight = _weight(math.exp(before[t].item() - float(sampled[t])), options)
            if options.name == "cispo":
                capped = min(math.exp(logprobs[i][t].item() - before[t].item()), 1 + options.clip_high)
                term = -capped * advantages[i] * logprobs[i][t]
            else:
                log_ratio = mean_log_ratio if options.name == "gspo" else logprobs[i][t] - before[t]
                term = _clipped(log_ratio.exp(), advantages[i], options)
            total = total + weight * term / _share(options, length, tokens, len(chosen), max_new_tokens)
    return total


def _clipped(ratio, advantage: float, options: LossConfig):
    value = ratio.item()
    clipped = min(max(value, 1 - options.clip_low), 1 + options.clip_high)
    return -ratio * advantage if value * advantage <= clipped * advantage else ratio * 0 - clipped * advantage


def _weight(ratio: float, options: LossConfig) -> float:
    if options.importance_band is not None and not options.importance_band[0] <= ratio <= options.importance_band[1]:
        return 0.0
    return 1.0 if options.importance_cap is None else min(ratio, options.importance_cap)


def _share(options: LossConfig, length: int, tokens: int, sequences: int, max_new_tokens: int) -> float:
    """What one token's term is divided by."""
    if options.name == "gspo" or options.normalisation == "sequences":
        return sequences * length
    return sequences * max_new_tokens if options.normalisation == "constant" else tokens
