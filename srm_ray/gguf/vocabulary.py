"""The tokenizer inside a GGUF file, both ways.

tokenizer -> vocabulary_of -> Vocabulary -> (written by srm_ray.gguf.writer)
GGUF file -> read_vocabulary -> Vocabulary -> tokenizer_of -> the same ids again
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.errors import UserError
from srm_ray.gguf import header, pre_tokenizers, sentencepiece
from srm_ray.gguf.pre_tokenizers import QWEN2
from srm_ray.model import tokenization
from srm_ray.model.chat_template import turn_end

if TYPE_CHECKING:
    from gguf import GGUFReader
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # llama.cpp's token types
MODEL = "gpt2"  # what llama.cpp calls byte-level BPE
PHI3_KEEPS = ("<unk>", "<s>", "<|endoftext|>")  # control tokens of Phi-3 that leave the white space behind them
GENERATION_MARK = re.compile(r"\{%-\s*(?:end)?generation\s*-%\}|\{%\s*(?:end)?generation\s*%\}")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """tokens: by id; ordinary ones in byte-level characters, special ones as they are. types: llama.cpp's, by id.

    merges: "left right", in order. eos, bos, pad, unk: ids, None where there is none. turn_end: what ends a turn.
    message_end: what ends a message that is not a turn's last (Llama 3's calls of tools).
    template: the chat template, without generation marks. pre: llama.cpp's name of the pre-tokenizer.
    add_bos: whether text is encoded with bos in front. scores: of SentencePiece's pieces, by id; (): byte-level BPE.
    space_prefix: whether SentencePiece puts a space in front. strips: whether control tokens take the white space
    behind them, as Phi-3's do.
    """

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    eos: int | None
    bos: int | None
    pad: int | None
    unk: int | None
    template: str
    pre: str = QWEN2
    turn_end: int | None = None
    message_end: int | None = None
    add_bos: bool = False
    scores: tuple[float, ...] = ()
    space_prefix: bool = False
    strips: bool = False

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end a completion."""
        named = (self.eos, self.turn_end, self.message_end)
        return tuple(dict.fromkeys(index for index in named if index is not None))


def vocabulary_of(tokenizer: "PreTrainedTokenizerFast", size: int) -> Vocabulary:
    """Of a fast Hugging Face tokenizer; `size` is the embedding's rows, unused ids included.

    Raises `UserError` where llama.cpp would give other ids: neither byte-level nor SentencePiece's BPE, another
    pre-tokenizer.
    """
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise UserError("the tokenizer is not byte-level BPE: it is not exported to GGUF")
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    prefix = sentencepiece.has_space_prefix(core)
    scores = None if prefix is None else sentencepiece.scores_of(core)
    if scores is None:
        _check_kind(core)
    first = tokenizer("a")["input_ids"][:1]
    tokens = [f"[PAD{index}]" for index in range(size)]
    types = [UNUSED] * size
    for token, index in core["model"]["vocab"].items():
        tokens[index], types[index] = token, NORMAL
    for added in core["added_tokens"]:
        in_text = not added["special"] or added["content"] in tokenization.TEXT_SPECIALS
        tokens[added["id"]], types[added["id"]] = added["content"], USER_DEFINED if in_text else CONTROL
    pieces: dict[str, Any] = {"pre": pre_tokenizers.name_of(core)} if scores is None else {}
    if scores is not None:
        for token in sentencepiece.BYTES:
            types[core["model"]["vocab"][token]] = BYTE
        if tokenizer.unk_token_id is not None:
            types[tokenizer.unk_token_id] = UNKNOWN
        own = tuple(scores.get(token, 0.0) for token in tokens)
        strips = any(added["rstrip"] for added in core["added_tokens"])
        pieces = {"pre": sentencepiece.PRE, "scores": own, "space_prefix": bool(prefix), "strips": strips}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in core["model"]["merges"]]
    return Vocabulary(
        tokens=tuple(tokens),
        types=tuple(types),
        merges=() if scores is not None else tuple(merges),
        eos=tokenizer.eos_token_id,
        bos=tokenizer.bos_token_id,
        pad=tokenizer.pad_token_id,
        unk=tokenizer.unk_token_id,
        template=without_marks(tokenizer.chat_template or ""),
        turn_end=turn_end(tokenizer),
        add_bos=tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id],
        **pieces,
    )


