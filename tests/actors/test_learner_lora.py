"""A DeepSpeed rank that trains an adapter: any ZeRO stage is the same step, and the base is in no state of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from actors.learner.group import LearnerGroup
from srm_ray.config.lora import PolicyLora
from srm_ray.model import lora
from srm_ray.model.adapters import merged
from srm_ray.weights.flat import WeightUpdate
from srm_ray.weights.lora import A, B, merge
from tests.actors.test_learner import LEARNER, LOSS, STEPS, Weights, assert_bitwise, begin_again, read, start, step
from tests.rl.random_groups import tiny_qwen3

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(1500)]

RANK = PolicyLora(rank=4, alpha=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_qwen3().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def learner(model: str) -> Iterator[LearnerGroup]:
    group = start(model, 1, LEARNER.model_copy(update={"lora": RANK}))
    yield group
    asyncio.run(group.close())


def publish(group: LearnerGroup, version: int = 0) -> WeightUpdate:
    return asyncio.run(group.publish(version))


def state(rank: Any) -> tuple[int, int]:
    """First moments that the optimizer holds, and numbers of the adapter."""
    optimizer = getattr(rank.engine.optimizer, "optimizer", rank.engine.optimizer)
    return sum(of["exp_avg"].numel() for of in optimizer.state.values()), lora.trainable(rank.engine.model)


def test_any_zero_stage_makes_the_same_steps_of_the_adapter_alone(learner: LearnerGroup) -> None:
    expected: Weights = {}
    for stage in (0, 1, 2, 3):
        begin_again(learner, lora=RANK, zero_stage=stage, loss=LOSS.model_copy(update={"kl_beta": 0.05}))
        began = publish(learner)
        assert began.base is not None and began.scale == 2.0
        base, factors = read(began.base), read(began)
        original = {name: weight.detach() for name, weight in tiny_qwen3().named_parameters()}
        assert_bitwise(base, original)
        assert all(not weight.any() for name, weight in factors.items() if name.endswith(B))
        kl = [step(learner, groups)["policy/kl"] for groups in STEPS[:2]]
        assert kl[0] == 0.0 and kl[1] > 0, "the reference is the base, which the adapter starts as"
        found = read(publish(learner, 1))
        moments, adapter = asyncio.run(learner._all("__ray_call__", state))[0]
        assert adapter == sum(weight.numel() for weight in found.values())
        assert adapter <= moments < adapter + 128, "but for what ZeRO pads"
        expected = expected or found
        for name, weight in expected.items():
            torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-6, msg=f"{name}, ZeRO stage {stage}")
            assert not torch.equal(weight, factors[name])


@pytest.mark.parametrize("quantise", ["none", "nf4"])
def test_a_checkpoint_holds_the_adapter_alone_and_goes_on_bit_for_bit(
    learner: LearnerGroup, quantise: Any, tmp_path: Path
) -> None:
    if quantise == "nf4":
        pytest.importorskip("bitsandbytes", reason="BITSANDBYTES MISSING: pip install 'srm-ray[qlora]'")
    options = RANK.model_copy(update={"quantise": quantise})
    begin_again(learner, lora=options)
    step(learner, STEPS[0])
    asyncio.run(learner.save(tmp_path))
    saved = read(publish(learner))
    [states] = tmp_path.rglob("*model_states.pt")
    weights = torch.load(states, weights_only=False)["module"]
    assert all(".lora_" in name for name in weights)
    assert sum(w.numel() for w in weights.values()) == sum(w.numel() for w in saved.values())
    step(learner, STEPS[1])
    after = read(publish(learner, 1))
    begin_again(learner, lora=options)
    asyncio.run(learner.load(tmp_path))
    assert_bitwise(read(publish(learner)), saved)
    step(learner, STEPS[1])
    assert_bitwise(read(publish(learner, 1)), after)


def test_what_is_exported_is_what_was_pushed(learner: LearnerGroup, tmp_path: Path) -> None:
    begin_again(learner, lora=RANK)
    for groups in STEPS[:2]:
        step(learner, groups)
    update = publish(learner)
    assert update.base is not None
    base, factors = read(update.base), read(update)
    pushed = {
        name: merge(weight, factors[name + A], factors[name + B], update.scale) if name + A in factors else weight
        for name, weight in base.items()
    }
    asyncio.run(learner.export(tmp_path / "adapter", plain=False))
    asyncio.run(learner.export(tmp_path / "plain"))
    assert_bitwise({name: w for name, w in load_file(tmp_path / "plain" / "model.safetensors").items()}, pushed)
    found = dict(merged(tmp_path / "adapter").named_parameters())
    for name, weight in pushed.items():
        torch.testing.assert_close(found[name].detach(), weight, rtol=1e-6, atol=1e-7)
    begin_again(learner, lora=RANK.model_copy(update={"push": "merged"}))
    for groups in STEPS[:2]:
        step(learner, groups)
    assert_bitwise(read(publish(learner)), pushed)
