"""What a document must pass: filters, contamination, exact and near duplicates. Pure functions.

    document -> reason to drop it, or "" -> signature -> duplicate of an earlier one?

MinHash with banding (Broder 1997; Leskovec et al., Mining of Massive Datasets, section 3.4): two documents
of Jaccard similarity s share at least one of b bands of r rows with probability 1 - (1 - s^r)^b;
32 bands of 4 rows find .8 with probability 1 - 5e-8, and the estimate over all 128 hashes decides.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

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
    if not text.strip():
        return "empty"
    if len(text) < min_characters:
        return "too short"
    if len(text) > max_characters:
        return "too long"
    if len(text.split()) < min_words:
        return "too few words"
    if len(text) - len(text.encode("ascii", "ignore")) > max_non_ascii * len(text):
        return "non-ASCII"
    return ""


# Contamination


def ngrams(text: str, n: int = NGRAM) -> np.ndarray:
    """64-bit hashes of the runs of `n` words, one for each word that begins one: uint64 [max(0, words - n + 1)].

    A run's hash is a polynomial in its words' hashes, so that a document costs a few array operations.
    """
    hashes = word_hashes(text)
    count = max(0, len(hashes) - n + 1)
    total = np.zeros(count, np.uint64)
    for place in range(n):
        total = total * FACTOR + hashes[place : place + count]
    # The upper bits of a polynomial are its best: fold them down.
    return total ^ (total >> np.uint64(29))


FACTOR = np.uint64(0x9E3779B97F4A7C15)
_hash_of_word: dict[str, int] = {}


def word_hashes(text: str) -> np.ndarray:
    """A 64-bit hash of each word. Words repeat, so those met before are remembered."""
    if len(_hash_of_word) > 1_000_000:
        _hash_of_word.clear()
    found = words(text)
    for word in found:
        if word not in _hash_of_word:
            _hash_of_word[word] = hash64(word)
    return np.fromiter((_hash_of_word[word] for word in found), np.uint64, len(found))


def hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


@dataclass(frozen=True)
class Guard:
    """n-grams of evaluation prompts, sorted; a document that holds one is contaminated."""

    known: np.ndarray

    @staticmethod
    def of(prompts: Iterable[str]) -> "Guard":
        return Guard(np.unique(np.concatenate([np.zeros(0, np.uint64), *(ngrams(prompt) for prompt in prompts)])))

    def contaminated(self, text: str) -> bool:
        if not len(self.known):
            return False
        found = ngrams(text)
        place = np.searchsorted(self.known, found)
        return bool((self.known[np.minimum(place, len(self.known) - 1)] == found).any())


# Duplicates


def minhash(text: str) -> np.ndarray:
    """Signature [128] of the set of 5-word shingles: position by position, two signatures agree with
    probability equal to the sets' Jaccard similarity."""
    shingles = ngrams(text, SHINGLE)
    if not len(shingles):
        shingles = np.array([hash64(" ".join(words(text)))], np.uint64)
    # 32-bit values, so that the products below stay exact in 64 bits.
    values = np.unique(shingles >> np.uint64(32))
    hashed = (values[:, None] * MULTIPLIERS[None, :] + OFFSETS[None, :]) >> np.uint64(32)
    return hashed.min(0).astype(np.uint32)


_draw = np.random.default_rng(20240229)
# Multiply-shift hashing (Dietzfelbinger et al. 1997): odd 64-bit multipliers, the upper half of the product.
MULTIPLIERS = _draw.integers(0, 1 << 63, HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
OFFSETS = _draw.integers(0, 1 << 63, HASHES, np.uint64)


def exact_duplicates(digests: np.ndarray) -> np.ndarray:
    """True [N] for every document whose digest an earlier one has."""
    _, first = np.unique(digests, return_index=True)
    repeated = np.ones(len(digests), bool)
    repeated[first] = False
    return repeated


def near_duplicates(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """True [N] for every document with an earlier one of at least this (estimated) Jaccard similarity.

    signatures: [N, 128], may be mapped from disk: one band is in memory at a time. Of the documents
    that share a band, each is compared with the first and with the one before it.
    """
    pairs = [_sharing(np.ascontiguousarray(signatures[:, band * BAND_ROWS :][:, :BAND_ROWS])) for band in range(BANDS)]
    repeated = np.zeros(len(signatures), bool)
    candidates = np.unique(np.concatenate(pairs), axis=0)
    for start in range(0, len(candidates), 65_536):
        earlier, later = candidates[start : start + 65_536].T
        alike = (signatures[earlier] == signatures[later]).mean(1) >= threshold
        repeated[later[alike]] = True
    return repeated


def _sharing(band: np.ndarray) -> np.ndarray:
    """Pairs [P, 2] (earlier, later) of documents whose rows of a band are equal."""
    keys = band.view(f"V{band.shape[1] * band.itemsize}").ravel()
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    later = order[1:][same]
    before = order[:-1][same]
    starts = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), np.arange(len(order)), 0))
    first = order[starts[1:][same]]
    return np.concatenate([np.stack([before, later], 1), np.stack([first, later], 1)]).reshape(-1, 2)


def digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
