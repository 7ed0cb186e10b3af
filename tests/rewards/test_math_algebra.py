"""Expressions by their values: at points of either sign that are the pair's own, the same in every process."""

import subprocess
import sys
from pathlib import Path

import pytest

from rewards.math import algebra, latex, normalize
from rewards.math.tree import Undefined
from rewards.math.worker import compare_pair

ROOT = Path(__file__).resolve().parents[2]

# Equal for positive numbers only
BRANCHES = [
    ("y=|x|", "y=x"),
    ("|x|", "x"),
    (r"\sqrt{x^2}", "x"),
    (r"\sqrt{x^2y^2}", "xy"),
    ("|xy|", "xy"),
    ("|x|y", "xy"),
    ("|x||y|z", "xyz"),
    (r"\max(x,0)", "x"),
    ("y=|x|+1", "y=x+1"),
    (r"\sqrt[4]{x^4}", "x"),
    (r"\frac{|x|}{x}", "1"),
]


@pytest.mark.parametrize("pair", BRANCHES)
def test_branches_are_told_apart(pair: tuple[str, str]) -> None:
    for k in range(40):  # each its own points
        one, other = (f"{side}+{k}a" for side in pair)
        if "=" in one:
            one, other = (f"{side}+{k}a" for side in pair)
        assert compare_pair(one, other)[0] is False and compare_pair(other, one)[0] is False


def test_every_variable_has_both_signs_and_every_pair_of_them_all_four() -> None:
    found = list(algebra.points(["x", "y"], "seed", algebra.POINTS, True))
    assert {(point["x"] > 0, point["y"] > 0) for point in found} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert len({point["x"] for point in found}) == algebra.POINTS


def test_the_points_are_the_pairs_own() -> None:
    one, other, third = (latex.parse(text) for text in ("x+1", "x+2", "x+3"))
    assert algebra.seed_of(one, other) == algebra.seed_of(other, one) != algebra.seed_of(one, third)


@pytest.mark.integration
def test_another_process_has_the_same_points() -> None:
    code = (
        "from rewards.math import algebra, latex;"
        "seed = algebra.seed_of(latex.parse('x^2'), latex.parse('y'));"
        "print(seed, algebra.point('x', algebra.PRIMES[0], seed), list(algebra.points(['x'], seed, 12, True)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": str(n), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for n in range(2)
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("text", [r"\infty+1", r"2\infty", r"\infty-\infty", r"\ln 0", r"\sqrt{\infty}", "1/0", "0^0"])
def test_infinity_and_poles_have_no_value(text: str) -> None:
    with pytest.raises(Undefined):
        algebra.constant(latex.parse(text))


def test_exponents_stay_where_they_are_beside_other_characters() -> None:
    """Superscript characters run together into one exponent; braces of LaTeX do not."""
    for text, plain in (
        ("x⁻¹", "x^{-1}"),
        ("x¹²", "x^{12}"),
        ("a₁₂", "a_{12}"),
        (r"{(2)}^{3}·5", r"{(2)}^{3}\cdot 5"),
        (r"\sum_{k＝１}^{3} k", r"\sum_{k=1}^{3} k"),
    ):
        assert normalize.to_ascii(text).replace(" ", "") == plain.replace(" ", "")
    assert compare_pair(normalize.clean("{(2)}^{3}·5"), "235")[0] is False