def without_marks(template: str) -> str:
    """The template with `{% generation %}` marks, which llama.cpp's Jinja does not know, made comments
    that trim the same white space: what is rendered does not change."""
    return GENERATION_MARK.sub(lambda mark: "{#- -#}" if "-" in mark[0] else "{# #}", template)


def _check_kind(core: dict[str, Any]) -> None:
    """Qwen2's own tokenizer also brings text into Unicode's form NFC, which llama.cpp does not: there decomposed
    accents get other ids. That is so of every GGUF of those models, and let pass."""
    if core["model"]["type"] != "BPE" or core["model"].get("byte_fallback"):
        raise UserError("the tokenizer is not byte-level BPE: it is not exported to GGUF")
    normalizer = (core.get("normalizer") or {}).get("type")
    if normalizer not in (None, "NFC"):
        raise UserError(f"the tokenizer changes text before it encodes ({normalizer}), which llama.cpp does not do")


def read_vocabulary(path: Path) -> Vocabulary:
    """Of a GGUF file. Raises `UserError` where it is not one, or holds another kind of tokenizer."""
    try:
        return vocabulary_from(header_of(open_gguf(path)))
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def header_of(reader: "GGUFReader") -> dict[str, Any]:
    """The keys of an open file, with plain values. Raises `UserError` where a text is none."""
    try:
        return {name: field.contents() for name, field in reader.fields.items()}
    except UnicodeDecodeError as error:
        raise UserError(f"a text in its header is not UTF-8 ({error.reason} {error.object[error.start]:#x})") from None


def vocabulary_from(keys: Mapping[str, Any]) -> Vocabulary:
    """Of a file's header. Raises `UserError`."""

    def value(key: str, default: Any = None) -> Any:
        return keys.get(f"tokenizer.{key}", default)

    def items(key: str) -> tuple[Any, ...]:
        if not isinstance(found := value(key, []), list):
            raise UserError(f"its tokenizer is broken: {key} is no list")
        return tuple(found)

    kind, given = value("ggml.model"), value("ggml.pre", sentencepiece.PRE)
    pre = given if kind == sentencepiece.MODEL else pre_tokenizers.canonical(given)
    if kind != sentencepiece.MODEL and (kind != MODEL or pre not in pre_tokenizers.KNOWN):
        known = ", ".join([*(f"{MODEL}/{name}" for name in pre_tokenizers.KNOWN), sentencepiece.MODEL])
        raise UserError(f"its tokenizer is {kind}/{given}, one of {known} is expected")
    ids = {name: value(f"ggml.{key}_token_id") for name, key in IDS.items()}
    pieces = kind == sentencepiece.MODEL
    first = pieces or pre in pre_tokenizers.WHOLE_WORDS  # whether bos comes first where a file does not say
    found = Vocabulary(
        tokens=items("ggml.tokens"),
        types=items("ggml.token_type"),
        merges=() if pieces else items("ggml.merges"),
        template=value("chat_template", ""),
        pre=pre,
        add_bos=bool(value("ggml.add_bos_token", first)),
        scores=items("ggml.scores") if pieces else (),
        space_prefix=pieces and bool(value("ggml.add_space_prefix", True)),
        strips=pieces and keys.get("general.architecture") == "phi3",
        **ids,
    )
    if wrong := wrong_in(found, pieces=pieces):
        raise UserError(f"its tokenizer is broken: {wrong}")
    return found


