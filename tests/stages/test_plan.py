"""`--dry_run`'s figures beside what PyTorch really keeps."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

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


@pytest.mark.integration
def test_the_plan_reckons_states_of_the_adapter_alone_and_a_push_of_it() -> None:
    from transformers import Qwen3Config

    from actors.grpo_plan import parts_of, pushed_bytes
    from actors.train.memory import size_of
    from srm_ray.config.command_line import parse
    from srm_ray.config.grpo import GRPOConfig

    shape = Qwen3Config(vocab_size=32_000, hidden_size=1024, intermediate_size=3072, num_hidden_layers=16)

    def planned(*words: str) -> tuple[float, int, int]:
        common = ["--rollout.dtype", "float32", "--learner.precision", "float32"]
        config = parse(GRPOConfig, [*common, *words], stage="grpo", default="grpo/tiny")
        learner = next(part for part in parts_of(config, shape) if part.role == "learner")
        return learner.gib, *pushed_bytes(config, size_of(shape, config.learner.lora))

    full, nothing, whole = planned()
    adapted, base, factors = planned("--learner.lora.rank", "16")
    quantised, *_ = planned("--learner.lora.rank", "16", "--learner.lora.quantise", "nf4")
    merged, *apart = planned("--learner.lora.rank", "16", "--learner.lora.push", "merged")
    assert nothing == 0 and base == whole and apart == [0, whole]
    assert 20 * factors < whole
    # Gradients and two moments of all weights, in FP32, are what an adapter saves; less its own.
    weights = whole / 2**30
    assert full - adapted > 3 * weights
    assert adapted - quantised == pytest.approx(weights * (1 - 0.55 / 4), rel=0.05)
    assert merged > adapted
    second, *_ = planned("--loss.kl_beta", "0.1")
    off, *_ = planned("--loss.kl_beta", "0.1", "--learner.lora.rank", "16")
    assert second - full == pytest.approx(weights) and off == adapted, "the reference is the base, adapter off"


@pytest.mark.integration
def test_the_plan_counts_judge_and_reward_model(tiny_model: Path, tmp_path: Path, capsys: Any) -> None:
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    from srm_ray import grpo

    classifier = Qwen3Config(
        vocab_size=384, hidden_size=1024, intermediate_size=4096, num_hidden_layers=16, num_attention_heads=16,
        num_key_value_heads=8, head_dim=64, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    Qwen3ForSequenceClassification(classifier).save_pretrained(tmp_path / "classifier")
    options = ["--config", "grpo/tiny", "--model", str(tiny_model), "--dry-run"]
    options += ["--learner.precision", "float32"]
    judge = ["--reward.judge", str(tiny_model), "--reward.judge.kv_cache_gb", "0.25", "--reward.judge.workers", "2"]
    judge += ["--reward.judge.max_new_tokens", "16", "--reward.judge.dtype", "float32"]

    def said(*words: str) -> dict[str, str]:
        assert grpo.main([*options, *words]) == 0
        return {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}

    assert "2 x   1.36 GiB  weights, KV cache of 0.25 GiB" in said(*judge)["judge"]
    # 16 layers of 15.7M weights in FP32, and the libraries, in each of two processes; 0.4 GiB are the worker's own.
    model = ["--reward.model", str(tmp_path / "classifier"), "--reward.processes", "2"]
    assert "1 x   3.08 GiB" in said(*model)["reward"]
    assert grpo.main([*options, *judge, "--reward.judge.max_new_tokens", "100000"]) == 2
    assert "lower reward.judge.max_new_tokens" in capsys.readouterr().err
    assert grpo.main([*options, "--reward.judge", str(tmp_path / "nothing")]) == 2
    assert "--reward.judge.model" in capsys.readouterr().err
