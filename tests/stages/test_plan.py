"""`--dry_run`'s figures beside what PyTorch really keeps."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from actors.train.memory import ModelSize, memory
from srm_ray.config.stages import OptimConfig
from srm_ray.model import shapes
from srm_ray.training.losses import target_logprobs

SMALL = replace(shapes.shape("tiny", vocab_size=1024), d_model=512, q_heads=4, kv_heads=2, ffn=1408, layers=6)


def planned(size: shapes.Shape, tokens: int, workers: int = 1, **changes: object):
    count = shapes.parameters(size)
    model = ModelSize(count, count, size.d_model, size.layers, size.ffn, size.vocab_size)
    return memory(model, OptimConfig(**changes), workers=workers, tokens=tokens)


def kept_bytes(size: shapes.Shape, rows: int, length: int, checkpointed: bool) -> int:
    """Bytes that a forward pass in autocast keeps for the backward pass, weights left out."""
    model = shapes.build(size, seed=1).train()
    if checkpointed:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    tokens = torch.randint(8, size.vocab_size, (rows, length))
    positions, mask = torch.arange(length).expand(rows, length), torch.ones(rows, length, dtype=torch.bool)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        target_logprobs(model, tokens, positions, mask).sum()
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


@pytest.mark.parametrize("size", [shapes.shape("tiny", vocab_size=4096), SMALL])
def test_activations_are_as_planned(size: shapes.Shape) -> None:
    plan = planned(size, 512)
    # At that moment the logits' gradient does not exist yet.
    assert kept_bytes(size, 2, 256, False) == pytest.approx(
        plan.copies + plan.activations + 0.6 * plan.logits, rel=0.15
    )


def test_checkpointing_keeps_a_fraction() -> None:
    plan, full = planned(SMALL, 512, activation_checkpointing=True), planned(SMALL, 512)
    assert kept_bytes(SMALL, 2, 256, True) < plan.activations + plan.logits < 0.4 * (full.activations + full.logits)


def test_zero_shards_optimizer_then_gradients_then_weights() -> None:
    size = shapes.shape("500m")
    count, plans = 489_300_736, [planned(size, 8192, workers=8, zero_stage=stage) for stage in range(4)]
    assert [plan.optimizer for plan in plans] == [8 * count, count, count, count]
    assert [plan.gradients for plan in plans] == [4 * count, 4 * count, count / 2, count / 2]
    assert [plan.weights for plan in plans] == [4 * count, 4 * count, 4 * count, count / 2]
    assert plans[3].total == sum(getattr(plans[3], part.name) for part in fields(plans[3]))


@pytest.mark.integration
def test_a_grpo_run_is_planned_before_it_starts(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from srm_ray import grpo

    options = ["--config", "grpo/tiny", "--model", str(tiny_model), "--rollout.workers", "3", "--dry-run"]
    options += ["--learner.precision", "float32"]
    assert grpo.main(options) == 0
    said = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    parameters = shapes.parameters(shapes.shape("tiny", vocab_size=384))
    assert f"{parameters:,}" in said["parameters"]
    assert "3 x   1.61 GiB  weights, KV cache of 0.50 GiB" in said["rollout"]
    assert "fits" in said["cluster"]
