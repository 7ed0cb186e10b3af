"""LoRA: what is trained, and merging."""

from pathlib import Path

import pytest
import torch

from srm_ray.config.command_line import parse
from srm_ray.config.stages import SftConfig
from srm_ray.data import arithmetic
from srm_ray.errors import UserError
from srm_ray.model import adapters, lora, tokenization
from srm_ray.model.folder import save_model
from srm_ray.model.shapes import build, shape


def tiny_reason_adapter() -> lora.Adapter:
    options = parse(SftConfig, ["--config", "sft/tiny-reason"], stage="sft").lora
    assert options.quantise == "nf4"
    adapter = lora.Adapter.of(options)
    assert adapter is not None
    return adapter


def test_tiny_reason_trains_18_464_768_parameters() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    # Qwen2.5-1.5B's shape.
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = lora.with_adapter(Qwen2ForCausalLM(config), tiny_reason_adapter())
    assert lora.trainable(model) == 18_464_768  # the model's page says 1.3 M


def test_merged_weights_give_the_adapters_logits(tmp_path: Path) -> None:
    core = tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)
    base = tmp_path / "base"
    tokenization.save(tokenization.wrap(core), base)
    model = build(shape("tiny", vocab_size=384), seed=1)
    save_model(model, dict(model.named_parameters()), base, tokenizer_from=base, lineage={"stage": "init"})
    adapted = lora.load_policy(str(base), lora.Adapter(4, 8, 0.0, ("q_proj", "down_proj")))
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.1)
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    save_model(adapted, trained, tmp_path / "adapter", tokenizer_from=base, lineage={"stage": "sft"})
    assert adapters.is_adapter(tmp_path / "adapter")
    merged_folder = adapters.merge(tmp_path / "adapter", tmp_path / "merged")
    tokens = torch.arange(8, 72)[None]
    with torch.no_grad():
        wanted = adapted.eval()(tokens).logits
        plain = model(tokens).logits
        got = lora.load_policy(str(merged_folder)).eval()(tokens).logits
    assert (wanted - plain).abs().max() > 0.05, "the adapter does something"
    assert (got - wanted).abs().max() < 1e-2
    assert not adapters.is_adapter(merged_folder)


def test_targets_that_do_not_fit_are_named() -> None:
    with torch.device("meta"), pytest.raises(UserError, match="nowhere"):
        lora.with_adapter(build(shape("tiny"), seed=0, device="meta"), lora.Adapter(4, 8, 0.0, ("nowhere",)))


def test_nf4_says_what_is_missing() -> None:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="needs bitsandbytes"):
            lora.nf4_config("float32")
    else:
        assert lora.nf4_config("float32").load_in_4bit
