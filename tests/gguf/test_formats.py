"""Formats and sizes, from shapes alone."""

import json
from pathlib import Path

import pytest

from srm_ray.config.command_line import parse
from srm_ray.config.export import ExportConfig
from srm_ray.config.formats import FORMATS
from srm_ray.errors import UserError
from srm_ray.gguf.architecture import Architecture, architecture_of, read_architecture
from srm_ray.gguf.formats import tensor_type, weight_bytes
from srm_ray.model.shapes import PRESETS, parameters, qwen3_config


def architecture(size: str) -> Architecture:
    return architecture_of({**qwen3_config(PRESETS[size]).to_dict(), "architectures": ["Qwen3ForCausalLM"]})


@pytest.mark.parametrize("size", sorted(PRESETS))
def test_every_parameter_has_its_tensor(size: str) -> None:
    assert architecture(size).parameters == parameters(PRESETS[size])


@pytest.mark.parametrize(
    ("form", "megabytes", "within"),
    [("bf16", 2000, 0.05), ("q8_0", 1000, 0.02), ("q4_k_m", 700, 0.12), ("q4_0", 550, 0.03)],
)
def test_sizes_of_the_1b(form: str, megabytes: float, within: float) -> None:
    size = weight_bytes(architecture("1b"), FORMATS[form]) / 1e6
    assert size == pytest.approx(megabytes, rel=within)


def test_norms_and_biases_are_never_quantised() -> None:
    model = architecture("tiny")
    for form in FORMATS.values():
        for tensor in model.tensors():
            assert (tensor_type(tensor, form, model) == "F32") == (len(tensor.shape) == 1 or form.name == "f32")


def test_rows_that_are_no_whole_number_of_blocks() -> None:
    odd = architecture_of({**qwen3_config(PRESETS["tiny"]).to_dict(), "intermediate_size": 650})
    down = next(tensor for tensor in odd.tensors() if "ffn_down" in tensor.name)
    assert tensor_type(down, FORMATS["q4_0"], odd) == "F16"
    assert tensor_type(down, FORMATS["q8_0"], odd) == "F16"
    assert tensor_type(down, FORMATS["q4_k_m"], odd) == "F16"
    tiny = architecture("tiny")  # 640 = 2.5 x 256
    down = next(tensor for tensor in tiny.tensors() if tensor.name == "blk.1.ffn_down.weight")
    assert tensor_type(down, FORMATS["q4_k_m"], tiny) == "Q5_0"


@pytest.mark.parametrize(
    ("given", "formats"),
    [("Q8_0,q4_0,q8_0", ["q8_0", "q4_0"]), ("all", list(FORMATS)), ("none", []), ("[f16, bf16]", ["f16", "bf16"])],
)
def test_formats_on_the_command_line(given: str, formats: list[str]) -> None:
    assert parse(ExportConfig, ["--format", given], stage="export").format == formats


def test_unknown_formats_name_those_there_are() -> None:
    with pytest.raises(UserError, match=r"--format: the formats are f32, f16, bf16, q8_0, q4_0, q4_k_m.*'q9'"):
        parse(ExportConfig, ["--format", "q8_0,q9"], stage="export")
    with pytest.raises(UserError, match="none is named"):
        parse(ExportConfig, ["--format", ","], stage="export")


GEMMA = {"architectures": ["Gemma3ForCausalLM"], "hidden_activation": "gelu_pytorch_tanh", "head_dim": 128}
GEMMA |= {"query_pre_attn_scalar": 128, "rope_parameters": None, "layer_types": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text"}, "Llama4ForCausalLM is not exported"),
        ({"architectures": ["Olmo2ForCausalLM"], "head_dim": 64}, "a head of another width"),
        ({"architectures": ["LlamaForCausalLM"], "mlp_bias": True}, "biases in the feed-forward"),
        ({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 64}, "sliding"),
        ({**GEMMA, "layer_types": ["sliding_attention", "full_attention"] * 2}, "another pattern of layers"),
        ({**GEMMA, "query_pre_attn_scalar": 168}, "attention scaled by another number"),
        ({**GEMMA, "rope_local_base_freq": 20_000.0}, "a rotary base of 20000 within the window"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rotary embedding of type 'yarn'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "of type 'linear'"),
        ({"use_sliding_window": True}, "sliding"),
        ({"attention_bias": True}, "biases in attention"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(change: dict, message: str) -> None:
    plain = qwen3_config(PRESETS["tiny"]).to_dict()
    with pytest.raises(UserError, match=message):
        architecture_of({**plain, "architectures": ["Qwen3ForCausalLM"], **change})


def test_rotary_embeddings_in_the_spellings_of_transformers_4() -> None:
    """Llama 3.2's, Gemma 3's and Phi-4-mini's published configs, cut down."""
    plain = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4}
    plain |= {"vocab_size": 512, "max_position_embeddings": 131_072, "num_key_value_heads": 2}
    scaling = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "rope_type": "llama3"}
    scaling["original_max_position_embeddings"] = 8192
    llama = {"architectures": ["LlamaForCausalLM"], "rope_theta": 500_000.0, "rope_scaling": scaling}
    found = architecture_of(plain | llama)
    assert len(found.rope_factors) == 32 and found.rope_factors[0] == pytest.approx(1)
    assert found.rope_factors[-1] == pytest.approx(32), "slow frequencies are divided by the whole factor"
    assert list(found.rope_factors) == pytest.approx(sorted(found.rope_factors), rel=1e-5)
    gemma = {"rope_theta": 1e6, "rope_local_base_freq": 10_000.0, "sliding_window": 512, "model_type": "gemma3_text"}
    found = architecture_of(plain | {**GEMMA, **gemma, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})
    assert (found.rope_base, found.rope_scale, found.window, found.tied) == (1e6, 8.0, 512, True)
    rope = {"type": "longrope", "long_factor": [2.0] * 24, "short_factor": [1.0] * 24}
    phi = {"architectures": ["Phi3ForCausalLM"], "partial_rotary_factor": 0.75, "rope_scaling": rope}
    found = architecture_of(plain | phi | {"original_max_position_embeddings": 4096, "sliding_window": 262_144})
    assert (found.rotary, len(found.long_factors), found.original_context) == (48, 24, 4096)
    assert found.attention_factor == pytest.approx(1.190238, rel=1e-6)
    assert architecture_of(plain | phi | {"sliding_window": 2047}).context == 2047, "llama.cpp has no window for Phi-3"


def test_configs_of_transformers_4(tmp_path: Path) -> None:
    """Published Qwen2.5 checkpoints: `rope_theta` at the top, no `head_dim`."""
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 1536,
        "intermediate_size": 8960, "max_position_embeddings": 32768, "num_attention_heads": 12,
        "num_hidden_layers": 28, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "sliding_window": 32768, "tie_word_embeddings": True, "use_sliding_window": False, "vocab_size": 151936,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = read_architecture(tmp_path)
    assert (model.name, model.rope_base, model.head_dim, model.tied) == ("qwen2", 1e6, 128, True)
    assert model.parameters == 1_543_714_304  # Qwen2.5-1.5B


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        read_architecture(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_architecture(tmp_path)
