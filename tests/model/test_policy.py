"""Few shapes: what is added to a batch for them is cut off again and changes no number."""

import torch

from srm_ray.model import policy
from srm_ray.model.packed_attention import AttentionLayout
from srm_ray.rl.batching import micro_batches
from tests.rl.random_groups import tiny_qwen3, uneven_groups


def test_lengths_are_few_and_little_is_added():
    rounded = {count: policy.rounded(torch.full((count,), 7)) for count in range(512, 1025)}
    assert len({len(values) for values in rounded.values()}) == 9
    for count, values in rounded.items():
        assert 0 <= len(values) - count <= count / 8
        assert values.sum() == 7 * count and (values[:count] == 7).all()


def scored(model):
    """Log-probabilities, entropies and the gradients of their sum."""
    batch = micro_batches(uneven_groups(), budget=10**6, ranks=1)[0][0]
    layout = AttentionLayout([torch.tensor(rows) for rows in batch.buckets], torch.tensor(batch.output_T))
    arguments = [torch.tensor(x) for x in (batch.tokens_T, batch.positions_T)]
    model.zero_grad()
    logprobs, entropies = model(*arguments, layout, torch.tensor(batch.predict_C), torch.tensor(batch.targets_C))
    assert len(logprobs) == len(entropies) == len(batch.targets_C)
    (logprobs.sum() + entropies.sum()).backward()
    return [logprobs, entropies, *(weight.grad.clone() for weight in model.parameters())]


def test_what_is_added_changes_nothing(monkeypatch):
    model = policy.PolicyModel(tiny_qwen3().double())
    with_more = scored(model)
    monkeypatch.setattr(policy, "rounded", lambda values: values)
    for one, other in zip(with_more, scored(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
