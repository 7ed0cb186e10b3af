"""The entropy bonus that keeps to a target, and the tokens of high entropy, as numbers."""

import numpy as np
import pytest

from srm_ray.rl.entropy import Bonus, high_entropy


def weights(bonus: Bonus, entropies: list[float]) -> list[float]:
    """Of the step before the first entropy, and of each after one."""
    found = [bonus.weight]
    for entropy in entropies:
        bonus = bonus.after(entropy)
        found.append(bonus.weight)
    return found


def test_without_a_target_it_stays() -> None:
    assert weights(Bonus(0.01), [2.0, 0.1, 0.0]) == [0.01] * 4


def test_it_grows_below_the_target_and_acts_there_alone() -> None:
    """c: 0.01, then 0.006 (above), 0.002, 0.006 (below), 0.01, 0.006 (above: it falls, and does not act)."""
    found = weights(Bonus(0.01, target=0.5, change=0.004), [0.9, 0.6, 0.4, 0.3, 0.7, 0.5])
    assert found == pytest.approx([0.0, 0.0, 0.0, 0.006, 0.01, 0.0, 0.006])


def test_it_never_punishes_entropy() -> None:
    bonus = Bonus(0.001, target=0.5, change=0.01)
    for _ in range(3):
        bonus = bonus.after(0.9)
    assert bonus.coefficient == 0.0
    assert bonus.after(0.5) == Bonus(0.0, 0.5, 0.01, 0.5)


def chosen(entropies: list[list[float]], share: float, masks: list[list[float]] | None = None) -> tuple[list, float]:
    values = [np.array(one, np.float32) for one in entropies]
    counted = [np.array(one, np.float32) for one in masks] if masks else [np.ones_like(one) for one in values]
    found, threshold = high_entropy(values, counted, share)
    assert all(one.dtype == np.float32 for one in found)
    return [one.tolist() for one in found], threshold


def test_the_highest_of_the_whole_update_are_chosen_however_it_is_cut() -> None:
    values = [0.5, 3.0, 0.0, 2.0, 1.0, 0.25, 4.0, 0.125, 1.5, 0.75]
    expected = [0, 1, 0, 1, 0, 0, 1, 0, 0, 0]
    assert chosen([values], 0.3) == ([expected], 2.0)
    assert chosen([values[:1], values[1:7], values[7:]], 0.3) == ([expected[:1], expected[1:7], expected[7:]], 2.0)


@pytest.mark.parametrize(("share", "count"), [(1.0, 10), (0.2, 2), (0.21, 3), (0.01, 1), (0.3, 3)])
def test_the_share_is_rounded_up(share: float, count: int) -> None:
    ((found,), _) = chosen([[float(value) for value in range(10)]], share)
    assert found == [0.0] * (10 - count) + [1.0] * count


def test_masked_tokens_take_nobodys_place() -> None:
    found, threshold = chosen([[9.0, 1.0], [8.0, 2.0, 3.0, 0.5]], 0.5, [[0, 1], [0, 1, 1, 1]])
    assert threshold == 2.0
    assert found == [[1, 0], [1, 1, 1, 0]]  # what is masked is left to its mask
    assert chosen([[1.0]], 0.5, [[0]]) == ([[0]], 0.0)


def test_equal_entropies_are_in_together() -> None:
    assert chosen([[1.0, 1.0, 0.0, 1.0]], 0.25) == ([[1, 1, 0, 1]], 1.0)
