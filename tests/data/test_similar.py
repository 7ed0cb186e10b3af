"""What is expected of problems from the rates of similar ones: the regression as numbers, and what it makes out."""

import random

import numpy as np
import pytest

from srm_ray.data.similar import REMEMBERED, WIDTH, Similar, counts


def test_it_is_the_mean_of_a_gaussian_process() -> None:
    """One text against three, written out."""
    texts = ["12+30", "12+31", "apples", "12+33"]
    one = Similar()
    for row, rate in enumerate((0.9, 0.7, 0.1)):
        one.add(row, rate)
    raw = np.stack([counts(text) for text in texts])
    rarity = np.array([np.log(3 / max(1, sum(raw[row, place] > 0 for row in range(3)))) for place in range(WIDTH)])
    x = [row * rarity / np.linalg.norm(row * rarity) for row in raw]
    k = np.array([[((1 + a @ b) / 2) ** 4 for b in x[:3]] for a in x])
    mean = (0.9 + 0.7 + 0.1) / 3
    expected = mean + k[3] @ np.linalg.inv(k[:3] + np.eye(3)) @ (np.array([0.9, 0.7, 0.1]) - mean)
    found = one.rates([3], texts.__getitem__)
    assert found is not None and found[0] == pytest.approx(expected)


def test_pairs_of_bytes_are_counted() -> None:
    assert counts("aa aa").sum() == 6  # " a", "aa", "a ", " a", "aa", "a "
    assert sorted(counts("aa aa"))[-3:] == [2, 2, 2]
    assert np.array_equal(counts("12"), counts("12")) and not np.array_equal(counts("12"), counts("21"))


def test_hard_sums_are_told_from_easy_ones_that_were_never_tried() -> None:
    """Sums are hard where the units add up to little or to much: a bend, of which no single digit speaks."""
    draw, dice = random.Random(1), np.random.default_rng(1)
    sums = [tuple(draw.randrange(10, 100) for _ in range(3)) for _ in range(3000)]
    units = np.array([sum(number % 10 for number in numbers) for numbers in sums])
    ability = np.where((units < 7) | (units > 20), 0.5, 0.92)
    one = Similar()
    for row in range(1500):
        one.add(row, dice.binomial(8, ability[row]) / 8)
    found = one.rates(range(1500, 3000), lambda row: "What is " + "+".join(map(str, sums[row])) + "?")
    assert found is not None
    lowest = np.argsort(found)[:75]
    hard = ability[1500:] == 0.5
    assert hard.mean() < 0.25 and hard[lowest].mean() > 2.5 * hard.mean()


def test_texts_that_tell_nothing_are_expected_to_be_as_the_mean() -> None:
    dice = np.random.default_rng(0)
    one = Similar()
    for row in range(400):
        one.add(row, dice.binomial(8, 0.7) / 8)
    found = one.rates(range(400, 800), lambda row: f"{row * 7919 % 9973:04}")
    assert found is not None
    assert found.mean() == pytest.approx(0.7, abs=0.03) and found.std() < 0.06


def test_of_a_source_only_what_was_graded_last_counts() -> None:
    one = Similar()
    assert one.rates([0], str) is None
    for row in range(REMEMBERED + 400):
        one.add(row, 0.0 if row < 400 else 0.8)
    found = one.rates(range(5), str)
    assert len(one.graded) == REMEMBERED and found == pytest.approx(np.full(5, 0.8))
