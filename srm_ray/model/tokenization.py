r"""The tokenizer: byte-level BPE with single digits, fixed special ids, ChatML, verified before it is saved.

    texts -> train(texts, vocab_size) -> verify(tokenizer) -> save(tokenizer, folder)

The pre-tokenizer is the expression that llama.cpp calls `qwen2` (it isolates every character of
Unicode's class N), followed by byte level without its own expression, so that llama.cpp gives the
same ids. There is no normalizer: any UTF-8 text comes back exactly.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.errors import UserError, one_line
from srm_ray.model import tokenizer_file
from srm_ray.process.imports import quick_imports

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNK = "<pad>", "<bos>", "<eos>", "<unk>"
THINK, END_THINK = "<think>", "</think>"
IM_START, IM_END = "<|im_start|>", "<|im_end|>"
SPECIALS = (PAD, BOS, EOS, UNK, THINK, END_THINK, IM_START, IM_END)
ID_OF = {token: index for index, token in enumerate(SPECIALS)}
# Part of a completion's text, not control: kept when special tokens are skipped in decoding.
TEXT_SPECIALS = (THINK, END_THINK)

QWEN2_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# ChatML. An assistant's thinking stands in `<think>` tags, in `content` itself or in
# `reasoning_content`; a turn without any has empty thinking. Contents are stripped, so that
# tokenising the parts one by one gives the ids of the whole.
CHAT_TEMPLATE = r"""{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- set content = (message['content'] or '') | trim -%}
{%- if message['role'] == 'assistant' -%}
{%- set thought = (message['reasoning_content'] if message['reasoning_content'] is defined else '') or '' -%}
{%- if not thought and content.startswith('<think>') and '</think>' in content -%}
{%- set thought = content.split('</think>', 1)[0].split('<think>', 1)[1] -%}
{%- set content = content.split('</think>', 1)[1] -%}
{%- endif -%}
{%- generation -%}
{{- '<think>\n' + (thought | trim) + '\n</think>\n' + (content | trim) + '<|im_end|>' -}}
{%- endgeneration -%}
{{- '\n' -}}
{%- else -%}
{{- content + '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n<think>\n' -}}{%- endif -%}"""


def train(texts: Iterable[str], vocab_size: int, *, progress: bool = False) -> "PreTrainedTokenizerFast":
    """Train on `texts` and return a `tokenizers.Tokenizer` of exactly `vocab_size` entries.

    Raises `UserError` when `vocab_size` is not a multiple of 128, or when the text is too small or
    too uniform to give that many merges.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, trainers

    floor = len(SPECIALS) + 256
    if vocab_size % 128 or vocab_size < floor:
        near = max(-(-floor // 128) * 128, round(vocab_size / 128) * 128)
        raise UserError(
            f"vocab_size must be a multiple of 128 and at least {floor}, got {vocab_size}; "
            f"the nearest valid value is {near}"
        )
    tokenizer = Tokenizer(models.BPE(unk_token=None, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=progress,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIALS],
        initial_alphabet=sorted(byte_characters().values()),
    )
    tokenizer.train_from_iterator(without_special_text(texts), trainer=trainer)
    size = tokenizer.get_vocab_size()
    if size != vocab_size:
        fits = size // 128 * 128
        raise UserError(
            f"the text supports only {size} entries, vocab_size asks for {vocab_size}: give more text"
            + (f", or set vocab_size to at most {fits}" if fits >= floor else "")
        )
    return keep_in_text(tokenizer)


def keep_in_text(tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedTokenizerFast":
    """Mark the think tags as text rather than control (the trainer marks all it is given as control):
    decoding that skips special tokens, as vLLM's does, must not lose them."""
    from tokenizers import Tokenizer

    plain = json.loads(tokenizer.to_str())
    for added in plain["added_tokens"]:
        added["special"] = added["content"] not in TEXT_SPECIALS
    return Tokenizer.from_str(json.dumps(plain))


def pre_tokenizer() -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def without_special_text(texts: Iterable[str]) -> Iterator[str]:
    """Text that spells a special token would teach merges that can never be used."""
    for text in texts:
        for token in SPECIALS:
            if token in text:
                text = text.replace(token, " ")
        yield text


def byte_characters() -> dict[int, str]:
    """GPT-2's map from each byte to the printable character that stands for it in the vocabulary."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in visible}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(visible))
    return table


def wrap(tokenizer: "PreTrainedTokenizerFast", *, context: int = 0) -> "PreTrainedTokenizerFast":
    """The `PreTrainedTokenizerFast` that is saved: names the special tokens, carries the chat template."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=IM_END,
        unk_token=UNK,
        additional_special_tokens=[EOS, IM_START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        **({"model_max_length": context} if context else {}),
    )


def save(tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write the Hugging Face folder of a verified `PreTrainedTokenizerFast`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)


def load(folder: str | Path, *, chat_template: str = "", rows: int = 0) -> "PreTrainedTokenizerFast":
    """The tokenizer of a model folder or hub name. Raises `UserError` when there is none.

    chat_template: Jinja, in place of its own. rows: of the model's embedding, which it must fit (see `fitted`).
    """
    with quick_imports():
        from transformers import AutoTokenizer

    looks_local = Path(folder).exists() or str(folder).startswith((".", "/", "~", "runs/"))
    if looks_local and not has_tokenizer(folder):
        raise UserError(f"{folder}: not a folder with a tokenizer (no tokenizer_config.json in it)")
    try:
        tokenizer_file.check(Path(folder) if looks_local else tokenizer_file.of_hub(str(folder)))
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # whatever is in its files: tokenizers raises bare ones
        reason = one_line(error)[:200] or type(error).__name__
        raise UserError(f"{folder}: its tokenizer cannot be loaded: {reason}") from None
    longest = tokenizer.model_max_length
    if isinstance(longest, bool) or not isinstance(longest, int | float) or not 0 < longest < float("inf"):
        raise UserError(f"{folder}: its tokenizer cannot be loaded: model_max_length is {str(longest)[:40]!r}")
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if isinstance(tokenizer.chat_template, dict):  # several by name, as some models have
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    return fitted(tokenizer, rows, str(folder)) if rows else tokenizer


def has_tokenizer(folder: str | Path) -> bool:
    return any((Path(folder) / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json"))


def fitted(tokenizer: "PreTrainedTokenizerFast", rows: int, where: str) -> "PreTrainedTokenizerFast":
    """The tokenizer, without control tokens that were added to it and never to the embedding of `rows` rows (a padding
    token, mostly). Raises `UserError` where other tokens have no row."""
    entries = max(tokenizer.get_vocab().values(), default=-1) + 1
    if entries <= rows:
        return tokenizer
    surplus = {index: added for index, added in tokenizer.added_tokens_decoder.items() if index >= rows}
    named = {tokenizer.eos_token_id, tokenizer.bos_token_id}
    in_template = any(added.content in (tokenizer.chat_template or "") for added in surplus.values())
    padding = len(surplus) == entries - rows and all(added.special for added in surplus.values())
    if not padding or named & set(surplus) or in_template or not hasattr(tokenizer, "backend_tokenizer"):
        raise UserError(
            f"--model {where}: its tokenizer has {entries} entries, its embedding {rows} rows: "
            "the tokenizer belongs to another model"
        )
    from tokenizers import Tokenizer

    plain = json.loads(tokenizer.backend_tokenizer.to_str())
    plain["added_tokens"] = [added for added in plain["added_tokens"] if added["id"] < rows]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(plain))
    if tokenizer.pad_token in {added.content for added in surplus.values()}:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def encode_plain(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    """Ids of `text` with control tokens in it taken as text (think tags keep their ids)."""
    core = tokenizer.backend_tokenizer
    before = core.encode_special_tokens
    core.encode_special_tokens = True
    try:
        return core.encode(text, add_special_tokens=False).ids
    finally:
        core.encode_special_tokens = before


def document_end_id(tokenizer: "PreTrainedTokenizerFast") -> int:
    """Id that ends a pretraining document: `<eos>` where there is one, else the tokenizer's own eos."""
    own = tokenizer.get_vocab().get(EOS)
    return tokenizer.eos_token_id if own is None else own


# Verification

ROUND_TRIPS = (
    "The quick brown fox jumps over the lazy dog.\n\n\tIndented;  two spaces, trailing  \r\n",
    "naïve café — “quotes” … ½ ² Ⅷ ① 中文數字 一二三 日本語 한국어 العربية ١٢٣ हिन्दी १२३ ไทย ๑๒๓",
    "e\u0301 vs \u00e9, \ufb01 ligature, \u200b zero width, \ufeff bom, \u0000 nul, \U0001f469\u200d\U0001f680 👩🏽‍🔬",
    "def f(x):\n    return {'a': [1, 22, 333], \"b\": x ** 2}  # 1_000_000 0xFF 3.14159e-10\n",
    "<think>\n1+1=2\n</think>\n\\boxed{2}<|im_end|>\n<|im_start|>user\n<pad><bos><eos><unk>",
    "".join(chr(code) for code in range(0x20, 0x250)),
)


def verify(tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """Everything that is wrong with a `tokenizers.Tokenizer` or a fast tokenizer; empty when sound.

    Checked: the fixed ids; exact round trip of difficult texts and of every Unicode character;
    no token holds two digits; every decimal digit of every script stands alone; nothing is
    appended to a prompt.
    """
    core = getattr(tokenizer, "backend_tokenizer", tokenizer)
    problems = [
        f"{token} has id {core.token_to_id(token)}, not {index}"
        for token, index in ID_OF.items()
        if core.token_to_id(token) != index
    ]
    problems += [f"no exact round trip of {text[:40]!r}" for text in round_trip_texts() if not round_trips(core, text)]
    problems += [f"token {text!r} holds more than one digit" for text in tokens_with_digits(core)]
    problems += [f"{text!r} is encoded with digits joined" for text in digit_texts() if joins_digits(core, text)]
    first = core.encode("a", add_special_tokens=True).ids
    if first != core.encode("a", add_special_tokens=False).ids:
        problems.append("special tokens are added when a prompt is encoded")
    if core.decode([ID_OF[THINK], ID_OF[END_THINK], ID_OF[IM_END]], skip_special_tokens=True) != THINK + END_THINK:
        problems.append("skipping special tokens in decoding must drop control tokens and keep think tags")
    return problems


def round_trip_texts() -> Iterator[str]:
    yield from ROUND_TRIPS
    for start in range(0, 0x110000, 0x1000):
        yield "".join(chr(code) for code in range(start, start + 0x1000) if not 0xD800 <= code < 0xE000)


def round_trips(core: "Tokenizer", text: str) -> bool:
    return core.decode(core.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def tokens_with_digits(core: "Tokenizer") -> Iterator[str]:
    """Tokens that hold a digit and anything else (a digit's bytes may also be several tokens)."""
    to_byte = {character: byte for byte, character in byte_characters().items()}
    for token in core.get_vocab():
        if token in ID_OF:
            continue
        text = bytes(to_byte[character] for character in token).decode("utf-8", errors="ignore")
        if len(text) > 1 and any(character.isdecimal() for character in text):
            yield text


def digit_texts() -> Iterator[str]:
    """`142` in the digits of every script that has decimal digits."""
    for zero in range(0x110000):
        if unicodedata.decimal(chr(zero), None) == 0:
            yield "".join(chr(zero + digit) for digit in (1, 4, 2))


def joins_digits(core: "Tokenizer", text: str) -> bool:
    """Whether a token spans two of the characters of `text`, all of them digits."""
    return any(end - start > 1 for start, end in core.encode(text, add_special_tokens=False).offsets)


def characters_per_token(core: "Tokenizer", text: str) -> float:
    """Compression: characters of `text` for each token."""
    return len(text) / max(1, len(core.encode(text, add_special_tokens=False).ids))


def english_and_code() -> dict[str, str]:
    """Text of both kinds that every Python has with it: its language reference, and a module of its library."""
    import argparse
    import inspect
    from pydoc_data.topics import topics

    return {
        "English": "\n".join(topics[name] for name in sorted(topics))[:200_000],
        "code": inspect.getsource(argparse),
    }


def fingerprint(tokenizer: "PreTrainedTokenizerFast") -> str:
    """Hash of vocabulary and merges: equal for tokenizers that give the same ids."""
    import hashlib

    core = json.loads(tokenizer.backend_tokenizer.to_str())
    relevant = {"model": core["model"], "added": core["added_tokens"], "pre": core["pre_tokenizer"]}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]
