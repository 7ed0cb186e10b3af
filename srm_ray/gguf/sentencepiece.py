"""SentencePiece's BPE inside a GGUF file (llama.cpp's tokenizer "llama"), both ways.

pieces and scores -> core_of -> tokenizers' BPE with merges -> scores_of -> scores that order the merges the same

SentencePiece joins the neighbours whose joined piece has the highest score; BPE joins those whose merge comes first. So
the merges of a vocabulary are all ways to cut each piece into two pieces, those of a higher score first. Characters
without a piece become their bytes. Source: Kudo and Richardson 2018, and llama.cpp's llm_tokenizer_spm.
"""

import itertools
from collections.abc import Sequence
from typing import Any

MODEL, PRE = "llama", "default"  # what llama.cpp calls it, and its pre-tokenizer
SPACE = "▁"
NORMAL, UNKNOWN, UNUSED, BYTE = 1, 2, 5, 6  # llama.cpp's token types
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def core_of(tokens: Sequence[str], types: Sequence[int], scores: Sequence[float], *, space_prefix: bool) -> Any:
    """A `tokenizers.Tokenizer` without its added tokens. space_prefix: a space is put in front of a text."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    ids = {token: index for index, token in enumerate(tokens) if types[index] != UNUSED}
    unknown = next((token for token, kind in zip(tokens, types, strict=True) if kind == UNKNOWN), None)
    model = models.BPE(
        vocab=ids, merges=merges_of(tokens, types, scores), unk_token=unknown, fuse_unk=True, byte_fallback=True
    )
    core = Tokenizer(model)
    spaces = normalizers.Replace(" ", SPACE)
    core.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if space_prefix else spaces
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if space_prefix else steps)
    return core


def merges_of(tokens: Sequence[str], types: Sequence[int], scores: Sequence[float]) -> list[tuple[str, str]]:
    pieces = {token: index for index, token in enumerate(tokens) if types[index] == NORMAL}
    found = []
    for piece in sorted(pieces, key=lambda piece: (-scores[pieces[piece]], pieces[piece])):
        cuts = [(piece[:place], piece[place:]) for place in range(1, len(piece))]
        halves = [(pieces[left], pieces[right]) for left, right in cuts if left in pieces and right in pieces]
        found += [(tokens[left], tokens[right]) for left, right in sorted(halves)]
    return found


def has_space_prefix(core: dict[str, Any]) -> bool | None:
    """Of the plain values of a `tokenizer.json`; None where it is no SentencePiece BPE that llama.cpp could read."""
    model, normalizer = core["model"], core.get("normalizer") or {}
    steps = normalizer.get("normalizers", [normalizer])
    prefix = len(steps) == 2 and steps[0] == {"type": "Prepend", "prepend": SPACE}
    replaces = steps[-1].get("type") == "Replace" and steps[-1].get("content") == SPACE
    replaces = replaces and steps[-1].get("pattern") == {"String": " "} and len(steps) == 1 + prefix
    # Gemma's cut changes nothing: the spaces are gone before it.
    cut = core.get("pre_tokenizer")
    plain = cut is None or (cut.get("type") == "Split" and cut.get("pattern") == {"String": " "})
    whole = set(BYTES) <= set(model["vocab"]) and model.get("byte_fallback")
    return prefix if whole and replaces and plain and model["type"] == "BPE" else None


def scores_of(core: dict[str, Any]) -> dict[str, float] | None:
    """A score for each piece, so that they order the merges as they are; None where no scores do."""
    vocabulary: dict[str, int] = core["model"]["vocab"]
    merges = [
        tuple(merge) if not isinstance(merge, str) else tuple(merge.split(" ")) for merge in core["model"]["merges"]
    ]
    order = list(dict.fromkeys(left + right for left, right in merges))
    scores = {piece: -float(rank) for rank, piece in enumerate(order)}
    least = -float(len(order))
    scores = {piece: scores.get(piece, least) for piece in vocabulary}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    outside = {*BYTES, *(added["content"] for added in core["added_tokens"])}
    kinds = [BYTE if token in outside else NORMAL for token in tokens]
    again = merges_of(tokens, kinds, [scores[token] for token in tokens])
    return scores if set(again) == set(merges) and grouped(merges) else None


def grouped(merges: Sequence[tuple[str, ...]]) -> bool:
    """Whether all merges to a piece stand together."""
    pieces = [left + right for left, right in merges]
    changes = sum(one != other for one, other in itertools.pairwise(pieces))
    return not pieces or changes + 1 == len(set(pieces))
