"""A policy with an adapter: what is trained, what is pushed, what it is held against."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from actors.learner.rank import Learner
from actors.learner.spec import LearnerSpec, Update
from actors.learner.sums import Sums
from srm_ray.config.algorithm import LossConfig
from srm_ray.config.grpo import LearnerConfig
from srm_ray.config.lora import PolicyLora
from srm_ray.errors import UserError
from srm_ray.model import lora
from srm_ray.model.policy import PolicyModel
from srm_ray.rl.batching import micro_batches
from srm_ray.training.schedule import decay_groups
from srm_ray.weights.flat import SharedFile, lay_out, views, write
from srm_ray.weights.lora import MergedBuffers
from tests.rl.random_groups import tiny_qwen3, uneven_groups

pytestmark = pytest.mark.usefixtures("norms_in_fp64")

ADAPTER = lora.Adapter(4, 8, 0.0, ("all-linear",))
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def adapted(seed: int = 0, *, spread: float = 0.05, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """A tiny model whose adapter has been trained, as it were."""
    torch.manual_seed(seed)
    model = lora.with_adapter(tiny_qwen3().to(dtype), ADAPTER)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, spread)
    return model.to(dtype)


def logits(model: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        return model(torch.arange(3, 40)[None]).logits


def with_weights(named: dict[str, Tensor]) -> torch.nn.Module:
    model = tiny_qwen3().double()
    model.load_state_dict({name: weight.double() for name, weight in named.items()}, strict=False)
    assert set(named) == {name for name, _ in model.named_parameters()}
    return model


# What is trained


def test_every_linear_layer_but_the_head_is_adapted_by_default_and_nothing_else_is_trained() -> None:
    model = adapted()
    assert {path.rpartition(".")[2] for path, _ in lora.adapted_layers(model)} == LINEAR
    assert all(".lora_" in name for name, weight in model.named_parameters() if weight.requires_grad)
    groups = decay_groups(model, 0.1)
    assert sum(weight.numel() for group in groups for weight in group["params"]) == lora.trainable(model)
    assert all(group["params"] for group in groups), "DeepSpeed takes no empty group"


def test_what_is_no_layer_is_named_with_those_that_there_are() -> None:
    wrong = lora.Adapter(4, 8, 0.0, ("q_proj", "c_attn"))
    with pytest.raises(UserError, match=r"c_attn is no layer .* its linear layers are down_proj, gate_proj"):
        lora.with_adapter(tiny_qwen3(), wrong)


def test_a_layer_that_shares_its_weight_is_refused() -> None:
    model = tiny_qwen3()
    model.lm_head.weight = model.model.embed_tokens.weight
    with pytest.raises(UserError, match="lm_head shares its weight"):
        lora.adapted_layers(lora.with_adapter(model, lora.Adapter(4, 8, 0.0, ("lm_head",))))


def test_an_adapter_that_is_nothing_yet_changes_nothing() -> None:
    model = lora.with_adapter(tiny_qwen3().double(), ADAPTER)
    torch.testing.assert_close(logits(model), logits(tiny_qwen3().double()), rtol=0, atol=0)
    named = dict(lora.Merged(model))
    for name, weight in tiny_qwen3().double().named_parameters():
        torch.testing.assert_close(named[name], weight.detach(), rtol=0, atol=0)


# What is pushed


def test_merged_weights_compute_what_the_adapter_computes() -> None:
    model = adapted()
    plain = with_weights(dict(lora.Merged(model)))
    assert (logits(model) - logits(tiny_qwen3().double())).abs().max() > 1e-2, "the adapter does something"
    torch.testing.assert_close(logits(plain), logits(model), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_base_and_adapter_apart_merge_to_the_bits_of_a_merged_push(dtype: str) -> None:
    model = adapted(dtype=torch.float32)

    def buffer(parameters: object, stored: str) -> tuple[SharedFile, tuple]:
        specs, size = lay_out(parameters, stored)
        file = SharedFile("test", size)
        write(file.buffer, specs, parameters)
        return file, specs

    merged, specs = buffer(lora.Merged(model, dtype), dtype)
    base, base_specs = buffer(lora.Merged(model, base=True), dtype)
    adapter, adapter_specs = buffer(lora.factors(model), "float32")
    assert base_specs == specs
    assert sum(spec.nbytes for spec in adapter_specs) == 4 * lora.trainable(model)
    apart = MergedBuffers(base.buffer, adapter.buffer, adapter_specs, ADAPTER.scale)
    changed = 0
    for spec, (name, wanted) in zip(specs, views(merged.buffer, specs), strict=True):
        assert torch.equal(apart.one(spec).to(getattr(torch, dtype)), wanted), name
        changed += apart.changes(spec)
    assert changed == len(lora.adapted_layers(model))
    for file in (merged, base, adapter):
        file.close()


def test_of_weights_in_four_bits_what_they_stand_for_is_pushed(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="BITSANDBYTES MISSING: pip install 'srm-ray[qlora]'")
    tiny_qwen3().save_pretrained(tmp_path)
    model = lora.load_policy(str(tmp_path), lora.Adapter(4, 8, 0.0, ("all-linear",), nf4=True))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.05)
    named = dict(lora.Merged(model))
    original = dict(tiny_qwen3().named_parameters())
    assert {name: weight.shape for name, weight in named.items()} == {n: w.shape for n, w in original.items()}
    plain = with_weights(named).float()
    torch.testing.assert_close(logits(plain), logits(model.eval()), rtol=1e-4, atol=1e-4)


# What it is held against


def learner(module: PolicyModel, options: LossConfig) -> Learner:
    made = Learner(0, 1, LearnerSpec("", LearnerConfig(lora=PolicyLora(rank=4)), options, 1.0, seed=0, threads=1))
    module.device = torch.device("cpu")
    made.engine, made.reference = module, None
    return made


def packed(budget: int = 100_000) -> list:
    return [batch for part in micro_batches(uneven_groups(), budget=budget, ranks=1) for batch in part]


def test_the_reference_is_the_base_to_the_last_bit_and_the_adapter_keeps_its_gradient() -> None:
    model = adapted()
    rank = learner(PolicyModel(model), LossConfig(kl_beta=0.1))
    base = learner(PolicyModel(tiny_qwen3().double()), LossConfig())
    (batch,) = packed()
    with torch.no_grad():
        wanted, _ = base._forward(base.engine, batch)
        own, _ = rank._forward(rank.engine, batch)
    assert torch.equal(rank._reference_logprobs(batch), wanted)
    assert (own - wanted).abs().max() > 1e-2
    sums = Sums()
    rank._micro_loss(batch, Update(10.0), sums).backward()
    assert float(sums.values["kl"]) > 0
    for name, weight in model.named_parameters():
        assert weight.requires_grad == (".lora_" in name)
        assert (weight.grad is not None) == weight.requires_grad, name


@pytest.mark.parametrize("kl_beta", [0.0, 0.1])
def test_gradients_of_the_adapter_do_not_depend_on_the_cut_into_micro_batches(kl_beta: float) -> None:
    def gradients(budget: int) -> dict[str, Tensor]:
        model = adapted()
        rank = learner(PolicyModel(model), LossConfig(kl_beta=kl_beta))
        for batch in packed(budget):
            rank._micro_loss(batch, Update(50.0), Sums()).backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    whole = gradients(100_000)
    assert whole and all(gradient.abs().max() > 0 for gradient in whole.values())
    for budget in (1, 70, 200):
        for name, gradient in gradients(budget).items():
            torch.testing.assert_close(gradient, whole[name], rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_the_merged_weights_through_their_factors() -> None:
    """dL/dB = s dL/dW' A^T and dL/dA = s B^T dL/dW', W' = W + s B A."""
    model = adapted()
    batch = packed()[0]
    learner(PolicyModel(model), LossConfig())._micro_loss(batch, Update(50.0), Sums()).backward()
    full = with_weights(dict(lora.Merged(model)))
    learner(PolicyModel(full), LossConfig())._micro_loss(batch, Update(50.0), Sums()).backward()
    whole = dict(full.named_parameters())
    for path, layer in lora.adapted_layers(model):
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        of_weight = whole[f"{path}.weight"].grad
        torch.testing.assert_close(b.grad, ADAPTER.scale * of_weight @ a.detach().T, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(a.grad, ADAPTER.scale * b.detach().T @ of_weight, rtol=1e-10, atol=1e-12)
