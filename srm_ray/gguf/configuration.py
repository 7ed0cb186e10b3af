"""The `config.json` of an architecture: the inverse of `architecture.architecture_of`.

Architecture -> config_of -> plain values of transformers 5 -> architecture_of -> the same Architecture
"""

import math
from collections.abc import Sequence
from typing import Any

from srm_ray.errors import UserError
from srm_ray.gguf.architecture import GEMMA_LOCAL_BASE, GEMMA_PATTERN, NAMES, Architecture, llama3_factors

FIT = 1e-4  # relative: how near Llama 3's frequencies must come to those of the file, which are of single precision


def config_of(model: Architecture) -> dict[str, Any]:
    """Without token ids and dtype. Raises `UserError` where transformers' class cannot be configured to do the same."""
    classes = {architecture: name for name, architecture in reversed(NAMES.items())}
    found: dict[str, Any] = {
        "architectures": [classes[model.name]],
        "model_type": "gemma3_text" if model.name == "gemma3" else model.name,
        "hidden_size": model.d_model,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.q_heads,
        "num_key_value_heads": model.kv_heads,
        "vocab_size": model.vocabulary,
        "max_position_embeddings": model.context,
        "rms_norm_eps": model.norm_eps,
        "tie_word_embeddings": model.tied,
        "rope_parameters": rope_of(model),
    }
    if model.name in ("llama", "qwen3", "gemma3") or model.head_dim * model.q_heads != model.d_model:
        found["head_dim"] = model.head_dim
    if model.name == "gemma3":
        found |= gemma_traits(model)
    if model.name == "phi3":
        found |= {
            "sliding_window": model.window or None,
            "original_max_position_embeddings": model.original_context or model.context,
            "partial_rotary_factor": share(model),
        }
    return found


def gemma_traits(model: Architecture) -> dict[str, Any]:
    return {
        "sliding_window": model.window,
        "layer_types": [
            "full_attention" if place % GEMMA_PATTERN == GEMMA_PATTERN - 1 else "sliding_attention"
            for place in range(model.layers)
        ],
        "query_pre_attn_scalar": model.head_dim,
        "final_logit_softcapping": model.final_cap or None,
        "hidden_activation": "gelu_pytorch_tanh",
    }


def share(model: Architecture) -> float:
    """Of a head, what is rotated: as a factor that gives the same number again."""
    return model.rotary / model.head_dim


def rope_of(model: Architecture) -> dict[str, Any]:
    plain: dict[str, Any] = {"rope_type": "default", "rope_theta": model.rope_base}
    rope = dict(plain)
    if model.rope_scale != 1:
        rope |= {"rope_type": "linear", "factor": model.rope_scale}
    if model.rope_factors:
        rope |= llama3_of(model.rope_factors, model.rope_base, model.head_dim)
    if model.long_factors:
        rope |= {
            "rope_type": "longrope",
            "long_factor": list(model.long_factors),
            "short_factor": list(model.short_factors),
            "original_max_position_embeddings": model.original_context,
            "attention_factor": model.attention_factor,
        }
    if model.rotary != model.head_dim:
        rope["partial_rotary_factor"] = share(model)
    if model.name == "gemma3":
        return {"full_attention": rope, "sliding_attention": {**plain, "rope_theta": GEMMA_LOCAL_BASE}}
    return rope


def llama3_of(factors: Sequence[float], base: float, head_dim: int) -> dict[str, Any]:
    """Llama 3's scaling whose frequencies are divided by `factors`.

    Between its two wavelengths, 1 / factors is a straight line over the frequencies:
    1 / f = 1 / F + (1 - 1 / F) (original w / 2 pi - low) / (high - low). Original context, low and high are known up
    to a common factor, so low is 1, as in every published model; so is high 4, where that fits. Raises `UserError`
    where no such line does.
    """
    import numpy as np

    whole = max(factors)
    nowhere = UserError("its frequencies are divided by numbers that are not Llama 3's: that scaling is not imported")
    if len(factors) != head_dim // 2 or whole <= 1:
        raise nowhere
    frequencies = np.array([base ** (-2 * place / head_dim) for place in range(head_dim // 2)]) / (2 * math.pi)
    ramp = (1 / np.array(factors) - 1 / whole) / (1 - 1 / whole)
    between = (ramp > 1e-4) & (ramp < 1 - 1e-4)
    if not between.any():
        raise nowhere
    lines = [(4.0, float(np.median((3 * ramp[between] + 1) / frequencies[between])))]
    if between.sum() > 1:
        slope, start = np.polyfit(frequencies[between], ramp[between], 1)
        lines.append((1 - 1 / start, -slope / start))
    for high, original in lines:
        scaling = {
            "rope_type": "llama3",
            "factor": rounded(whole),
            "low_freq_factor": 1.0,
            "high_freq_factor": rounded(high),
            "original_max_position_embeddings": round(original),
        }
        if np.allclose(llama3_factors({**scaling, "rope_theta": base}, head_dim), factors, rtol=FIT, atol=0):
            return scaling
    raise nowhere


def rounded(value: float) -> float:
    return float(f"{value:.5g}")
