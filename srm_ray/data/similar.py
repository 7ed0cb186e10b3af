"""How often a problem will be solved, from how often problems of similar text were: ridge regression with a kernel.

    text -> counts of its bytes' pairs, hashed -> weighted by rarity, of length 1: x
    k(x, y) = ((1 + x . y) / 2)^4;  rate(x) = m + k(x, X) (k(X, X) + I)^-1 (rates - m)

X are the texts that were graded last, m the mean of their rates: the mean of a Gaussian process (Rasmussen and
Williams, 2006, eq. 2.25) whose noise has the spread of its prior, so that texts that tell nothing predict the mean. The
fourth power sees four pairs at once: what makes a sum hard is which digits meet.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH = 256  # of a text's counts
REMEMBERED = 500  # graded groups that are regressed on
CACHED = 32768  # texts' counts
POWER = 4
LOWEST, HIGHEST = 0.02, 0.98


def counts(text: str) -> np.ndarray:
    """[WIDTH], of pairs of neighbouring bytes."""
    codes = np.frombuffer(f" {text} ".encode(), np.uint8).astype(np.int64)
    return np.bincount((codes[:-1] * 167 + codes[1:]) % WIDTH, minlength=WIDTH).astype(np.float64)


@dataclass
class Similar:
    """Of one source's problems. graded: row and rate of each group, the oldest first."""

    graded: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    seen: "OrderedDict[int, np.ndarray]" = field(default_factory=OrderedDict, repr=False)
    fitted: "tuple[np.ndarray, np.ndarray, np.ndarray, float] | None" = field(default=None, repr=False)

    def add(self, row: int, rate: float) -> None:
        self.graded.append((row, rate))
        self.fitted = None

    def rates(self, rows: Sequence[int], text: Callable[[int], str]) -> np.ndarray | None:
        """What is expected of each of `rows`; None where nothing was graded. text: of a row."""
        if not self.graded:
            return None
        if self.fitted is None:
            self.fitted = self._fit(text)
        rarity, known, weights, mean = self.fitted
        found = mean + kernel(self._placed(rows, text, rarity), known) @ weights
        return np.clip(found, LOWEST, HIGHEST)

    def _fit(self, text: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        raw = np.stack([self._counts(row, text) for row, _ in self.graded])
        rarity = np.log(len(raw) / np.maximum(1, (raw > 0).sum(0)))
        rates = np.asarray([rate for _, rate in self.graded])
        known = self._placed([row for row, _ in self.graded], text, rarity)
        mean = float(rates.mean())
        weights = np.linalg.solve(kernel(known, known) + np.eye(len(known)), rates - mean)
        return rarity, known, weights, mean

    def _placed(self, rows: Sequence[int], text: Callable[[int], str], rarity: np.ndarray) -> np.ndarray:
        weighted = np.stack([self._counts(row, text) for row in rows]) * rarity
        return weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)

    def _counts(self, row: int, text: Callable[[int], str]) -> np.ndarray:
        if (known := self.seen.get(row)) is None:
            known = self.seen[row] = counts(text(row))
            if len(self.seen) > CACHED:
                self.seen.popitem(last=False)
        return known


def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return ((1.0 + left @ right.T) / 2.0) ** POWER
