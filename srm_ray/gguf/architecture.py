"""What llama.cpp wants to know of a model: its tensors by both names, and its numbers.

config.json -> Architecture -> tensors(): Hugging Face name, GGUF name, shape
                            -> the keys of the file's header (written by srm_ray.gguf.writer)

Architectures: `qwen3` (what this project trains), `qwen2` (Qwen2 and Qwen2.5), `llama` (Llama, SmolLM2, Mistral without
a window), `gemma3` (text), `phi3` (Phi-3 and Phi-4-mini), `olmo2`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError
from srm_ray.files.json_file import read_object

# transformers' classes by llama.cpp's names. Dense models alone: those with experts are other classes.
NAMES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Gemma3ForCausalLM": "gemma3",
    "Phi3ForCausalLM": "phi3",
    "Olmo2ForCausalLM": "olmo2",
}
GEMMA_PATTERN = 6  # of its layers, each last one sees everything: llama.cpp knows no other pattern
GEMMA_LOCAL_BASE = 10_000.0  # of the rotary embedding within the window, likewise


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight. name: llama.cpp's, e.g. "blk.0.attn_q.weight". source: Hugging Face's name; "": made here.

    shape: as PyTorch has it, rows first. Example: (2048, 5504).
    heads: of that many heads the halves are interleaved, since llama.cpp rotates neighbours where transformers rotates
    halves; 0: as it is. shift: added to every value. values: those of a tensor that is made here.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    heads: int = 0
    shift: float = 0.0
    values: tuple[float, ...] = ()

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) > 1

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    def stored(self, values: Any) -> Any:
        """What a GGUF file holds of transformers' values; numpy float32, of `shape`."""
        import numpy as np

        if self.heads:
            halves = values.reshape(self.heads, 2, -1, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        return np.ascontiguousarray(values + np.float32(self.shift) if self.shift else values)

    def restored(self, values: Any) -> Any:
        """transformers' values of what a GGUF file holds: the inverse of `stored`. A shift leaves as many bits as
        single precision has beside 1."""
        import numpy as np

        if self.heads:
            neighbours = values.reshape(self.heads, -1, 2, *values.shape[1:])
            values = neighbours.swapaxes(1, 2).reshape(values.shape)
        return np.ascontiguousarray(values - np.float32(self.shift) if self.shift else values)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder's numbers. name: llama.cpp's architecture, e.g. "qwen3". tied: embedding and head are one.

    head_dim: width of one head. Example: 128. rotary: of it, what is rotated. rope_base: example 500000.0.
    norm_eps: example 1e-5. rope_scale: linear scaling of positions; 1: none. rope_factors: what each frequency is
    divided by (Llama 3), () for none. long_factors, short_factors: of LongRoPE (Phi), with the context that the model
    was first trained on and what attention is multiplied by. window: of sliding attention, tokens; 0: none.
    """

    name: str
    layers: int
    d_model: int
    ffn: int
    q_heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    rope_base: float
    norm_eps: float
    tied: bool
    rotary: int
    rope_scale: float = 1.0
    rope_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    short_factors: tuple[float, ...] = ()
    original_context: int = 0
    attention_factor: float = 1.0
    window: int = 0
    final_cap: float = 0.0

    def tensors(self) -> Iterator[Tensor]:
        """Every weight, in the order in which it is written."""
        yield Tensor("token_embd.weight", "model.embed_tokens.weight", (self.vocabulary, self.d_model))
        for name, factors in (
            ("rope_freqs", self.rope_factors),
            ("rope_factors_long", self.long_factors),
            ("rope_factors_short", self.short_factors),
        ):
            if factors:
                yield Tensor(f"{name}.weight", "", (len(factors),), values=factors)
        for layer in range(self.layers):
            for part in self._block():
                yield replace(part, name=f"blk.{layer}.{part.name}", source=f"model.layers.{layer}.{part.source}")
        yield self._norm("output_norm", "model.norm", self.d_model)
        if not self.tied:
            yield Tensor("output.weight", "lm_head.weight", (self.vocabulary, self.d_model))

    def _block(self) -> Iterator[Tensor]:
        yield from self._norms()
        yield from self._attention()
        yield Tensor("attn_output.weight", "self_attn.o_proj.weight", (self.d_model, self.q_heads * self.head_dim))
        if self.name == "phi3":
            yield Tensor("ffn_up.weight", "mlp.gate_up_proj.weight", (2 * self.ffn, self.d_model))
        else:
            yield Tensor("ffn_gate.weight", "mlp.gate_proj.weight", (self.ffn, self.d_model))
            yield Tensor("ffn_up.weight", "mlp.up_proj.weight", (self.ffn, self.d_model))
        yield Tensor("ffn_down.weight", "mlp.down_proj.weight", (self.d_model, self.ffn))

    def _norms(self) -> Iterator[Tensor]:
        before = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
        behind = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
        around = {"attn_norm": "input_layernorm", "ffn_norm": "pre_feedforward_layernorm", **behind}
        for name, source in {"olmo2": behind, "gemma3": around}.get(self.name, before).items():
            yield self._norm(name, source, self.d_model)
        if self.name in ("qwen3", "gemma3"):
            yield self._norm("attn_q_norm", "self_attn.q_norm", self.head_dim)
            yield self._norm("attn_k_norm", "self_attn.k_norm", self.head_dim)
        if self.name == "olmo2":
            yield self._norm("attn_q_norm", "self_attn.q_norm", self.q_heads * self.head_dim)
            yield self._norm("attn_k_norm", "self_attn.k_norm", self.kv_heads * self.head_dim)

    def _norm(self, name: str, source: str, size: int) -> Tensor:
        """Gemma's gains are one more than its weights; llama.cpp's are what is multiplied by."""
        return Tensor(f"{name}.weight", f"{source}.weight", (size,), shift=float(self.name == "gemma3"))

    def _attention(self) -> Iterator[Tensor]:
        q, kv = self.q_heads * self.head_dim, self.kv_heads * self.head_dim
        if self.name == "phi3":
            yield Tensor("attn_qkv.weight", "self_attn.qkv_proj.weight", (q + 2 * kv, self.d_model))
            return
        turned = self.name == "llama"
        for letter, rows, heads in (("q", q, self.q_heads), ("k", kv, self.kv_heads), ("v", kv, 0)):
            name, source = f"attn_{letter}", f"self_attn.{letter}_proj"
            yield Tensor(f"{name}.weight", f"{source}.weight", (rows, self.d_model), heads=heads if turned else 0)
            if self.name == "qwen2":
                yield Tensor(f"{name}.bias", f"{source}.bias", (rows,))

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors())


def read_architecture(folder: str | Path) -> Architecture:
    """The architecture of a Hugging Face folder. Raises `UserError` where llama.cpp has none for it."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: not a model folder (no config.json in it)")
    return architecture_of(read_object(path), where=str(folder))


