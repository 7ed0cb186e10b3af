"""What llama.cpp wants to know of a model: its tensors by both names, and its numbers.

config.json -> Architecture -> tensors(): Hugging Face name, GGUF name, shape
                            -> the keys of the file's header (written by srm_ray.gguf.writer)

Two architectures: `qwen3` (what this project trains) and `qwen2` (Qwen2 and Qwen2.5).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError

NAMES = {"Qwen3ForCausalLM": "qwen3", "Qwen2ForCausalLM": "qwen2"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight. name: llama.cpp's, e.g. "blk.0.attn_q.weight". source: Hugging Face's name.

    shape: as PyTorch has it, rows first. Example: (2048, 5504).
    """

    name: str
    source: str
    shape: tuple[int, ...]

    @property
    def is_matrix(self) -> bool:
        return len(self.shape) > 1

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder's numbers. name: llama.cpp's architecture, "qwen3" or "qwen2". tied: embedding and head are one.

    head_dim: width of one head. Example: 128. rope_base: example 500000.0. norm_eps: example 1e-5.
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

    def tensors(self) -> Iterator[Tensor]:
        """Every weight, in the order in which it is written."""
        yield Tensor("token_embd.weight", "model.embed_tokens.weight", (self.vocabulary, self.d_model))
        for layer in range(self.layers):
            for name, source, shape in self._block():
                yield Tensor(f"blk.{layer}.{name}", f"model.layers.{layer}.{source}", shape)
        yield Tensor("output_norm.weight", "model.norm.weight", (self.d_model,))
        if not self.tied:
            yield Tensor("output.weight", "lm_head.weight", (self.vocabulary, self.d_model))

    def _block(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        d, q, kv = self.d_model, self.q_heads * self.head_dim, self.kv_heads * self.head_dim
        yield "attn_norm.weight", "input_layernorm.weight", (d,)
        for name, source, rows in (("attn_q", "q_proj", q), ("attn_k", "k_proj", kv), ("attn_v", "v_proj", kv)):
            yield f"{name}.weight", f"self_attn.{source}.weight", (rows, d)
            if self.name == "qwen2":
                yield f"{name}.bias", f"self_attn.{source}.bias", (rows,)
        yield "attn_output.weight", "self_attn.o_proj.weight", (d, q)
        if self.name == "qwen3":
            yield "attn_q_norm.weight", "self_attn.q_norm.weight", (self.head_dim,)
            yield "attn_k_norm.weight", "self_attn.k_norm.weight", (self.head_dim,)
        yield "ffn_norm.weight", "post_attention_layernorm.weight", (d,)
        yield "ffn_gate.weight", "mlp.gate_proj.weight", (self.ffn, d)
        yield "ffn_up.weight", "mlp.up_proj.weight", (self.ffn, d)
        yield "ffn_down.weight", "mlp.down_proj.weight", (d, self.ffn)

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors())


def read_architecture(folder: str | Path) -> Architecture:
    """The architecture of a Hugging Face folder. Raises `UserError` where llama.cpp has none for it."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text())
    except OSError:
        raise UserError(f"{folder}: not a model folder (no config.json in it)") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    return architecture_of(config, where=str(folder))


def architecture_of(config: dict[str, Any], *, where: str = "the model") -> Architecture:
    """From the plain values of a `config.json`, of transformers 4 or 5."""
    classes = config.get("architectures") or [""]
    name = NAMES.get(classes[0]) or ({"qwen3", "qwen2"} & {config.get("model_type")} or {""}).pop()
    if not name:
        raise UserError(
            f"{where}: {classes[0] or config.get('model_type') or 'its architecture'} is not exported to GGUF; "
            f"{', '.join(NAMES)} are"
        )
    _refuse_variants(config, name, where)
    heads = config["num_attention_heads"]
    return Architecture(
        name=name,
        layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        ffn=config["intermediate_size"],
        q_heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        context=config.get("max_position_embeddings", 32_768),
        rope_base=float(_rope(config).get("rope_theta") or config.get("rope_theta") or 10_000.0),
        norm_eps=config.get("rms_norm_eps", 1e-6),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _refuse_variants(config: dict[str, Any], name: str, where: str) -> None:
    """What transformers can do with these classes and llama.cpp would silently do otherwise."""
    rope = _rope(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    sliding = config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or [])
    unusual = {
        f"rotary embedding of type {kind!r}": kind != "default",
        "a sliding attention window": sliding,
        "biases in attention": name == "qwen3" and config.get("attention_bias", False),
        f"the activation {config.get('hidden_act')!r}": config.get("hidden_act", "silu") != "silu",
    }
    found = [what for what, is_so in unusual.items() if is_so]
    if found:
        raise UserError(f"{where}: {found[0]} is not exported to GGUF")
