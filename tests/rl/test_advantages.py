"""Advantages, the choice of groups with signal, and the overlong penalty, as numbers."""

import math

import numpy as np
import pytest

from rewards.verdict import Reward
from srm_ray.rl.advantages import group_advantages, has_signal, with_advantages
from tests.rl.random_groups import random_group


def test_with_the_groups_standard_deviation():
    # mean .25, population std sqrt(.25 * .75)
    found = group_advantages([1, 0, 0, 0])
    std = math.sqrt(0.1875)
    assert found == pytest.approx([0.75 / std, *[-0.25 / std] * 3], rel=1e-5)
    assert found.sum() == pytest.approx(0, abs=1e-6)


def test_without_it():
    assert group_advantages([1.1, 0.1, 0.0, 1.0], normalise_std=False) == pytest.approx([0.55, -0.45, -0.55, 0.45])


def test_equal_rewards_give_zero_and_not_a_division_by_zero():
    assert group_advantages([0.3, 0.3, 0.3]) == pytest.approx([0, 0, 0], abs=1e-9)


def test_undecided_completion_is_left_out_of_mean_and_spread():
    found = group_advantages([1, 0, 0, 0], decided=[True, True, False, False])
    assert found == pytest.approx([1, -1, 0, 0], rel=1e-5)
    assert group_advantages([1, 0], decided=[False, False]).tolist() == [0, 0]


@pytest.mark.parametrize("normalise_std", [True, False])
def test_equal_rewards_give_equal_advantages_at_any_length(normalise_std):
    """A correct completion of 2,000 tokens earns what a correct one of 20 does."""
    group = random_group(np.random.default_rng(0), 0, 4, (20, 2000, 300, 1), correct=(True, True, False, False))
    short, long, wrong, brief = with_advantages(group, normalise_std=normalise_std).advantages  # type: ignore[misc]
    assert short == long > 0
    assert wrong == brief < 0


@pytest.mark.parametrize(
    ("correct", "kept"),
    [
        ((True, False), True),
        ((True, True), False),
        ((False, False), False),
        ((True, None), False),
        ((False, True, None), True),
        ((None, None), False),
    ],
)
def test_signal_is_some_right_and_some_wrong(correct, kept):
    assert has_signal([Reward(0.0, right, "correct") for right in correct]) is kept


def test_signal_is_correctness_alone():
    """A format reward that differs within the group is no reason to keep it."""
    assert not has_signal([Reward(1.1, True, "correct"), Reward(1.0, True, "correct")])
