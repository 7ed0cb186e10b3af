"""Problems drawn by how often they are solved: which problem of a finite source each prompt index gets.

    graded groups -> right and seen of each problem -> weight: the chance that its next group says something
        next indices: a share in the usual order, whatever is known; the others by weight

The weight of a problem solved with probability p is 1 - p^G - (1 - p)^G, the chance that a group of G has right and
wrong completions (DAPO's choice, arXiv 2503.14476, eq. 11). What is solved is hardly drawn, what failed comes again now
and then, what was never tried comes first. p is (right + 1/4) / (seen + 1/2) over counts of which each visit forgets a
share.

An index keeps its problem until it is graded, so that one drawn again is the same; from the cursor on, problems are
chosen anew after every step. Choices depend on seed, index and rates alone, and all of it is saved with the run.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from srm_ray.config.data import DifficultyConfig
from srm_ray.rl.types import Group

TRIES = 16  # for a problem that is not under way yet; then one is asked twice in a step
SOLVED, FAILED = 0.9, 0.1  # rates from which on problems are counted so


@dataclass
class Rates:
    """Of one source's problems, [P] each."""

    right: np.ndarray
    seen: np.ndarray
    cumulated: np.ndarray | None = field(default=None, repr=False)  # of the weights; None: to be made

    @classmethod
    def unknown(cls, count: int) -> "Rates":
        return cls(np.zeros(count), np.zeros(count))

    @property
    def rate(self) -> np.ndarray:
        """1/2 for a problem that was never tried."""
        return (self.right + 0.25) / (self.seen + 0.5)

    def weights(self, group_size: int) -> np.ndarray:
        return 1.0 - self.rate**group_size - (1.0 - self.rate) ** group_size

    def pick(self, draw: float, group_size: int) -> int:
        """draw: in [0, 1)."""
        if self.cumulated is None:
            self.cumulated = np.cumsum(self.weights(group_size))
        return int(np.searchsorted(self.cumulated, draw * self.cumulated[-1], side="right"))

    def add(self, row: int, right: int, seen: int, forget: float) -> None:
        self.right[row] = (1.0 - forget) * self.right[row] + right
        self.seen[row] = (1.0 - forget) * self.seen[row] + seen
        self.cumulated = None


class Difficulty:
    """options: what a run asks for. group_size: G."""

    def __init__(self, options: DifficultyConfig, *, seed: int, group_size: int):
        self.options, self.seed, self.group_size = options, seed, group_size
        self.rates: dict[str, Rates] = {}
        self.assigned: dict[int, tuple[str, int]] = {}  # of indices that have not been graded: source and problem

    def row(self, index: int, source: str, count: int, usual: Callable[[], int]) -> int:
        """The problem, 0 to count - 1, that prompt `index` asks. usual: the one that the usual order has for it."""
        rates = self.rates.setdefault(source, Rates.unknown(count))
        if index not in self.assigned:
            self.assigned[index] = (source, self._choose(index, source, rates, usual))
        return self.assigned[index][1]

    def _choose(self, index: int, source: str, rates: Rates, usual: Callable[[], int]) -> int:
        draw = random.Random(f"difficulty/{self.seed}/{index}")
        if draw.random() < self.options.everything:
            return usual()
        under_way = {row for name, row in self.assigned.values() if name == source}
        for _ in range(TRIES):
            row = rates.pick(draw.random(), self.group_size)
            if row not in under_way:
                break
        return row

    def observe(self, groups: Iterable[Group], cursor: int) -> None:
        """Count the grades of a step. Problems are chosen anew for indices from `cursor` on.

        Completions that no grader could decide do not count.
        """
        for group in groups:
            if (known := self.assigned.pop(group.prompt.index, None)) is None:
                continue
            decided = [reward.correct for reward in group.rewards if reward.correct is not None]
            if decided:
                self.rates[known[0]].add(known[1], sum(decided), len(decided), self.options.forget)
        self.assigned = {index: known for index, known in self.assigned.items() if index < cursor}

    def describe(self) -> dict[str, float]:
        """Shares of all problems."""
        rate = np.concatenate(
            [np.where(one.seen > 0, one.rate, np.nan) for one in self.rates.values()] or [np.zeros(0)]
        )
        if not len(rate):
            return {}
        return {
            "difficulty/tried": float(np.mean(~np.isnan(rate))),
            "difficulty/solved": float(np.mean(rate >= SOLVED)),
            "difficulty/failed": float(np.mean(rate <= FAILED)),
        }

    def to_plain(self) -> dict[str, Any]:
        return {
            "rates": {
                name: {
                    "count": len(one.seen),
                    "tried": {int(row): [one.right[row], one.seen[row]] for row in np.flatnonzero(one.seen)},
                }
                for name, one in self.rates.items()
            },
            "assigned": [[index, source, row] for index, (source, row) in sorted(self.assigned.items())],
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """As `to_plain` gave it; {} goes back to the beginning."""
        self.rates = {}
        for name, saved in plain.get("rates", {}).items():
            one = self.rates[name] = Rates.unknown(saved["count"])
            for row, (right, seen) in saved["tried"].items():
                one.right[int(row)], one.seen[int(row)] = right, seen
        self.assigned = {int(index): (source, int(row)) for index, source, row in plain.get("assigned", [])}
