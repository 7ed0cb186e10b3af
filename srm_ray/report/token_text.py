"""The text of single tokens, read from a `tokenizer.json` without loading a tokenizer library.

A token is a run of bytes: a character may be spread over several tokens, so bytes are what the page gets.
Two families are understood: byte-level BPE (GPT-2, Qwen, Llama 3 and this project's own), whose vocabulary
writes each byte as a printable character, and SentencePiece's, with `▁` for a space and `<0x0A>` for a byte.
"""

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenText:
    """Bytes of each token id."""

    def __init__(self, by_id: dict[int, bytes]):
        self.by_id = by_id

    def spells(self, token_ids: Iterable[int], text: str) -> bool:
        """Whether these tokens read as `text` (tokens after it, such as the stop token, aside).

        Control tokens may be left out of a text, so a text that is not found whole is looked for without
        the spaces at its ends only. False for a tokenizer that is not the run's own.
        """
        spelled = b"".join(self.by_id.get(token, b"") for token in token_ids).decode("utf-8", "replace")
        return text.strip() in spelled

    def of(self, token_ids: Iterable[int]) -> dict[int, str]:
        """Id to bytes, each byte written as the character of the same number (latin-1)."""
        return {token: self.by_id[token].decode("latin-1") for token in token_ids if token in self.by_id}


def read(path: Path) -> TokenText | None:
    """None where the file is missing, cut short, or not a tokenizer's."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return _read(path, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> TokenText | None:
    try:
        return TokenText(_bytes_by_id(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _bytes_by_id(tokenizer: dict[str, Any]) -> dict[int, bytes]:
    vocabulary = tokenizer["model"]["vocab"]
    pairs = vocabulary.items() if isinstance(vocabulary, dict) else ((row[0], i) for i, row in enumerate(vocabulary))
    to_bytes = _byte_level if '"ByteLevel"' in _parts(tokenizer) else _sentencepiece
    by_id = {int(number): to_bytes(token) for token, number in pairs}
    for added in tokenizer.get("added_tokens") or []:
        by_id[int(added["id"])] = added["content"].encode()
    return by_id


def _parts(tokenizer: dict[str, Any]) -> str:
    return json.dumps([tokenizer.get("pre_tokenizer"), tokenizer.get("decoder")])


def _byte_level(token: str) -> bytes:
    table = _byte_of_character()
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    return token.encode()


def _sentencepiece(token: str) -> bytes:
    found = BYTE_TOKEN.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.replace("▁", " ").encode()


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves, the others for 256, 257, ... in order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if chr(byte) not in table]
    return table | {chr(256 + rank): byte for rank, byte in enumerate(others)}
