"""Documents on disk: the tokens of each source, and what finds duplicates among all of them.

    add(ids) ... -> close() -> keep(mask) -> tokens(start, length)        one `TokenStore` a source
    add(digest, signature) ... -> close() -> digests, signatures          one `Fingerprints` for all sources

In memory stays a length for each document.
"""

import shutil
from array import array
from pathlib import Path

import numpy as np

from srm_ray.data.screening import HASHES


class TokenStore:
    """Tokens, written once, then read at random. Positions count the tokens of the kept documents alone."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file, self._lengths = path, path.open("wb"), array("q")

    def add(self, ids: bytes) -> None:
        """ids: of one document, int32."""
        self._lengths.append(len(ids) // 4)
        self._file.write(ids)

    def close(self) -> None:
        self._file.close()
        self.lengths = np.array(self._lengths, np.int64)
        self._tokens = mapped(self._path, np.dtype(np.int32))
        self.keep(np.ones(len(self.lengths), bool))

    def keep(self, kept: np.ndarray) -> None:
        """Leave out the documents where `kept` [N] is False."""
        self._starts = (np.cumsum(self.lengths) - self.lengths)[kept]
        self.kept_lengths = self.lengths[kept]
        self._positions = np.cumsum(self.kept_lengths) - self.kept_lengths

    @property
    def total(self) -> int:
        """Tokens of the kept documents."""
        return int(self.kept_lengths.sum())

    def tokens(self, start: int, length: int) -> np.ndarray:
        """`length` ids from position `start`, which lie within one document."""
        document = np.searchsorted(self._positions, start, side="right") - 1
        begin = self._starts[document] + start - self._positions[document]
        return self._tokens[begin : begin + length]


class Fingerprints:
    """What duplicates are found by. digests: [N] of 16 bytes; signatures: [N, 128] of uint32, or empty."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._paths = folder / "digests", folder / "signatures"
        self._files = [path.open("wb") for path in self._paths]

    def add(self, digest: bytes, signature: bytes) -> None:
        for file, content in zip(self._files, (digest, signature), strict=True):
            file.write(content)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self.digests = mapped(self._paths[0], np.dtype("V16"))
        self.signatures = mapped(self._paths[1], np.dtype(np.uint32)).reshape(-1, HASHES)


def mapped(path: Path, kind: np.dtype) -> np.ndarray:
    """A file as an array, left on disk."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
