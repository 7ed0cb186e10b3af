"""How text is cut before byte-level BPE: Hugging Face's pre-tokenizer, and llama.cpp's name for the same cuts.

tokenizer.json -> name_of(core) -> "llama-bpe" -> make(name) -> the same pre-tokenizer again
"""

from typing import Any

from srm_ray.errors import UserError
from srm_ray.model.tokenization import QWEN2_REGEX

QWEN2, GPT2, SMOLLM = "qwen2", "gpt-2", "smollm"
# Llama 3's and OLMo 2's expression: up to three digits together.
CL100K_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Phi-4-mini's: words are cut before capitals.
O200K_REGEX = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
EXPRESSIONS = {QWEN2: QWEN2_REGEX, "llama-bpe": CL100K_REGEX, "dbrx": CL100K_REGEX, "gpt-4o": O200K_REGEX}
WHOLE_WORDS = ("llama-bpe",)  # a word that is a token is taken whole, whatever its merges
KNOWN = (*EXPRESSIONS, GPT2, SMOLLM)
# Where llama.cpp's own expression for a name cuts otherwise than Hugging Face's, as tests/gguf/test_parity.py found.
DIFFERENCES = {
    "gpt-4o": "llama.cpp cuts words before combining marks (Hindi, Thai, decomposed accents), which this tokenizer "
    "does not: such text has other ids there"
}
# Names that files have for the same cuts (llama.cpp's llama-vocab.cpp).
SAME = {
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "pixtral"),
    "dbrx": ("smaug-bpe",),
    QWEN2: ("deepseek-r1-qwen", "kormo", "stablelm2", "megrez", "hunyuan"),
    GPT2: ("phi-2", "olmo", "mpt", "jais", "trillion", "mellum"),
    SMOLLM: ("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
}


def canonical(name: Any) -> Any:
    """The one of `KNOWN` that a file's name is another word for; a name that is unknown, as it is."""
    return next((known for known, others in SAME.items() if name in others), name)


def name_of(core: dict[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer of a `tokenizer.json`. Raises `UserError` where it has none that is known
    here: in llama.cpp the tokenizer would give other ids."""
    top = core.get("pre_tokenizer") or {}
    steps = top.get("pretokenizers", [top])
    last = steps[-1]
    whole = bool(core["model"].get("ignore_merges"))
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space"):
        kinds = [step.get("type") for step in steps[:-1]]
        if last.get("use_regex", True) and not whole:
            if not kinds:
                return GPT2
            if kinds == ["Digits"] and steps[0].get("individual_digits"):
                return SMOLLM
        if kinds == ["Split"] and not last.get("use_regex", True):
            split = steps[0]
            plain = split.get("behavior") == "Isolated" and not split.get("invert")
            for name, expression in EXPRESSIONS.items():
                if plain and split["pattern"].get("Regex") == expression and whole == (name in WHOLE_WORDS):
                    return name
    raise UserError(
        f"the tokenizer's pre-tokenizer is none that llama.cpp has a known name for ({', '.join(KNOWN)}): there it "
        "would give other ids, so it is not exported to GGUF"
    )


def make(name: str) -> Any:
    """The pre-tokenizer of a name of `KNOWN`."""
    from tokenizers import Regex, pre_tokenizers

    if name == GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == SMOLLM:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    split = pre_tokenizers.Split(Regex(EXPRESSIONS[name]), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