def wrong_in(found: Vocabulary, *, pieces: bool) -> str:
    """What no tokenizer can be made of, "" where one can."""
    tokens = set(found.tokens)
    if not tokens or not all(isinstance(token, str) for token in (*found.tokens, *found.merges, found.template)):
        return "its tokens, merges and template must be texts"
    if len(found.types) != len(found.tokens):
        return f"{len(found.tokens)} tokens have {len(found.types)} types"
    if pieces and len(found.scores) != len(found.tokens):
        return f"{len(found.tokens)} pieces have {len(found.scores)} scores"
    if pieces and not all(isinstance(score, float) and score == score for score in found.scores):
        return "a piece's score is no number"
    if pieces and not set(sentencepiece.BYTES) <= tokens:
        return "not every byte has a piece"
    for name, key in IDS.items():
        index = getattr(found, name)
        if index is not None and not (isinstance(index, int) and 0 <= index < len(found.tokens)):
            return f"{key}_token_id is {index!r}, and there are {len(found.tokens)} tokens"
    for merge in found.merges:
        left, _, right = merge.partition(" ")
        if not (left in tokens and right in tokens and left + right in tokens):
            return f"the merge {merge[:40]!r} is not of its tokens"
    return ""


IDS = {"eos": "eos", "bos": "bos", "pad": "padding", "unk": "unknown", "turn_end": "eot", "message_end": "eom"}


def open_gguf(path: Path) -> "GGUFReader":
    """`gguf.GGUFReader` of a file. Raises `UserError` where it is none."""
    import gguf

    if not path.is_file():
        raise UserError(f"{path}: a folder, and a GGUF file is expected" if path.is_dir() else f"{path}: no such file")
    header.check(path)
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise UserError(f"{path}: not a whole GGUF file ({error})") from None


def tokenizer_of(vocabulary: Vocabulary, *, context: int = 0) -> "PreTrainedTokenizerFast":
    """The Hugging Face tokenizer that gives a file's ids."""
    from tokenizers import Tokenizer, decoders, models, processors
    from transformers import PreTrainedTokenizerFast

    named = list(zip(vocabulary.tokens, vocabulary.types, strict=True))
    if vocabulary.scores:
        core = sentencepiece.core_of(
            vocabulary.tokens, vocabulary.types, vocabulary.scores, space_prefix=vocabulary.space_prefix
        )
    else:
        known = {token: index for index, (token, kind) in enumerate(named) if kind != UNUSED}
        merges = [(left, right) for left, right in (merge.split(" ") for merge in vocabulary.merges)]
        whole = vocabulary.pre in pre_tokenizers.WHOLE_WORDS
        core = Tokenizer(models.BPE(vocab=known, merges=merges, ignore_merges=whole))
        core.pre_tokenizer = pre_tokenizers.make(vocabulary.pre)
        core.decoder = decoders.ByteLevel()
    apart = (CONTROL, USER_DEFINED, UNKNOWN) if vocabulary.scores else (CONTROL, USER_DEFINED)
    core.add_tokens([added(token, kind, vocabulary) for token, kind in named if kind in apart])
    if vocabulary.add_bos and vocabulary.bos is not None:
        first = vocabulary.tokens[vocabulary.bos]
        core.post_processor = processors.TemplateProcessing(
            single=[first, "$A"], pair=[first, "$A", first, "$B:1"], special_tokens=[(first, vocabulary.bos)]
        )
    own = {"eos_token": vocabulary.eos, "bos_token": vocabulary.bos, "pad_token": vocabulary.pad}
    own["unk_token"] = vocabulary.unk
    template = vocabulary.template
    if template == without_marks(tokenization.CHAT_TEMPLATE):
        template = tokenization.CHAT_TEMPLATE
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        chat_template=template or None,
        clean_up_tokenization_spaces=False,
        **{name: vocabulary.tokens[index] for name, index in own.items() if index is not None},
        **({"model_max_length": context} if context else {}),
    )


def added(token: str, kind: int, vocabulary: Vocabulary) -> "AddedToken":
    """A token that is found in the text before anything else."""
    from tokenizers import AddedToken

    special = kind in (CONTROL, UNKNOWN)
    strips = vocabulary.strips and special and token not in PHI3_KEEPS
    return AddedToken(token, special=special, normalized=False, rstrip=strips)