def architecture_of(config: dict[str, Any], *, where: str = "the model") -> Architecture:
    """From the plain values of a `config.json`, of transformers 4 or 5. Raises `UserError` where it is of no
    architecture of llama.cpp, or lacks what the architecture is made of."""
    try:
        return _architecture_of(config, where)
    except KeyError as missing:
        raise UserError(f"{where}: config.json has no {missing.args[0]}") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{where}: config.json holds no sizes of a model ({error})") from None


def _architecture_of(config: dict[str, Any], where: str) -> Architecture:
    classes = config.get("architectures") or [""]
    kinds = {"gemma3_text" if name == "gemma3" else name for name in NAMES.values()}
    name = NAMES.get(classes[0]) or (kinds & {config.get("model_type")} or {""}).pop().removesuffix("_text")
    if not name:
        raise UserError(
            f"{where}: {classes[0] or config.get('model_type') or 'its architecture'} is not exported to GGUF; "
            f"{', '.join(NAMES)} are"
        )
    _refuse_variants(config, name, where)
    heads, context = config["num_attention_heads"], config.get("max_position_embeddings", 32_768)
    head_dim = config.get("head_dim") or (256 if name == "gemma3" else config["hidden_size"] // heads)
    window = int(config.get("sliding_window") or 0) if name in ("gemma3", "phi3") else 0
    rope = _rope(config)
    share = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    return Architecture(
        name=name,
        layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        ffn=config["intermediate_size"],
        q_heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        vocabulary=config["vocab_size"],
        # llama.cpp runs Phi-3 without its window: up to there both are the same.
        context=min(context, window) if name == "phi3" and window else context,
        rope_base=float(rope.get("rope_theta") or DEFAULT_BASES.get(name, 10_000.0)),
        norm_eps=float(config.get("rms_norm_eps", 1e-5 if name in ("phi3", "olmo2") else 1e-6)),
        tied=bool(config.get("tie_word_embeddings", name == "gemma3")),
        rotary=int(head_dim * share) // 2 * 2,
        window=0 if name == "phi3" else window,
        final_cap=float(config.get("final_logit_softcapping") or 0.0),
        **_scaling(rope, head_dim, context),
    )


DEFAULT_BASES = {"gemma3": 1_000_000.0, "olmo2": 10_000.0}


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary embedding's parameters (of layers that see everything), in whichever way the config spells them."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope = dict(rope.get("full_attention", rope))
    given = {"rope_theta": config.get("rope_theta"), "rope_type": rope.get("type")}
    original = config.get("original_max_position_embeddings")
    if original and rope.get("original_max_position_embeddings") is None:
        rope["original_max_position_embeddings"] = original
    return {**{name: value for name, value in given.items() if value is not None}, **rope}


def _scaling(rope: dict[str, Any], head_dim: int, context: int) -> dict[str, Any]:
    """What the fields of `Architecture` are for a kind of rotary embedding."""
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        return {"rope_scale": float(rope["factor"])}
    if kind == "llama3":
        return {"rope_factors": llama3_factors(rope, head_dim)}
    if kind == "longrope":
        original = int(rope.get("original_max_position_embeddings") or context)
        ratio = context / original
        usual = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
        return {
            "long_factors": tuple(map(float, rope["long_factor"])),
            "short_factors": tuple(map(float, rope["short_factor"])),
            "original_context": original,
            "attention_factor": float(rope.get("attention_factor") or usual),
        }
    return {}


def llama3_factors(rope: dict[str, Any], head_dim: int) -> tuple[float, ...]:
    """What each frequency is divided by in Llama 3's scaling: transformers' own frequencies beside plain ones."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(hidden_size=head_dim, num_attention_heads=1, head_dim=head_dim, rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = [float(rope["rope_theta"]) ** (-2 * place / head_dim) for place in range(head_dim // 2)]
    return tuple(one / float(other) for one, other in zip(plain, scaled.double(), strict=True))


def _refuse_variants(config: dict[str, Any], name: str, where: str) -> None:
    """What transformers can do with these classes and llama.cpp would silently do otherwise."""
    kind = _rope(config).get("rope_type", "default")
    scaled = {"llama": ("llama3", "linear"), "gemma3": ("linear",), "phi3": ("longrope", "linear")}.get(name, ())
    layers = config.get("layer_types") or []
    sliding = config.get("use_sliding_window") or "sliding_attention" in layers
    sliding = sliding or (config.get("sliding_window") and config.get("model_type") == "mistral")
    act = config.get("hidden_activation" if name == "gemma3" else "hidden_act")
    unusual = {
        f"rotary embedding of type {kind!r}": kind not in ("default", *scaled),
        "a sliding attention window": sliding and name not in ("gemma3", "phi3"),
        "biases in attention": name != "qwen2" and config.get("attention_bias", False),
        "a head of another width than the model's by its heads": (
            name in ("phi3", "olmo2")
            and bool(config.get("head_dim"))
            and config["head_dim"] * config["num_attention_heads"] != config["hidden_size"]
        ),
        "biases in the feed-forward": config.get("mlp_bias", False),
        f"the activation {act!r}": act not in (None, "gelu_pytorch_tanh" if name == "gemma3" else "silu"),
        **(_gemma_variants(config, layers) if name == "gemma3" else {}),
    }
    found = [what for what, is_so in unusual.items() if is_so]
    if found:
        raise UserError(f"{where}: {found[0]} is not exported to GGUF")


def _gemma_variants(config: dict[str, Any], layers: list[str]) -> dict[str, bool]:
    """llama.cpp has Gemma 3's pattern of layers, its two rotary bases and its scale of attention built in."""
    usual = [
        "full_attention" if place % GEMMA_PATTERN == GEMMA_PATTERN - 1 else "sliding_attention"
        for place in range(config["num_hidden_layers"])
    ]
    local = (config.get("rope_parameters") or {}).get("sliding_attention", {})
    base = local.get("rope_theta") or config.get("rope_local_base_freq") or GEMMA_LOCAL_BASE
    head_dim = config.get("head_dim") or 256
    return {
        "another pattern of layers than five with a window and one without": bool(layers) and layers != usual,
        f"a rotary base of {base:g} within the window": base != GEMMA_LOCAL_BASE,
        "scaled rotary embedding within the window": local.get("rope_type", "default") != "default",
        "attention scaled by another number than the head's width": (
            config.get("query_pre_attn_scalar", head_dim) != head_dim
        ),
    }
