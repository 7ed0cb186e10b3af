"""Countdown: an expression is right when it has the target's value and uses each number once."""

import random

import pytest

from rewards import countdown

NUMBERS = ("44", "19", "35")


@pytest.mark.parametrize(
    ("completion", "correct", "reason"),
    [
        ("<answer>44+19+35</answer>", True, "correct"),
        (r"\boxed{(44 + 35) + 19 = 98}", True, "correct"),
        ("The answer is 35 + 44 + 19.", True, "correct"),
        (r"\boxed{98}", False, "wrong"),
        (r"\boxed{44 + 19 + 35 + 0}", False, "wrong"),
        (r"\boxed{44 + 44 + 19 - 9}", False, "wrong"),
        (r"\boxed{44 + 19 + 35 = 99}", False, "wrong"),
        (r"\boxed{44 + 19 + 35 = 98 = 98}", False, "rejected_syntax"),
        (r"\boxed{44 / (35 - 35)}", False, "rejected_syntax"),
        (r"\boxed{44 ** 19 ** 35}", False, "rejected_syntax"),
        (r"\boxed{44 // 19}", False, "rejected_syntax"),
        ("<answer>__import__('os').getcwd()</answer>", False, "rejected_syntax"),
        ("<answer>" + "(" * 400 + "1" + ")" * 400 + "</answer>", False, "rejected_syntax"),
        ("44+19+35 makes it", False, "no_answer"),
        (r"\boxed{44+19+35} or \boxed{35+19+44}", False, "several_answers"),
    ],
)
def test_verdicts(completion: str, correct: bool, reason: str) -> None:
    verdict = countdown.grade(completion, "98", NUMBERS)
    assert (verdict.correct, verdict.reason) == (correct, reason)


def test_latex_and_typographic_signs_are_read() -> None:
    for text in (r"\frac{35}{7} \times (44 - 19)", "(44−19) × 35 ÷ 7", r"\left(44-19\right)\cdot\dfrac{35}{7}"):
        assert countdown.equal(text, "125", ("44", "19", "35", "7")).correct is True, text


def test_fractions_are_exact() -> None:
    assert countdown.equal("8 / (3 - 8 / 3)", "24", ("8", "3", "8", "3")).correct is True


def test_random_expressions_have_python_s_value() -> None:
    draw = random.Random(1)
    for _ in range(200):
        numbers = [draw.randint(1, 99) for _ in range(4)]
        a, b, c, d = numbers
        text = f"({a} {draw.choice('+-*')} {b}) {draw.choice('+-*')} ({c} {draw.choice('+-*')} {d})"
        given = tuple(map(str, numbers))
        assert countdown.equal(text, str(eval(text)), given).correct is True
        assert countdown.equal(text, str(eval(text) + 1), given).correct is False


def test_a_target_or_numbers_that_are_none_decide_nothing() -> None:
    assert countdown.equal("1+1", "two", ("1", "1")).reason == "bad_gold"
    assert countdown.equal("1+1", "2", ()).reason == "bad_gold"
