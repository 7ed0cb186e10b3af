"""Rows that cannot be used: dropped, counted by reason, the first ones named, and refused where they are too many.

a row -> `Unusable(reason)` -> drops.add(reason, "x.jsonl:17") -> drops.check(0.05)
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from srm_ray.errors import UserError

SHOWN = 3  # rows named for each reason


class Unusable(Exception):
    """This row cannot be used; its text is the reason, the same for all rows of a kind.

    asked: that the row's own data, or an option, asks for it to be left out, which is nobody's mistake.
    """

    def __init__(self, reason: str, *, asked: bool = False) -> None:
        super().__init__(reason)
        self.asked = asked


@dataclass(slots=True)
class Drops:
    """What was left out of `read` rows. counts: by reason; asked: of these, the reasons that are nobody's mistake;
    examples: of each reason the first rows, as `x.jsonl:17`."""

    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    asked: set[str] = field(default_factory=set)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, where: object = "", *, asked: bool = False) -> None:
        """One row is dropped. where: names it, and is turned into text only where it is shown."""
        self.counts[reason] += 1
        if asked:
            self.asked.add(reason)
        if where != "" and len(self.examples[reason]) < SHOWN:
            self.examples[reason].append(str(where))

    @property
    def share(self) -> float:
        """Of the rows read, those dropped that nobody asked to drop."""
        return sum(count for reason, count in self.counts.items() if reason not in self.asked) / max(1, self.read)

    def check(self, most: float, option: str = "data.max_dropped") -> None:
        """Raise `UserError` where more than the share `most` of the rows cannot be used."""
        if self.share > most:
            raise UserError(
                f"{self.share:.1%} of {self.read:,} rows cannot be used, more than {option} {most:g} allows: {self}; "
                f"mend the data, or raise --{option}"
            )

    def __str__(self) -> str:
        return ", ".join(self._one(reason) for reason, _ in self.counts.most_common()) or "none"

    def _one(self, reason: str) -> str:
        named = self.examples.get(reason, [])
        more = ", ..." if named and self.counts[reason] > len(named) else ""
        return f"{self.counts[reason]:,} {reason}" + (f" ({', '.join(named)}{more})" if named else "")
