"""What became of the rows of a data set, as it is said when they have been read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from srm_ray.data.drops import Drops

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


@dataclass(slots=True)
class Report:
    """read, kept: how many, of what `unit` and `kept_unit` name. tokens: by source. schemas, unread, notes: rows that
    were read so, that have that column, of which that must be said."""

    kept: int = 0
    drops: Drops = field(default_factory=Drops)
    tokens: Counter[str] = field(default_factory=Counter)
    schemas: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    unit: str = "rows"
    kept_unit: str = "examples"

    def add(self, row: Rendered) -> None:
        """One row more is read, and dropped where it has a reason."""
        self.drops.read += 1
        if row.schema:
            self.schemas[row.schema] += 1
        self.unread.update(row.unread)
        self.notes.update(row.notes)
        if row.reason:
            self.drops.add(row.reason, row.where, asked=row.asked)

    @property
    def dropped(self) -> Counter[str]:
        """By reason."""
        return self.drops.counts

    def __str__(self) -> str:
        kept = f"{self.kept:,} {self.kept_unit} of {self.drops.read:,} {self.unit} kept"
        return f"{kept}, {sum(self.tokens.values()):,} tokens; dropped: {self.drops}"

    def lines(self) -> list[str]:
        """All there is to say: what was kept and dropped, how rows were read, what of them plays no part."""
        said = [str(self)]
        if self.schemas:
            said.append(f"read as {self._counted(self.schemas)}")
        if self.unread:
            said.append(f"not used, of the rows' fields: {self._counted(self.unread)}")
        said += [f"{count:,} of {self.drops.read:,} {self.unit}: {note}" for note, count in self.notes.most_common()]
        return said

    def _counted(self, names: Counter[str]) -> str:
        """The names, with how many rows have each where not all of them have it."""
        return ", ".join(
            name if count == self.drops.read else f"{name} ({count:,})" for name, count in names.most_common(20)
        )
