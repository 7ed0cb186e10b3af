"""Small random models and scored groups: what the loss's tests feed on."""

from collections.abc import Sequence

import numpy as np

from rewards.verdict import Reward
from srm_ray.rl.advantages import group_advantages
from srm_ray.rl.types import Completion, Group, Prompt

VOCABULARY = 96


def tiny_qwen3(seed: int = 0):
    """A random two-layer Qwen3 with grouped queries, FP32, sharp enough that its log-probabilities differ."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    generator = torch.Generator().manual_seed(seed)
    model = Qwen3ForCausalLM(config).float()
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.25 * noise if weight.ndim > 1 else 1 + 0.2 * noise)
    return model.eval()


def random_group(
    rng: np.random.Generator,
    index: int,
    prompt: int,
    lengths: Sequence[int],
    *,
    correct: Sequence[bool | None] = (),
    truncated: Sequence[int] = (),
    normalise_std: bool = True,
) -> Group:
    """A group whose completions have `lengths` tokens; without `correct`, alternately right and wrong.

    Sampled log-probabilities are those of a sampler that does not quite agree with any learner.
    """
    judged = list(correct) or [bool(i % 2) for i in range(len(lengths))]
    rewards = [Reward(float(bool(right)), right, "correct") for right in judged]
    advantages = group_advantages(
        [reward.value for reward in rewards],
        normalise_std=normalise_std,
        decided=[right is not None for right in judged],
    )
    completions = tuple(
        Completion(
            token_ids=rng.integers(3, VOCABULARY, length).astype(np.int32),
            logprobs=rng.uniform(-5.5, -3.5, length).astype(np.float32),
            versions=np.zeros(length, np.int32),
            finish_reason="length" if position in truncated else "stop",
            seed=position,
            text="",
            worker=f"rollout-{position % 2}",
        )
        for position, length in enumerate(lengths)
    )
    tokens = tuple(int(token) for token in rng.integers(3, VOCABULARY, prompt))
    return Group(Prompt(index, tokens, ""), completions, rewards=tuple(rewards), advantages=advantages)


def uneven_groups(seed: int = 0, *, count: int = 5, normalise_std: bool = True) -> tuple[Group, ...]:
    """Groups with a long tail of lengths; one completion undecided, two truncated."""
    rng = np.random.default_rng(seed)
    made = [
        random_group(rng, 0, 5, (3, 40, 9, 1), correct=(True, False, None, False), normalise_std=normalise_std),
        random_group(rng, 1, 11, (7, 2, 30), truncated=(2,), normalise_std=normalise_std),
        random_group(rng, 2, 3, (4, 4, 5, 6), normalise_std=normalise_std),
        random_group(rng, 3, 8, (17, 2, 50), correct=(True, True, False), truncated=(2,), normalise_std=normalise_std),
        random_group(rng, 4, 6, (12, 1), normalise_std=normalise_std),
    ]
    return tuple(made[:count])
