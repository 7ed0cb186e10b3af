"""A GGUF header made a config, and a config a header: each the other's inverse."""

from dataclasses import replace

import numpy as np
import pytest

from srm_ray.errors import UserError
from srm_ray.gguf.architecture import Architecture, architecture_of
from srm_ray.gguf.configuration import config_of
from srm_ray.gguf.metadata import Tables, architecture_from, keys_of, shortest


def tables(model: Architecture) -> Tables:
    """What a file of that model has in its tensors, in single precision."""
    shapes = {one.name: one.shape for one in model.tensors()}
    factors = {one.name: tuple(shortest(value) for value in one.values) for one in model.tensors() if one.values}
    return Tables(shapes, factors)


PLAIN = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 6, "num_attention_heads": 32}
PLAIN |= {"vocab_size": 512, "max_position_embeddings": 131_072, "num_key_value_heads": 8, "rms_norm_eps": 1e-5}
SCALING = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500_000.0}
SCALING |= {"original_max_position_embeddings": 8192}
LONG = {"rope_type": "longrope", "long_factor": [1.25 + n for n in range(24)], "short_factor": [1.0] * 24}
GEMMA = {"architectures": ["Gemma3ForCausalLM"], "head_dim": 256, "rope_theta": 1e6, "sliding_window": 512}
PUBLISHED = {
    "Llama 3.1": {"architectures": ["LlamaForCausalLM"], "rope_parameters": SCALING | {"factor": 8.0}},
    "Llama 3.2": {"architectures": ["LlamaForCausalLM"], "rope_parameters": SCALING | {"factor": 32.0}},
    "linear": {"architectures": ["LlamaForCausalLM"], "rope_scaling": {"type": "linear", "factor": 2.0}},
    "Gemma 3 4B": GEMMA | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "final_logit_softcapping": 30.0},
    "Phi-4-mini": {
        "architectures": ["Phi3ForCausalLM"], "partial_rotary_factor": 0.75, "rope_scaling": LONG,
        "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
    },
    "Qwen2.5": {"architectures": ["Qwen2ForCausalLM"], "rope_theta": 1e6, "tie_word_embeddings": True},
    "Qwen3": {"architectures": ["Qwen3ForCausalLM"], "rope_theta": 1e6, "head_dim": 128, "rms_norm_eps": 1e-6},
    "OLMo 2": {"architectures": ["Olmo2ForCausalLM"], "rope_theta": 5e5, "rms_norm_eps": 1e-6},
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_config_and_header_are_each_others_inverse(name: str) -> None:
    model = architecture_of(PLAIN | PUBLISHED[name])
    keys = {"general.architecture": model.name} | {
        f"{model.name}.{key}": value for key, value in keys_of(model).items()
    }
    single = {key: float(np.float32(value)) if isinstance(value, float) else value for key, value in keys.items()}
    read = architecture_from(single, tables(model))
    inverse = architecture_of(config_of(read))
    for one, other in ((read, model), (inverse, read)):
        numbers = [np.array(getattr(one, field), np.float32) for field in LONG_FIELDS]
        wanted = [np.array(getattr(other, field), np.float32) for field in LONG_FIELDS]
        for found, expected in zip(numbers, wanted, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        blank = dict.fromkeys(LONG_FIELDS[:3], ()) | {"attention_factor": 1.0}
        assert replace(one, **blank) == replace(other, **blank)


LONG_FIELDS = ("rope_factors", "long_factors", "short_factors", "attention_factor")


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama_3s_scaling_is_found_from_its_frequencies(factor: float) -> None:
    model = architecture_of(
        PLAIN | {"architectures": ["LlamaForCausalLM"], "rope_parameters": SCALING | {"factor": factor}}
    )
    single = tuple(shortest(value) for value in model.rope_factors)
    assert config_of(replace(model, rope_factors=single))["rope_parameters"] == SCALING | {"factor": factor}


def test_frequencies_that_are_not_llama_3s_are_refused() -> None:
    model = architecture_of(PLAIN | PUBLISHED["Llama 3.1"])
    odd = tuple(1.0 + place % 7 for place in range(len(model.rope_factors)))
    with pytest.raises(UserError, match="not Llama 3's"):
        config_of(replace(model, rope_factors=odd))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intermediate_size": ...}, "x: config.json has no intermediate_size"),
        ({"num_attention_heads": 0}, "x: config.json holds no sizes of a model"),
        ({"hidden_size": "64"}, "x: config.json holds no sizes of a model"),
        ({"rope_parameters": [1]}, "x: config.json holds no sizes of a model"),
    ],
)
def test_a_config_that_tells_no_model_is_one_line(change: dict, message: str) -> None:
    whole = {key: value for key, value in (PLAIN | PUBLISHED["Qwen2.5"] | change).items() if value is not ...}
    with pytest.raises(UserError, match=message):
        architecture_of(whole, where="x")
