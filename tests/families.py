"""A tiny model of each family, with random weights and each family's own traits.

MobileLLM-R1's (`facebook/MobileLLM-R1-140M-base`) is Llama 4's text model, dense (no experts in any layer), with rotary
embeddings in every layer, queries and keys normalised without gains, and tied embeddings: `MOBILELLM_R1_140M` has the
published sizes.
"""

from collections.abc import Callable
from typing import Any

import torch

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# What `facebook/MobileLLM-R1-140M-base` publishes of its shape, in the spelling of the transformers of its day:
# 140,248,512 parameters. `no_rope_layers` says 1 where a layer has rotary embeddings; `intermediate_size`, of experts
# that it has none of, stands there too.
MOBILELLM_R1_140M: dict[str, Any] = {
    "architectures": ["Llama4ForCausalLM"],
    "model_type": "llama4_text",
    "vocab_size": 128_256,
    "hidden_size": 576,
    "num_hidden_layers": 15,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 2048,
    "max_position_embeddings": 32_768,
    "rope_theta": 8_000_000.0,
    "rope_scaling": None,
    "rms_norm_eps": 1e-05,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "use_qk_norm": True,
    "attn_scale": 0.1,
    "no_rope_layers": [1] * 15,
    "moe_layers": [],
}
WINDOW = 8  # of sliding attention: shorter than most sequences


def llama(**sizes: Any) -> Any:
    """SmolLM2's: plain, tied."""
    from transformers import LlamaConfig

    return LlamaConfig(**{**SIZES, "rope_parameters": ROPE, "tie_word_embeddings": True, **sizes})


def llama3(**sizes: Any) -> Any:
    """Llama 3.2's: rotary embeddings scaled, a head of its own."""
    return llama(**{"rope_parameters": LLAMA3, "tie_word_embeddings": False, "rms_norm_eps": 1e-5, **sizes})


def qwen2(**sizes: Any) -> Any:
    """Biases on queries, keys and values."""
    from transformers import Qwen2Config

    return Qwen2Config(**{**SIZES, "rope_parameters": ROPE, "tie_word_embeddings": False, **sizes})


def qwen3(**sizes: Any) -> Any:
    """Queries and keys normalised."""
    from transformers import Qwen3Config

    return Qwen3Config(**{**SIZES, "rope_parameters": ROPE, "tie_word_embeddings": True, **sizes})


def gemma3(**sizes: Any) -> Any:
    """A sliding window in all layers but one, with rotary embeddings of its own; embeddings scaled; four norms."""
    from transformers import Gemma3TextConfig

    own = {
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 24,
        "rope_parameters": {
            "sliding_attention": ROPE,
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        },
    }
    return Gemma3TextConfig(**{**SIZES, **own, **sizes})


def phi3(**sizes: Any) -> Any:
    """Phi-4-mini's: queries, keys and values in one matrix, gate and up in one, a part of each head rotated."""
    from transformers import Phi3Config

    rope = {**ROPE, "partial_rotary_factor": 0.75}
    own = {"rope_parameters": rope, "partial_rotary_factor": 0.75, "sliding_window": None, "tie_word_embeddings": True}
    return Phi3Config(**{**SIZES, "original_max_position_embeddings": 256, **own, **sizes})


def olmo2(**sizes: Any) -> Any:
    """Norms behind attention and feed-forward; queries and keys normalised over all heads."""
    from transformers import Olmo2Config

    return Olmo2Config(**{**SIZES, "rope_parameters": ROPE, "tie_word_embeddings": False, **sizes})


def mobilellm(**sizes: Any) -> Any:
    """MobileLLM-R1's."""
    from transformers import Llama4TextConfig

    own = {
        "intermediate_size_mlp": 96,
        "moe_layers": [],
        "interleave_moe_layer_step": 0,
        "num_local_experts": 0,
        "no_rope_layers": [1, 1],
        "attn_temperature_tuning": False,
        "attention_chunk_size": 8192,
        "use_qk_norm": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": MOBILELLM_R1_140M["rope_theta"]},
        "tie_word_embeddings": True,
    }
    return Llama4TextConfig(**{**SIZES, **own, **sizes})


FAMILIES: dict[str, Callable[..., Any]] = {
    made.__name__: made for made in (llama, llama3, qwen2, qwen3, gemma3, phi3, olmo2, mobilellm)
}


def build(config: Any, *, seed: int = 0, scale: float = 0.25) -> Any:
    """In FP32, sharp enough that log-probabilities differ; norms and biases with values of their own, so that one left
    out or mixed up shows."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config).float()
    generator = torch.Generator().manual_seed(seed)
    centred = config.model_type.startswith("gemma")  # whose gains are 1 + weight
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(scale * noise)
            else:
                weight.copy_(0.2 * noise + (0 if centred or name.endswith("bias") else 1))
    return model.eval()
