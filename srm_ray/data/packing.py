"""Token sequences to rows of one length, packed so that documents never attend to each other.

    sequences (ids, mask) -> pack -> Rows [R, L] -> batch of rows -> model(input_ids, position_ids)

Position ids restart at 0 with each document; transformers' attention masks, flash attention's
variable-length path included, are made from where they restart. Padding is a document of its own
that carries no loss. The unit of reading is the row: step n of a run reads the rows that
(seed, n) name, so resuming needs a counter and nothing else.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from srm_ray.files.faults import writing_to

Sequence_ = tuple[Sequence[int] | np.ndarray, Sequence[bool] | np.ndarray]


@dataclass(frozen=True, slots=True)
class Rows:
    """Packed rows.

    tokens: token ids, 0 where padded. Shape [R, L], int32.
    positions: position in the document, restarting at 0. Shape [R, L], int32.
    mask: True where the token is a target of the loss; never the first token of a document,
        which nothing predicts. Shape [R, L], bool.
    """

    tokens: np.ndarray
    positions: np.ndarray
    mask: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, index: Any) -> "Rows":
        """The rows that `index` (anything NumPy indexes with) selects."""
        return Rows(self.tokens[index], self.positions[index], self.mask[index])

    @property
    def targets(self) -> int:
        """Number of tokens with loss."""
        return int(self.mask.sum())


def concatenate(parts: Sequence[Rows]) -> Rows:
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS))


def pack(sequences: Iterable[Sequence_], length: int, *, open_rows: int = 32) -> Rows:
    """Rows of `length` tokens, see `packed`."""
    return to_rows(list(packed(sequences, length, open_rows=open_rows)), length)


def packed(sequences: Iterable[Sequence_], length: int, *, open_rows: int = 32) -> Iterator[list[Sequence_]]:
    """First-fit packing into rows of `length` tokens, in order, keeping `open_rows` rows open; the
    sequences of each row as it is finished.

    Raises ValueError for a sequence longer than a row: what to do with it (drop and count, or
    split) is the caller's to say.
    """
    rows: list[list[Sequence_]] = []
    left: list[int] = []
    for ids, mask in sequences:
        size = len(ids)
        if size > length:
            raise ValueError(f"a sequence of {size} tokens does not fit a row of {length}")
        for place, free in enumerate(left):
            if free >= size:
                rows[place].append((ids, mask))
                left[place] -= size
                break
        else:
            rows.append([(ids, mask)])
            left.append(length - size)
        if len(rows) > open_rows:
            fullest = min(range(len(left)), key=left.__getitem__)
            yield rows.pop(fullest)
            left.pop(fullest)
    yield from rows


def to_rows(groups: Sequence[Sequence[Sequence_]], length: int) -> Rows:
    """One row for each group of sequences, which must fit."""
    tokens = np.zeros((len(groups), length), np.int32)
    positions = np.zeros((len(groups), length), np.int32)
    mask = np.zeros((len(groups), length), bool)
    for row, group in enumerate(groups):
        start = 0
        for ids, trained in group:
            end = start + len(ids)
            tokens[row, start:end] = ids
            positions[row, start:end] = np.arange(len(ids))
            mask[row, start:end] = trained
            mask[row, start] = False
            start = end
        positions[row, start:] = np.arange(length - start)
    return Rows(tokens, positions, mask)


def documents(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The (ids, mask) of every packed document, padding left out (a last document without loss
    that is all zeros is padding)."""
    for tokens, positions, mask in zip(rows.tokens, rows.positions, rows.mask, strict=True):
        starts = [*np.flatnonzero(positions == 0), len(tokens)]
        for start, end in pairwise(starts):
            if tokens[start:end].any() or mask[start:end].any():
                yield tokens[start:end], mask[start:end]


FIELDS = ("tokens", "positions", "mask")


def save_rows(rows: Rows, folder: Path) -> None:
    """Write one `.npy` for each field, so that reading maps the files instead of loading them."""
    for name in FIELDS:
        with writing_to(folder / f"{name}.npy"):
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{name}.npy", getattr(rows, name))


class RowWriter:
    """Writes the files of `save_rows` row by row, so that rows need not fit into memory.

    Whole when closed: the number of rows is put into the files' headers last.
    """

    def __init__(self, folder: Path, length: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.length, self.count = length, 0
        self._held: list[list[Sequence_]] = []
        self._files = {name: (folder / f"{name}.npy").open("wb") for name in FIELDS}
        self._header()

    def add(self, group: list[Sequence_]) -> None:
        """Append the row of these sequences."""
        self._held.append(group)
        if len(self._held) == 256:
            self._write()

    def close(self) -> None:
        self._write()
        for file in self._files.values():
            file.seek(0)
        self._header()
        for file in self._files.values():
            file.close()

    def _write(self) -> None:
        rows = to_rows(self._held, self.length)
        for name, file in self._files.items():
            file.write(getattr(rows, name).tobytes())
        self.count += len(rows)
        self._held = []

    def _header(self) -> None:
        # NumPy pads the header for the first axis to grow, so that the last one written fits the first one's place.
        for name, file in self._files.items():
            descr = np.lib.format.dtype_to_descr(np.dtype(bool if name == "mask" else np.int32))
            info = {"descr": descr, "fortran_order": False, "shape": (self.count, self.length)}
            np.lib.format.write_array_header_1_0(file, info)


def open_rows(folder: Path) -> Rows:
    """The rows of `save_rows`, memory-mapped."""
    return Rows(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in FIELDS))


@functools.lru_cache(maxsize=2)
def row_order(rows: int, epoch: int, seed: int) -> np.ndarray:
    """The order in which an epoch reads its rows: a permutation fixed by (seed, epoch)."""
    digest = hashlib.blake2b(f"rows/{seed}/{epoch}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest)).permutation(rows)


def batch_rows(rows: int, step: int, batch: int, seed: int, *, shuffle: bool = True) -> np.ndarray:
    """Indices of the `batch` rows of step `step` (from 0), running over epochs without a gap."""
    wanted = np.arange(step * batch, (step + 1) * batch)
    epochs, places = wanted // rows, wanted % rows
    if not shuffle:
        return places
    orders = {epoch: row_order(rows, int(epoch), seed) for epoch in np.unique(epochs)}
    return np.array([orders[epoch][place] for epoch, place in zip(epochs, places, strict=True)])


def rows_fingerprint(rows: Rows) -> str:
    """Hash of the rows' content: equal for equal training data."""
    digest = hashlib.sha256()
    for name in FIELDS:
        for start in range(0, len(rows), 4096):
            digest.update(np.ascontiguousarray(getattr(rows, name)[start : start + 4096]).tobytes())
    return digest.hexdigest()[:16]
