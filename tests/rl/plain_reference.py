"""The losses written the slow way: padded batches, all logits, one completion and one token at a time.

Nothing here is shared with `srm_ray.rl`: no packing, no flat token axis, no micro-batches.
"""

import math
from collections.abc import Sequence

from srm_ray.config.algorithm import LossConfig
from srm_ray.rl.types import Group

# What a step's sum is divided by where the options do not say.
NORMALISED = {
    "grpo": "sequences", "sapo": "sequences", "gspo": "sequences",
    "rloo": "constant", "maxrl": "constant", "dr_grpo": "constant",
}  # fmt: skip


class Named(LossConfig):
    """Options of a loss, and the algorithm that they are for."""

    algorithm: str = ""


def name_of(options: LossConfig) -> str:
    return getattr(options, "algorithm", "") or options.name or "dapo"


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
    logprobs: list,
    groups: Sequence[Group],
    options: LossConfig,
    *,
    old: list | None = None,
    max_new_tokens: int = 1,
    only: list | None = None,
):
    """The step's loss from `plain_logprobs`, with gradient. old: log pi_old, or None for the current values.

    only: 1 for tokens that have a policy loss, [T] of each completion; None: all.
    """
    completions = [completion for group in groups for completion in group.completions]
    advantages = [float(advantage) for group in groups for advantage in group.advantages]  # type: ignore[union-attr]
    counts = counted(groups, filter_overlong=options.filter_overlong)
    chosen = [i for i, counts_here in enumerate(counts) if counts_here]
    tokens = sum(len(completions[i].token_ids) for i in chosen)
    total = 0.0
    for i in chosen:
        own = old[i] if old is not None else logprobs[i].detach()
        sampled, length = completions[i].logprobs, len(completions[i].token_ids)
        before = own.new_tensor(sampled.tolist()) if options.ratio_against == "rollout" else own
        mean_log_ratio = (logprobs[i] - before).mean()
        mismatch = [own[t].item() - float(sampled[t]) for t in range(length)]
        for t in range(length):
            shared = sum(mismatch) / (length if options.importance_level == "geometric" else 1)
            weight = _weight(math.exp(mismatch[t] if options.importance_level == "token" else shared), options)
            log_ratio = mean_log_ratio if name_of(options) == "gspo" else logprobs[i][t] - before[t]
            term = _term(log_ratio, logprobs[i][t], advantages[i], options)
            weight *= 1.0 if only is None else only[i][t].item()
            total = total + weight * term / _share(options, length, tokens, len(chosen), max_new_tokens)
    return total


def _term(log_ratio, logprob, advantage: float, options: LossConfig):
    name, ratio = name_of(options), log_ratio.exp()
    if name == "cispo":
        return -min(ratio.item(), 1 + options.clip_high) * advantage * logprob
    if name == "rloo":
        return -ratio * advantage
    if name == "sapo":
        tau = options.tau_positive if advantage > 0 else options.tau_negative
        return -4 / tau / (1 + (-tau * (ratio - 1)).exp()) * advantage
    return _clipped(ratio, advantage, options)


def _clipped(ratio, advantage: float, options: LossConfig):
    value = ratio.item()
    clipped = min(max(value, 1 - options.clip_low), 1 + options.clip_high)
    return -ratio * advantage if value * advantage <= clipped * advantage else ratio * 0 - clipped * advantage


def _weight(ratio: float, options: LossConfig) -> float:
    if options.importance_band is not None and not options.importance_band[0] <= ratio <= options.importance_band[1]:
        return 0.0
    return (
        1.0
        if options.importance_cap is None or options.ratio_against == "rollout"
        else min(ratio, options.importance_cap)
    )


def _share(options: LossConfig, length: int, tokens: int, sequences: int, max_new_tokens: int) -> float:
    """What one token's term is divided by."""
    own = NORMALISED.get(name_of(options)) if getattr(options, "algorithm", "") else None
    normalisation = options.normalisation or own
    if normalisation == "sequences":
        return sequences * length
    return sequences * max_new_tokens if normalisation == "constant" else tokens
