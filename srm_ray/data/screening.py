"""What a document must pass: filters, contamination, exact and near duplicates. Pure functions.

    document -> reason to drop it, or "" -> signature -> duplicate of an earlier one?

MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets, section 3.4): two documents
of Jaccard similarity s share at least one of b bands of r rows with probability 1 - (1 - s^r)^b;
32 bands of 4 rows find .8 with probability 1 - 5e-8, and the estimate over all 128 hashes decides.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

NGRAM = 13
SHINGLE = 5
BANDS, BAND_ROWS = 32, 4
HASHES = BANDS * BAND_ROWS
PRIME = (1 << 61) - 1
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case words, punctuation left out."""
    return WORD.findall(text.lower())


def reason_to_drop(text: str, *, min_characters: int, max_characters: int, min_words: int, max_non_ascii: float) -> str:
    """Why a document is dropped, "" where it is kept."""
    if len(text) < min_characters:
        return "too short"
    if len(text) > max_characters:
        return "too long"
    if len(text.split()) < min_words:
        return "too few words"
    if sum(ord(character) > 127 for character in text) > max_non_ascii * len(text):
        return "non-ASCII"
    return ""


# Contamination


def ngrams(text: str, n: int = NGRAM) -> set[int]:
    """64-bit hashes of every run of `n` words."""
    found = words(text)
    return {hash64(" ".join(found[start : start + n])) for start in range(len(found) - n + 1)}


def hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


@dataclass(frozen=True)
class Guard:
    """n-grams of evaluation prompts; a document that holds one is contaminated."""

    known: frozenset[int]

    @staticmethod
    def of(prompts: Iterable[str]) -> "Guard":
        return Guard(frozenset().union(*(ngrams(prompt) for prompt in prompts)))

    def contaminated(self, text: str) -> bool:
        return bool(self.known) and not self.known.isdisjoint(ngrams(text))


# Duplicates


def minhash(text: str) -> np.ndarray:
    """Signature [128] of the set of 5-word shingles: position by position, two signatures agree with
    probability equal to the sets' Jaccard similarity."""
    found = words(text)
    shingles = {" ".join(found[start : start + SHINGLE]) for start in range(max(1, len(found) - SHINGLE + 1))}
    # 32-bit values, so that the products below stay exact in 64 bits.
    values = np.array([hash64(shingle) & 0xFFFFFFFF for shingle in shingles], np.uint64)
    hashed = (values[:, None] * MULTIPLIERS[None, :] + OFFSETS[None, :]) >> np.uint64(32)
    return hashed.min(0).astype(np.uint32)


_draw = np.random.default_rng(20240229)
# Multiply-shift hashing (Dietzfelbinger et al. 1997): odd 64-bit multipliers, the upper half of the product.
MULTIPLIERS = _draw.integers(0, 1 << 63, HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
OFFSETS = _draw.integers(0, 1 << 63, HASHES, np.uint64)


@dataclass
class Seen:
    """Documents met so far, to tell whether the next one repeats one of them. Order decides which stays."""

    near: float
    exact: bool = True
    digests: set[bytes] = field(default_factory=set)
    signatures: list[np.ndarray] = field(default_factory=list)
    buckets: dict[tuple[int, bytes], list[int]] = field(default_factory=dict)

    def duplicate(self, digest: bytes, signature: np.ndarray | None) -> str:
        """ "exact duplicate", "near duplicate", or "" and the document is remembered."""
        if self.exact and digest in self.digests:
            return "exact duplicate"
        if self.near and signature is not None and self._near(signature):
            return "near duplicate"
        self.digests.add(digest)
        return ""

    def _near(self, signature: np.ndarray) -> bool:
        bands = [(band, signature[band * BAND_ROWS : (band + 1) * BAND_ROWS].tobytes()) for band in range(BANDS)]
        candidates = {index for band in bands for index in self.buckets.get(band, ())}
        if any((self.signatures[index] == signature).mean() >= self.near for index in candidates):
            return True
        for band in bands:
            self.buckets.setdefault(band, []).append(len(self.signatures))
        self.signatures.append(signature)
        return False


def digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
