"""Packed batches are to a model of each family what its sequences are one by one, and what cannot be packed says so."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from srm_ray.errors import UserError
from srm_ray.model.families import check_served, piece_of, why_not_packed
from srm_ray.model.packed_attention import AttentionLayout, use_packed_attention
from srm_ray.model.policy import PolicyModel
from srm_ray.rl.batching import micro_batches
from srm_ray.rl.types import Group
from srm_ray.training.losses import target_logprobs
from tests import families
from tests.rl.plain_reference import plain_logprobs
from tests.rl.random_groups import VOCABULARY, uneven_groups


def packed_logprobs(policy: PolicyModel, groups: tuple[Group, ...]) -> torch.Tensor:
    [[batch]] = micro_batches(groups, budget=10**6, ranks=1)
    layout = AttentionLayout([torch.tensor(rows) for rows in batch.buckets], torch.tensor(batch.output_T))
    given = [torch.tensor(part) for part in (batch.tokens_T, batch.positions_T)]
    found, _ = policy(*given, layout, torch.tensor(batch.predict_C), torch.tensor(batch.targets_C))
    parts = [found[torch.tensor(batch.sequence_C == place)] for place in range(len(batch.order_S))]
    ordered = sorted(zip(batch.order_S.tolist(), parts, strict=True), key=lambda part: part[0])
    return torch.cat([part for _, part in ordered])


def with_gradient(model: Any, logprobs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The loss, weighted unevenly over tokens, and the gradient of each weight."""
    model.zero_grad()
    weights = torch.linspace(-1, 2, len(logprobs), dtype=logprobs.dtype)
    loss = (weights * logprobs).sum()
    loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return {"loss": loss.detach(), "log-probabilities": logprobs.detach(), **gradients}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Up to the norms and rotary embeddings, which transformers computes in FP32 whatever the weights are."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() < 1e-5 * value.abs().max(), name


VARIANTS = {
    **{name: {} for name in families.FAMILIES},
    "qwen2 in windows": {"use_sliding_window": True, "sliding_window": families.WINDOW, "max_window_layers": 1},
    "phi3 in windows": {"sliding_window": families.WINDOW},
    "mobilellm in pieces": {"attention_chunk_size": families.WINDOW},
}


@pytest.fixture(params=sorted(VARIANTS))
def model(request: pytest.FixtureRequest) -> Any:
    """In FP64."""
    sizes = {"vocab_size": VOCABULARY, **VARIANTS[request.param]}
    return families.build(families.FAMILIES[request.param.split()[0]](**sizes)).double()


def test_packed_groups_are_the_completions_one_by_one(model: Any) -> None:
    groups = uneven_groups()
    wanted = with_gradient(model, torch.cat(plain_logprobs(model, groups)))
    assert wanted["log-probabilities"].std() > 0.5, "the model says something"
    found = with_gradient(model, packed_logprobs(PolicyModel(model), groups))
    assert_same(found, wanted)


def test_packed_rows_are_the_documents_one_by_one(model: Any) -> None:
    """As supervised stages pack: several documents in a row, told apart by their positions."""
    if 0 < piece_of(model.config) < 64:
        pytest.skip("rows are kept within a piece")
    generator = torch.Generator().manual_seed(1)
    documents = [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in (23, 9, 31)]

    def scored(rows: list[list[torch.Tensor]]) -> torch.Tensor:
        found = []
        for row in rows:
            positions = torch.cat([torch.arange(len(document)) for document in row])[None]
            found.append(target_logprobs(model, torch.cat(row)[None], positions, positions > 0))
        return torch.cat(found)

    wanted = with_gradient(model, scored([[document] for document in documents]))
    assert_same(with_gradient(model, scored([documents])), wanted)


def lfm2() -> Any:
    from transformers import Lfm2Config

    return Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"])


def qwen3_5() -> Any:
    from transformers import Qwen3_5TextConfig

    return Qwen3_5TextConfig(num_hidden_layers=2, layer_types=["linear_attention", "full_attention"])


def mamba() -> Any:
    from transformers import MambaConfig

    return MambaConfig(num_hidden_layers=1)


def rwkv() -> Any:
    from transformers import RwkvConfig

    return RwkvConfig(num_hidden_layers=1)


def bloom() -> Any:
    from transformers import BloomConfig

    return BloomConfig(n_layer=1)


def gemma2() -> Any:
    from transformers import Gemma2Config

    return Gemma2Config(num_hidden_layers=1)


def llama4() -> Any:
    return families.mobilellm(no_rope_layers=[1, 0], attn_temperature_tuning=True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lfm2, "lfm2 has layers of the type conv"),
        (qwen3_5, "layers of the type linear_attention"),
        (mamba, "mamba"),
        (rwkv, "rwkv is a recurrent model"),
        (bloom, "bloom computes attention by itself"),
        (gemma2, "caps its attention scores"),
        (llama4, "attn_temperature_tuning"),
    ],
)
def test_what_cannot_be_packed_says_why(make: Any, reason: str) -> None:
    config = make()
    assert reason in why_not_packed(config)
    with pytest.raises(UserError, match=reason):
        use_packed_attention(type("Model", (), {"config": config})())


def test_models_that_are_no_decoder_of_text_are_refused() -> None:
    from transformers import BertConfig, Gemma3Config, T5Config

    with pytest.raises(UserError, match="bert is an encoder"):
        check_served(BertConfig(), "m")
    check_served(BertConfig(is_decoder=True), "m")
    with pytest.raises(UserError, match="t5 is an encoder-decoder"):
        check_served(T5Config(), "m")
    with pytest.raises(UserError, match="its text model is gemma3_text"):
        check_served(Gemma3Config(), "m")


def test_the_published_base_of_the_140m_study_is_served(tmp_path: Path) -> None:
    """Its config in the spelling of its day: read right by today's transformers, and by the rules of this project."""
    from transformers import AutoConfig, AutoModelForCausalLM

    (tmp_path / "config.json").write_text(json.dumps(families.MOBILELLM_R1_140M))
    config = AutoConfig.from_pretrained(tmp_path)
    check_served(config, "m")
    assert why_not_packed(config) == ""
    assert config.rope_parameters["rope_theta"] == 8_000_000.0 and not config.moe_layers
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == 140_248_512
