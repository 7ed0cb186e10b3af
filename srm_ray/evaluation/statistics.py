r"""Shares, pass@k, maj@k and their intervals. Pure functions of the graded samples.

pass@k: unbiased, `1 - C(n - c, k) / C(n, k)` of n samples with c correct (Chen et al. 2021, equation 1).
maj@k: the answer most often given by k samples, mathematically equal answers counted as one; of answers that tie,
each has the same chance. Estimated over the n // k blocks of consecutive samples, which are independent.
Intervals of means over problems, and of paired differences: percentile bootstrap over problems (Efron 1979), seeded.
"""

import math
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from srm_ray.intervals import Share, wilson

RESAMPLES = 10_000


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that one of k of the n samples is correct. Raises ValueError unless 1 <= k <= n."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n, got k {k} and n {n}")
    if n - correct < k:
        return 1.0
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def powers_up_to(n: int) -> list[int]:
    """1, 2, 4, ... below n, then n: the k that are reported."""
    found = [1 << power for power in range(n.bit_length()) if 1 << power < n]
    return [*found, n]


async def votes(answers: Sequence[str | None], same: Callable[[str, str], Awaitable[bool]]) -> list[int | None]:
    """For each answer the number of its class, counted from 0 in order of appearance; None for no answer.

    same: whether two answers are one. Each new answer is compared with one of each class.
    """
    classes: list[str] = []
    found: list[int | None] = []
    for answer in answers:
        if answer is None:
            found.append(None)
            continue
        number = 0
        while number < len(classes) and classes[number] != answer and not await same(classes[number], answer):
            number += 1
        if number == len(classes):
            classes.append(answer)
        found.append(number)
    return found


def majority(classes: Sequence[int | None], correct: Sequence[bool]) -> float:
    """Chance that the answer most often given is right: 0 or 1, or a share where answers tie."""
    counts: dict[int, int] = {}
    right: dict[int, bool] = {}
    for number, is_right in zip(classes, correct, strict=True):
        if number is not None:
            counts[number] = counts.get(number, 0) + 1
            right[number] = right.get(number, False) or is_right
    if not counts:
        return 0.0
    most = max(counts.values())
    tied = [number for number, count in counts.items() if count == most]
    return sum(right[number] for number in tied) / len(tied)


def maj_at_k(classes: Sequence[int | None], correct: Sequence[bool], k: int) -> float:
    """Mean of `majority` over the blocks of k samples."""
    blocks = len(classes) // k
    return sum(majority(classes[b * k : b * k + k], correct[b * k : b * k + k]) for b in range(blocks)) / blocks


def mean_share(values: Sequence[float], *, seed: int) -> Share:
    """Mean of one value a problem, with its 95 % interval: Wilson's where all are 0 or 1, else bootstrap."""
    if all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values))
    return mean_of(values, seed=seed)


def mean_of(values: Sequence[float], *, seed: int) -> Share:
    """Mean of one value a problem, of any size, with its 95 % bootstrap interval."""
    low, high = bootstrap(values, seed=seed)
    return Share(float(np.mean(values)), low, high, len(values))


def bootstrap(values: Sequence[float], *, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean of `values`. Equal values are drawn together (multinomial)."""
    distinct, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    n = int(counts.sum())
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [generator.multinomial(n, counts / n, size=500) @ distinct / n for _ in range(RESAMPLES // 500)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
