"""Problems drawn by how often they are solved: which problem of a finite source each prompt index gets.

    graded groups -> right and seen of each problem -> the chance that its next group says something
        next indices: a share in the usual order, whatever is known; for each other the best of some drawn at random

A problem's success rate is taken to be Beta(right + c m, wrong + c (1 - m)), m the rate that problems of similar text
had of late (srm_ray.data.similar), c = 16 completions. A group of G has right and wrong completions (DAPO's choice,
arXiv 2503.14476, eq. 11) with the chance 1 - E[p^G] - E[(1 - p)^G]. So what is solved is hardly drawn, and what was
never tried is judged by what it looks like. Each step forgets a share of all grades: what failed is tried again in
the end.

The best of 64 and not of all: one problem does not come in every step, and the choice costs the same in a source of
any size. An index keeps its problem until it is graded, so that one drawn again is the same; from the cursor on,
problems are chosen anew after every step. Choices depend on seed, index and rates alone, and all of it is saved with
the run.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from srm_ray.config.data import DifficultyConfig
from srm_ray.data.similar import Similar
from srm_ray.rl.types import Group

CANDIDATES = 64  # of which the best is taken
PRIOR = 16.0  # completions that what similar problems reached counts for beside a problem's own grades
SOLVED, FAILED = 0.9, 0.1  # rates from which on problems are counted so


@dataclass
class Rates:
    """Of one source's problems, [P] each; and what was graded last of them."""

    right: np.ndarray
    seen: np.ndarray
    similar: Similar = field(default_factory=Similar)

    @classmethod
    def unknown(cls, count: int) -> "Rates":
        return cls(np.zeros(count), np.zeros(count))

    def signal(self, rows: Sequence[int], expected: np.ndarray | float, group_size: int) -> np.ndarray:
        """For each of `rows`, the chance of right and wrong completions in a group: [rows]. expected: m, of each."""
        own = np.asarray(rows)
        right = self.right[own] + PRIOR * expected
        wrong = self.seen[own] - self.right[own] + PRIOR * (1.0 - expected)
        place = np.arange(group_size)[:, None]
        all_right = ((right + place) / (right + wrong + place)).prod(0)
        all_wrong = ((wrong + place) / (right + wrong + place)).prod(0)
        return 1.0 - all_right - all_wrong

    def forget(self, share: float) -> None:
        self.right *= 1.0 - share
        self.seen *= 1.0 - share


class Difficulty:
    """options: what a run asks for. group_size: G."""

    def __init__(self, options: DifficultyConfig, *, seed: int, group_size: int):
        self.options, self.seed, self.group_size = options, seed, group_size
        self.rates: dict[str, Rates] = {}
        self.assigned: dict[int, tuple[str, int]] = {}  # of indices that have not been graded: source and problem

    def row(self, index: int, source: str, count: int, usual: Callable[[], int], text: Callable[[int], str]) -> int:
        """The problem, 0 to count - 1, that prompt `index` asks.

        usual: the one that the usual order has for it. text: what a problem says.
        """
        rates = self.rates.setdefault(source, Rates.unknown(count))
        if index not in self.assigned:
            self.assigned[index] = (source, self._choose(index, source, rates, usual, text))
        return self.assigned[index][1]

    def _choose(
        self, index: int, source: str, rates: Rates, usual: Callable[[], int], text: Callable[[int], str]
    ) -> int:
        draw = random.Random(f"difficulty/{self.seed}/{index}")
        if draw.random() < self.options.everything:
            return usual()
        under_way = {row for name, row in self.assigned.values() if name == source}
        rows = [draw.randrange(len(rates.seen)) for _ in range(CANDIDATES)]
        # Where all of them are under way, one is asked twice in a step.
        rows = [row for row in rows if row not in under_way] or rows
        expected = rates.similar.rates(rows, text)
        return rows[int(np.argmax(rates.signal(rows, 0.5 if expected is None else expected, self.group_size)))]

    def observe(self, groups: Iterable[Group], cursor: int) -> None:
        """Count the grades of a step. Problems are chosen anew for indices from `cursor` on.

        Completions that no grader could decide do not count.
        """
        for rates in self.rates.values():
            rates.forget(self.options.forget)
        for group in groups:
            if (known := self.assigned.pop(group.prompt.index, None)) is None:
                continue
            decided = [reward.correct for reward in group.rewards if reward.correct is not None]
            rates, row = self.rates[known[0]], known[1]
            if decided:
                rates.right[row] += sum(decided)
                rates.seen[row] += len(decided)
                rates.similar.add(row, sum(decided) / len(decided))
        self.assigned = {index: known for index, known in self.assigned.items() if index < cursor}

    def describe(self) -> dict[str, float]:
        """Shares of all problems."""
        rate = np.concatenate(
            [
                np.divide(one.right, one.seen, out=np.full(len(one.seen), np.nan), where=one.seen > 0)
                for one in self.rates.values()
            ]
            or [np.zeros(0)]
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
                    "graded": list(one.similar.graded),
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
            one.similar.graded.extend((row, rate) for row, rate in saved.get("graded", []))
        self.assigned = {int(index): (source, int(row)) for index, source, row in plain.get("assigned", [])}
