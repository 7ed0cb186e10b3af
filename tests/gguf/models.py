"""Small random models of every exported architecture, and a tokenizer with merges in several scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from srm_ray.data import arithmetic
from srm_ray.model import tokenization
from srm_ray.model.folder import save_model
from srm_ray.model.shapes import build, initialise, shape
from tests import families

VOCABULARY = 640
# In several scripts, with control tokens, digits and white space of all kinds.
TEXTS = (
    "142 0.5 1,234,567 007 ½ ² Ⅷ ① ١٢٣ १२३ ๑๒๓ １２３",
    "中文數字 一二三 日本語のテキスト 한국어 العربية ไทย हिन्दी",
    "👩🏽‍🔬👨‍👩‍👧‍👦 🇩🇪 emoji🙂text \U0001f469\u200d\U0001f680",
    "<think>\n1+1=2\n</think>\n\\boxed{2}<|im_end|>\n<|im_start|>user\n<pad><bos><eos><unk>",
    "don't DON'T we'll  two  spaces\t\ttabs \n\n\n lines \r\n trailing   ",
    "def f(x):\n    return {'a': [1, 22], \"b\": x ** 2}  # 3.14159e-10",
    "naïve café — “quotes” … e\u0301 \ufb01 \u200b \ufeff \u0000 x",
    " leading", "\n", " ", "",
)  # fmt: skip


def texts() -> list[str]:
    """Enough repetition that words, CJK and emoji get merges of their own."""
    return [*tokenization.ROUND_TRIPS * 40, *arithmetic.tokenizer_texts(1, 400), Path(__file__).read_text() * 5]


def save_tokenizer(folder: Path) -> Any:
    tokenization.save(tokenization.wrap(tokenization.train(texts(), VOCABULARY), context=512), folder)
    return tokenization.load(folder)


def qwen3(folder: Path) -> Path:
    """Tied embeddings, QK-Norm with gains that are not 1."""
    model = build(shape("tiny", vocab_size=VOCABULARY), seed=1)
    return save(model, folder)


def qwen2(folder: Path) -> Path:
    """As Qwen2.5: biases on q, k, v; heads of 64; here with a head of its own and rows left over in the embedding."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=VOCABULARY + 64,
        hidden_size=256,
        intermediate_size=672,  # not a multiple of 256, and not of 64
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config)
    initialise(model, layers=3, seed=2)
    return save(model, folder)


def other(name: str, **traits: Any) -> Callable[[Path], Path]:
    """A family of `tests.families`, at the width that these tests ask for."""

    def make(folder: Path) -> Path:
        from transformers import AutoModelForCausalLM

        sizes = {"hidden_size": 256, "intermediate_size": 320, "max_position_embeddings": 512, "num_hidden_layers": 3}
        config = families.FAMILIES[name](**{**sizes, "vocab_size": VOCABULARY, "num_attention_heads": 4, **traits})
        model = AutoModelForCausalLM.from_config(config).float()
        initialise(model, layers=config.num_hidden_layers, seed=4)
        return save(model, folder)

    return make


def save(model: Any, folder: Path) -> Path:
    """Norms and biases get values of their own, so that one left out or mixed up shows."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim == 1:
                centred = name.endswith("bias") or model.config.model_type.startswith("gemma")
                weight.normal_(0.0 if centred else 1.0, 0.2, generator=generator)
            else:
                weight.mul_(3)  # logits that differ: a random model's are nearly flat
    save_tokenizer(folder)
    save_model(model, dict(model.named_parameters()), folder, tokenizer_from=folder, lineage={"stage": "init"})
    return folder


def encoded(tokenizer: Any, text: str) -> tuple[str, list[int]]:
    """A text and its ids; in form NFC where the tokenizer would bring it there, as Qwen2's does and llama.cpp not."""
    core = tokenizer.backend_tokenizer
    text = text if core.normalizer is None else core.normalizer.normalize_str(text)
    return text, core.encode(text, add_special_tokens=False).ids


# As llama.cpp has Gemma 3: every sixth layer sees everything.
GEMMA = {
    "num_hidden_layers": 6,
    "layer_types": [*["sliding_attention"] * 5, "full_attention"],
    "query_pre_attn_scalar": 32,
}
MAKERS = {
    "qwen3": qwen3,
    "qwen2": qwen2,
    "llama": other("llama"),
    "llama3": other("llama3", num_key_value_heads=2),
    "gemma3": other("gemma3", **GEMMA),
    "phi3": other("phi3", num_key_value_heads=2, head_dim=64),
    "olmo2": other("olmo2", head_dim=64),
}
