"""The model's sizes, checked for alignment, and a fresh model of any of them.

The architecture is transformers' `Qwen3ForCausalLM` as it is: pre-norm RMSNorm, grouped-query
attention with QK-Norm before RoPE, SwiGLU, tied embeddings, no biases, no dropout. vLLM, llama.cpp
and Hugging Face load a saved model without code of ours.

    shape(name) -> Shape -> build(shape, seed) -> Qwen3ForCausalLM
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from srm_ray.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

HEAD_DIM = 128
ALIGNMENT = 128
INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """One size of the model.

    d_model: width of the residual stream; q_heads x 128. Example: 1280.
    layers: decoder blocks. Example: 26.
    q_heads, kv_heads: attention heads of 128 each; kv_heads divides q_heads. Example: 10, 2.
    ffn: width of the SwiGLU feed-forward. Example: 3456.
    context: longest sequence, in tokens. Example: 8192.
    vocab_size: entries of the (tied) embedding. Example: 32768.

    Raises `UserError` naming the field and the nearest valid value when a size is not aligned.
    """

    d_model: int
    layers: int
    q_heads: int
    kv_heads: int
    ffn: int
    context: int
    vocab_size: int = 32_768
    rope_base: float = 500_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("d_model", "ffn", "vocab_size"):
            value = getattr(self, name)
            if value <= 0 or value % ALIGNMENT:
                near = max(ALIGNMENT, round(value / ALIGNMENT) * ALIGNMENT)
                raise UserError(
                    f"{name} must be a positive multiple of {ALIGNMENT}, got {value}; the nearest valid value is {near}"
                )
        for name in ("layers", "q_heads", "kv_heads", "context"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}; the nearest valid value is 1")
        if self.q_heads * HEAD_DIM != self.d_model:
            raise UserError(
                f"q_heads x {HEAD_DIM} must equal d_model: got q_heads={self.q_heads} and d_model={self.d_model}; "
                f"the nearest valid q_heads is {self.d_model // HEAD_DIM}"
            )
        if self.q_heads % self.kv_heads:
            divisors = [n for n in range(1, self.q_heads + 1) if self.q_heads % n == 0]
            near = min(divisors, key=lambda n: abs(n - self.kv_heads))
            raise UserError(
                f"kv_heads must divide q_heads: got kv_heads={self.kv_heads} and q_heads={self.q_heads}; "
                f"the nearest valid kv_heads is {near}"
            )


PRESETS = {
    "tiny": Shape(d_model=256, layers=4, q_heads=2, kv_heads=1, ffn=640, context=512),
    "500m": Shape(d_model=1280, layers=26, q_heads=10, kv_heads=2, ffn=3456, context=8192),
    "1b": Shape(d_model=2048, layers=20, q_heads=16, kv_heads=4, ffn=5504, context=16_384),
    "3b": Shape(d_model=3072, layers=28, q_heads=24, kv_heads=6, ffn=8192, context=32_768),
}

# Shapes that exist only as published checkpoints: loaded from the hub or a path.
HUB_PRESETS = {"140m": "facebook/MobileLLM-R1-140M-base"}


def shape(name: str, *, vocab_size: int = 0) -> Shape:
    """The preset `name`, with another vocabulary when `vocab_size` is not 0.

    Raises `UserError` for an unknown name, and for `140m`, which is a published checkpoint.
    """
    if name in HUB_PRESETS:
        raise UserError(f"{name} is not built from a shape: load it with --model {HUB_PRESETS[name]} or a local path")
    if name not in PRESETS:
        raise UserError(f"no model size named {name!r}; the sizes are {', '.join([*PRESETS, *HUB_PRESETS])}")
    preset = PRESETS[name]
    return replace(preset, vocab_size=vocab_size) if vocab_size else preset


def parameters(size: Shape) -> int:
    """Exact number of parameters, tied embeddings counted once, by arithmetic alone."""
    d, kv = size.d_model, size.kv_heads * HEAD_DIM
    attention = 2 * d * d + 2 * d * kv + 2 * HEAD_DIM
    block = attention + 3 * d * size.ffn + 2 * d
    return size.vocab_size * d + size.layers * block + d


def qwen3_config(size: Shape, *, pad_id: int = 0, bos_id: int = 1, eos_id: int = 2) -> "PretrainedConfig":
    """The `Qwen3Config` of a shape."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=size.vocab_size,
        hidden_size=size.d_model,
        intermediate_size=size.ffn,
        num_hidden_layers=size.layers,
        num_attention_heads=size.q_heads,
        num_key_value_heads=size.kv_heads,
        head_dim=HEAD_DIM,
        max_position_embeddings=size.context,
        initializer_range=INIT_STD,
        rms_norm_eps=size.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": size.rope_base},
        tie_word_embeddings=True,
        attention_bias=False,
        attention_dropout=0.0,
        pad_token_id=pad_id,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
    )


def build(size: Shape, *, seed: int, device: str = "cpu") -> "PreTrainedModel":
    """A fresh FP32 `Qwen3ForCausalLM`; on `device="meta"` it has shapes but no memory.

    Init N(0, 0.02) everywhere but the output projections of attention and feed-forward, which get
    0.02 / sqrt(2 x layers) so that the residual stream's variance does not grow with depth
    (GPT-2, Radford et al. 2019, section 2.3).
    """
    import torch
    from transformers import Qwen3ForCausalLM

    with torch.device(device):
        model = Qwen3ForCausalLM(qwen3_config(size)).float()
    if device != "meta":
        initialise(model, layers=size.layers, seed=seed)
    return model


def initialise(model: "PreTrainedModel", *, layers: int, seed: int) -> None:
    """Draw every weight afresh, in the order of their names, from a generator of its own."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        with torch.no_grad():
            if weight.ndim < 2:
                weight.fill_(1.0)
                continue
            residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            weight.normal_(0.0, INIT_STD / (2 * layers) ** 0.5 if residual else INIT_STD, generator=generator)
