r"""Golds as data sets have them: the answer is found in them, or the reason why there is none."""

from decimal import Decimal
from typing import Any

import pytest

from rewards.golds import BadGold, texts_of, unreadable
from rewards.math.worker import is_gold


def nested(levels: int) -> Any:
    return ["x"] if not levels else [{"answer": nested(levels - 1)}]


@pytest.mark.parametrize(
    ("value", "golds"),
    [
        (" 5 ", ["5"]),
        (42, ["42"]),
        (42.0, ["42"]),
        (0.25, ["0.25"]),
        (Decimal("0.250"), ["0.250"]),
        (10**18, ["1000000000000000000"]),
        (True, ["Yes", "True"]),
        ("#### 1,234", ["1234"]),
        ("a\n#### $1,234.50", ["$1234.50"]),
        ("3*14=42\n#### 42\nThe answer is: 42", ["42"]),
        ("so\n#### (3, 5)", ["(3, 5)"]),
        ("####" + " " * 200_000 + "#x", ["####" + " " * 200_000 + "#x"]),
        ("1,2,3", ["1,2,3"]),
        ("1,072", ["1072"]),
        (r"There are $3\cdot 14=\boxed{42}$ trees, not \boxed.", ["42"]),
        ("<think>\n\\boxed{1}\n</think>\n#### Step 1\nhalve it\n\\boxed{\\frac{1}{2}}", [r"\frac{1}{2}"]),
        ("<think>hm</think><answer> 12 </answer>", ["12"]),
        ("We add them up.\nThe answer is: 7", ["7"]),
        ("[0, 1]", ["[0, 1]"]),
        (["42", "forty-two", 42], ["42", "forty-two"]),
        ('["\\\\frac{1}{2}", "0.5"]', [r"\frac{1}{2}", "0.5"]),
        ({"ground_truth": "5", "style": "rule"}, ["5"]),
        ("the set of all primes", ["the set of all primes"]),
    ],
)
def test_the_answer_is_found(value: Any, golds: list[str]) -> None:
    assert list(texts_of(value)) == golds


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null"),
        (float("nan"), "NaN"),
        (float("inf"), "infinite"),
        ("", "empty"),
        ("####  ", "empty"),
        ([], "an empty list"),
        ([["1"]], "a list of lists"),
        (nested(400), "nested too deeply"),
        ({"a": 1}, r"an object \(a\)"),
        ("NaN", "stands for none"),
        ("Proof", "stands for none"),
        ("<think>\nstill at it", "a thinking that does not end"),
        (
            "There are three fields with fourteen trees each so that one counts forty-two trees in all.",
            "no final answer",
        ),
    ],
)
def test_what_is_no_answer_has_a_reason(value: Any, reason: str) -> None:
    with pytest.raises(BadGold, match=reason):
        texts_of(value)


def test_numbers_and_words_are_read_without_a_process() -> None:
    assert unreadable(["1", "-2.5", "1/3", "two", "no solution", "7\0", "8" * 5000]).keys() == {
        "7\0",
        "8" * 5000,
    }


@pytest.mark.integration
def test_what_the_math_grader_cannot_read_is_found() -> None:
    assert all(is_gold("", words)[0] for words in ("two", "no solution", "Paris", "x", "the set of all primes"))
    good = [
        r"\frac{1}{2}",
        "x=1",
        "Paris",
        r"(1, 2)",
        "3 apples",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        "no solution",
    ]
    bad = [r"\frac{1}{", "https://x.y", "def f(): return 1", "{'a': 3}"]
    assert set(unreadable([*good, *bad])) == set(bad)
