"""What became of the rows of a data set, as it is reported when they have been read."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from srm_ray.data.drops import Drops

DUPLICATE = "the same as an earlier one, and learned as often (data.drop_duplicates)"

Ids = Sequence[int] | np.ndarray
Mask = Sequence[bool] | np.ndarray
Encoded = tuple[Ids, Mask]  # [T] each, of the tokens and whether they carry loss


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a row became. source: the file or data set that it counts to. where: names the row, as text only where it
    is shown; "" for one that was generated. sequences: of a conversation one or several, of a pair the chosen and the
    rejected one; none where it is dropped, for the `reason` (asked: see `Unusable`). schema, unread, notes: as of
    `conversations.Example`, with what the chat template leaves out."""

    source: str
    where: object = ""
    sequences: tuple[Encoded, ...] = ()
    reason: str = ""
    asked: bool = False
    schema: str = ""
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def fingerprint(sequences: Sequence[Encoded]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for ids, mask in sequences:
        digest.update(np.asarray(ids, np.int64).tobytes() + b"/" + np.asarray(mask, bool).tobytes())
    return digest.digest()


@dataclass(slots=True)
class Report:
    """kept: how many; units: what messages call what is read and kept. tokens: by source. schemas, unread, notes: rows
    that were read so, that have that column, of which that must be reported. seen: digests of the rows so far."""

    kept: int = 0
    drops: Drops = field(default_factory=Drops)
    tokens: Counter[str] = field(default_factory=Counter)
    schemas: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    unit: str = "rows"
    kept_unit: str = "examples"
    drop_duplicates: bool = False
    seen: set[bytes] = field(default_factory=set)

    def add(self, row: Rendered) -> bool:
        """One row more is read; False where it is dropped. One that was generated is no duplicate of another."""
        self.drops.read += 1
        if not row.reason and row.where != "":
            mark = fingerprint(row.sequences)
            if mark in self.seen and self.drop_duplicates:
                row = Rendered(row.source, row.where, reason="duplicates", asked=True)
            elif mark in self.seen:
                self.notes[DUPLICATE] += 1
            self.seen.add(mark)
        if row.schema:
            self.schemas[row.schema] += 1
        self.unread.update(row.unread)
        self.notes.update(row.notes)
        if row.reason:
            self.drops.add(row.reason, row.where, asked=row.asked)
        return not row.reason

    @property
    def dropped(self) -> Counter[str]:
        """By reason."""
        return self.drops.counts

    def __str__(self) -> str:
        kept = f"{self.kept:,} {self.kept_unit} of {self.drops.read:,} {self.unit} kept"
        return f"{kept}, {sum(self.tokens.values()):,} tokens; dropped: {self.drops}"

    def lines(self) -> list[str]:
        """The whole report: what was kept and dropped, how rows were read, what of them plays no part."""
        found = [str(self)]
        if self.schemas:
            found.append(f"read as {self._counted(self.schemas)}")
        if self.unread:
            found.append(f"not used, of the rows' fields: {self._counted(self.unread)}")
        found += [f"{count:,} of {self.drops.read:,} {self.unit}: {note}" for note, count in self.notes.most_common()]
        return found

    def _counted(self, names: Counter[str]) -> str:
        """The names, with how many rows have each where not all of them have it."""
        return ", ".join(
            name if count == self.drops.read else f"{name} ({count:,})" for name, count in names.most_common(20)
        )
