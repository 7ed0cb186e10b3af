"""pass@k, maj@k and intervals, against counting and against hand-computed values."""

import asyncio
import itertools

import numpy as np
import pytest

from srm_ray.evaluation import statistics
from srm_ray.intervals import wilson


@pytest.mark.parametrize(("n", "correct", "k"), [(5, 2, 1), (5, 2, 3), (8, 1, 4), (6, 0, 6), (6, 6, 2), (4, 3, 2)])
def test_pass_at_k_is_the_share_of_all_subsets(n: int, correct: int, k: int) -> None:
    samples = [True] * correct + [False] * (n - correct)
    subsets = list(itertools.combinations(samples, k))
    assert statistics.pass_at_k(n, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_wants_k_among_n() -> None:
    for k in (0, 6):
        with pytest.raises(ValueError, match="1 <= k <= n"):
            statistics.pass_at_k(5, 2, k)


@pytest.mark.parametrize(("n", "ks"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (10, [1, 2, 4, 8, 10])])
def test_reported_k(n: int, ks: list[int]) -> None:
    assert statistics.powers_up_to(n) == ks


def test_equal_answers_vote_together() -> None:
    equal = {frozenset(("1/2", "0.5"))}

    async def same(one: str, other: str) -> bool:
        return frozenset((one, other)) in equal

    assert asyncio.run(statistics.votes(["1/2", None, "3", "0.5", "3"], same)) == [0, None, 1, 0, 1]


def test_majority_of_equal_answers_and_of_ties() -> None:
    # Three different spellings of the right answer outvote two wrong ones that are spelled alike.
    assert statistics.majority([0, 0, 1, 1, 0], [True, True, False, False, True]) == 1.0
    assert statistics.majority([0, 1, 1], [True, False, False]) == 0.0
    assert statistics.majority([0, 1, None], [True, False, False]) == 0.5
    assert statistics.majority([None, None], [False, False]) == 0.0


def test_maj_at_k_is_a_mean_over_blocks() -> None:
    classes, right = [0, 0, 1, 1, 0, 1, 1], [True, True, False, False, True, False, False]
    assert statistics.maj_at_k(classes, right, 3) == pytest.approx((1.0 + 0.0) / 2)  # the seventh fills no block
    assert statistics.maj_at_k(classes, right, 1) == pytest.approx(3 / 7)


def test_share_of_zeros_and_ones_has_wilsons_interval() -> None:
    assert statistics.mean_share([1, 0, 0, 1], seed=0) == wilson(2, 4)
    for n in range(1, 2000):
        assert (wilson(0, n).low, wilson(n, n).high) == (0.0, 1.0)


def test_bootstrap_covers_as_it_says_and_repeats() -> None:
    draw = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        values = draw.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=150)
        low, high = statistics.bootstrap(values.tolist(), seed=trial)
        inside += low <= 0.2 <= high
    assert 180 <= inside <= 199
    assert statistics.bootstrap([0.0, 1.0, 0.5], seed=3) == statistics.bootstrap([0.0, 1.0, 0.5], seed=3)


def test_bootstrap_drawn_together_has_the_variance_of_drawing_one_by_one() -> None:
    values = [0.0] * 60 + [1.0] * 30 + [-1.0] * 10
    low, high = statistics.bootstrap(values, seed=0)
    error = np.std(values) / 10
    assert (high - low) == pytest.approx(2 * 1.96 * error, rel=0.05)
