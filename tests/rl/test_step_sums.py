"""What a rank counts in a step: read from its device once, at the end."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from actors.learner.sums import Sums, Tokens
from srm_ray.rl.algorithms.contract import Options
from srm_ray.rl.batching import PackedBatch, micro_batches
from tests.rl.random_groups import uneven_groups


class Reads(TorchDispatchMode):
    """Counts how often the host reads a number of a tensor, for which it has to wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def tokens_of(batch: PackedBatch) -> Tokens:
    own_C, rollout_C, advantages_C, entropy_C, ratio_C = torch.randn(5, len(batch.mask_C)).unbind()
    return Tokens(own_C, rollout_C, torch.from_numpy(batch.mask_C).float(), advantages_C, entropy_C, ratio_C.exp())


def test_a_micro_batch_does_not_wait_for_the_device() -> None:
    torch.manual_seed(1)
    sums, batches = Sums(), micro_batches(uneven_groups(), budget=70, ranks=1)[0]
    made = [tokens_of(batch) for batch in batches]
    assert len(batches) > 1
    with Reads() as reads:
        for batch, tokens in zip(batches, made, strict=True):
            sums.add(loss=tokens.old_C.sum(), masked=(tokens.mask_C == 0).sum())
            sums.add_tokens(batch, Options(), tokens)
    assert reads.count == 0
    found = sums.result()
    distances = [(one.old_C - one.rollout_C).abs() * one.mask_C for one in made]
    assert found.values["loss"] == sum(float(one.old_C.sum()) for one in made)
    assert found.values["tokens"] == sum(tokens for tokens, _ in found.by_worker.values())
    assert found.values["mismatch_max"] == max(float(one.max()) for one in distances)
    assert found.values["mismatch_abs"] == pytest.approx(sum(apart for _, apart in found.by_worker.values()))
    for mine, one in zip(found.logprobs, made, strict=True):
        np.testing.assert_array_equal(mine, one.old_C.numpy())
