"""An architecture's numbers as the keys of a GGUF file's header, both ways.

Architecture -> keys_of -> {"block_count": 30, ...} (each behind the architecture's name) -> architecture_from
             -> the same Architecture

A key that is not read here is refused: it may change what the model computes. Source: the keys of llama.cpp's
loader (llama-arch.cpp, llama-model.cpp).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srm_ray.errors import UserError
from srm_ray.gguf.architecture import GEMMA_LOCAL_BASE, GEMMA_PATTERN, NAMES, Architecture

Value = int | float | str

# The keys that every architecture has, and the field of `Architecture` that each is.
ALWAYS = {
    "block_count": "layers",
    "context_length": "context",
    "embedding_length": "d_model",
    "feed_forward_length": "ffn",
    "attention.head_count": "q_heads",
    "attention.head_count_kv": "kv_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "norm_eps",
    "rope.freq_base": "rope_base",
    "vocab_size": "vocabulary",
}
ROTARY = "rope.dimension_count"
SCALING, FACTOR = "rope.scaling.type", "rope.scaling.factor"
ORIGINAL_CONTEXT, ATTENTION_FACTOR = "rope.scaling.original_context_length", "rope.scaling.attn_factor"
WINDOW, PATTERN, LOCAL_BASE = "attention.sliding_window", "attention.sliding_window_pattern", "rope.freq_base_swa"
FINAL_CAP = "final_logit_softcapping"
UNREAD = {"rope.scaling.finetuned", "tensor_data_layout"}  # what they say changes no number
GEMMA_27B = 62  # layers of the one Gemma 3 whose attention llama.cpp scales by another number than the head's width


def keys_of(model: Architecture) -> dict[str, Value]:
    """What a header says of a model."""
    found: dict[str, Value] = {key: getattr(model, field) for key, field in ALWAYS.items()}
    if model.name == "llama" or model.rotary != model.head_dim:
        found[ROTARY] = model.rotary
    if model.rope_scale != 1:
        found |= {SCALING: "linear", FACTOR: model.rope_scale}
    if model.window or model.name == "phi3":
        found[WINDOW] = model.window
    if model.name == "phi3":
        found[ORIGINAL_CONTEXT] = model.original_context or model.context
    if model.long_factors:
        found[ATTENTION_FACTOR] = model.attention_factor
    if model.final_cap:
        found[FINAL_CAP] = model.final_cap
    return found


@dataclass(frozen=True, slots=True)
class Tables:
    """What a file says of its tensors. shapes: by llama.cpp's names, rows first. factors: the values of those that
    hold what frequencies are divided by (`rope_freqs` and LongRoPE's), by their names."""

    shapes: Mapping[str, tuple[int, ...]]
    factors: Mapping[str, tuple[float, ...]]


def architecture_from(keys: Mapping[str, Any], tables: Tables) -> Architecture:
    """The architecture of a file. keys: of its header, by their whole names. Raises `UserError` for one not read."""
    name = str(keys.get("general.architecture", ""))
    if name not in NAMES.values():
        raise UserError(f"its architecture is {name!r}; {', '.join(dict.fromkeys(NAMES.values()))} are imported")
    given = Given({key.removeprefix(f"{name}."): value for key, value in keys.items() if key.startswith(f"{name}.")})
    rows = tables.shapes.get("token_embd.weight", (0, 0))[0]
    heads, width = given.count("attention.head_count"), given.count("embedding_length")
    head_dim = given.count("attention.key_length", width // heads)
    factors, scale = tables.factors, _scale(given, name)
    model = Architecture(
        name=name,
        layers=given.count("block_count"),
        d_model=width,
        ffn=given.count("feed_forward_length"),
        q_heads=heads,
        kv_heads=given.count("attention.head_count_kv", heads),
        head_dim=head_dim,
        vocabulary=given.count("vocab_size", rows),
        context=given.count("context_length"),
        rope_base=given.number("rope.freq_base", 10_000.0),
        norm_eps=given.number("attention.layer_norm_rms_epsilon"),
        tied="output.weight" not in tables.shapes,
        rotary=given.count(ROTARY, head_dim),
        rope_scale=scale,
        rope_factors=factors.get("rope_freqs.weight", ()),
        long_factors=factors.get("rope_factors_long.weight", ()),
        short_factors=factors.get("rope_factors_short.weight", ()),
        window=given.count(WINDOW, 0, least=0),
        final_cap=given.number(FINAL_CAP, 0.0),
        **_long_rope(given, "rope_factors_long.weight" in factors),
    )
    _refuse(model, given)
    return model


class Given:
    """The keys of one architecture, each asked for once: what nobody asked for is refused."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.asked: set[str] = set(UNREAD)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        found = self.values.get(key, default)
        if found is None:
            raise UserError(f"its header has no {key}")
        return found

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int) or found < least:
            raise UserError(f"{key} is {str(found)[:40]}, a whole number from {least} is expected")
        return found

    def number(self, key: str, default: float | None = None) -> float:
        """As it was before it became a number of single precision: 1e-05, not 9.99999974737875e-06."""
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < float("inf"):
            raise UserError(f"{key} is {str(found)[:40]}, a number is expected")
        return shortest(found)


def shortest(value: float) -> float:
    """The shortest decimal that is the same number in single precision."""
    import numpy as np

    return float(np.format_float_scientific(np.float32(value), unique=True))


def _scale(given: Given, name: str) -> float:
    kind = given.get(SCALING, "none")
    if kind == "linear":
        return given.number(FACTOR)
    if kind not in ("none", "longrope") or (kind == "longrope" and name != "phi3"):
        raise UserError(f"a rotary embedding scaled by {kind!r} is not imported")
    factor = given.number(FACTOR, 1.0)
    if factor != 1 and kind == "none":
        raise UserError(f"{FACTOR} is {factor:g}, and no {SCALING} says how it is used")
    return 1.0


def _long_rope(given: Given, has_factors: bool) -> dict[str, Any]:
    original, factor = given.count(ORIGINAL_CONTEXT, 0, least=0), given.number(ATTENTION_FACTOR, 1.0)
    return {"original_context": original, "attention_factor": factor} if has_factors else {}


def _refuse(model: Architecture, given: Given) -> None:
    """What Hugging Face's class of that architecture does otherwise, or not at all."""
    base = given.number(LOCAL_BASE, GEMMA_LOCAL_BASE)
    pattern = given.get(PATTERN, GEMMA_PATTERN)
    gemma = model.name == "gemma3"
    unusual = {
        f"values of another width ({given.get('attention.value_length', model.head_dim)}) than keys": (
            given.get("attention.value_length", model.head_dim) != model.head_dim
        ),
        f"rotating {model.rotary} of a head's {model.head_dim} numbers": (
            model.rotary > model.head_dim or (model.rotary != model.head_dim and model.name != "phi3")
        ),
        "a sliding attention window": bool(model.window) and model.name not in ("gemma3", "phi3"),
        "no attention window": gemma and not model.window,
        "another pattern of layers than five with a window and one without": gemma and pattern != GEMMA_PATTERN,
        f"a rotary base of {base:g} within the window": gemma and base != GEMMA_LOCAL_BASE,
        f"{model.layers} layers": gemma and model.layers == GEMMA_27B,
        "frequencies that are divided": bool(model.rope_factors) and model.name != "llama",
        "LongRoPE": bool(model.long_factors) and model.name != "phi3",
    }
    for what, is_so in unusual.items():
        if is_so:
            raise UserError(f"{model.name} with {what} is not imported")
    if unread := sorted(set(given.values) - given.asked):
        raise UserError(
            f"{model.name}.{unread[0]} is {str(given.values[unread[0]])[:40]}, and what it changes is not known here"
        )
