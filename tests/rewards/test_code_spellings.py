"""Tests as people write them down beside Python: doctests, fences, calls with what they give, arguments by name."""

from typing import Any

import pytest

from rewards.code import Grader
from rewards.code.forms import job_of
from rewards.code.script import BadTests
from rewards.code.spellings import by_name, value_of

RIGHT, WRONG = "def add(a, b):\n    return a + b\n", "def add(a, b):\n    return a - b\n"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tests", "entry"),
    [
        (">>> add(1, 2)\n3\n>>> x = 2\n>>> add(x, 2)\n4\n", None),
        ("    >>> add('a', 'b')\n    'ab'\n", None),
        ([">>> add(1, 2)\n3", ">>> add(2, 2)\n4"], None),
        (">>> print(add(1, 2), 'apples')\n3 apples", None),
        (">>> add(1, 'a')\nTraceback (most recent call last):\n  ...\nTypeError: no\n>>> add(1, 1)\n2", None),
        (">>> from fractions import Fraction\n>>> add(Fraction(1, 4), Fraction(1, 4))\nFraction(1, 2)", None),
        ([{"input": "add(1, 2)", "output": "3"}], None),
        ([{"call": "add(1, b=2)", "expected": 3}, {"call": "add('x', 'y')", "expected": "xy"}], None),
        ([{"input": "add([1], [null])".replace("null", "None"), "output": "[1, null]"}], None),
        ([{"input": "a = 1, b = 2", "output": "3"}], "add"),
        ([{"input": "a = [1]\nb = [true]", "output": "[1, true]"}], "add"),
        ([{"input": [1, 2], "expected": 3}], "add"),
        ("```python\nassert add(1, 2) == 3\n```", None),
        ("Tests:\n~~~\nassert add(1, 2) == 3\n~~~", None),
        ("assertEqual(add(1, 2), 3)", None),
        ("self.assertEqual(add(1, 2), 3)\nself.assertTrue(add(1, 1) == 2)", None),
    ],
)  # fmt: skip
def test_a_right_answer_passes_and_a_wrong_one_fails(code_grader: Grader, tests: Any, entry: str | None) -> None:
    right, wrong = code_grader.grade(RIGHT, tests, entry), code_grader.grade(WRONG, tests, entry)
    assert right.correct is True, right
    assert wrong.correct is False, wrong


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        (">>> hello()\nHello, world!", "looks at what the answer prints"),
        (">>> x = add(1, 2)\n3", "expects that a statement gives something"),
        (">>> add(1, 2)\n3\n  >>> add(1, 2)\n3", "inconsistent leading whitespace|is not Python|cannot be read"),
    ],
)
def test_what_no_answer_could_pass_is_said(tests: str, says: str) -> None:
    with pytest.raises(BadTests, match=says):
        job_of(tests, None, None)


def test_a_program_s_input_that_looks_like_a_call_stays_a_program() -> None:
    for stdin in ("print(1)", "3 4", "f(1) + 2", "f(1)\ng(2)", ""):
        job = job_of([{"input": stdin, "output": "1"}], None, None)
        assert (job.kind, job.tests[0]["stdin"]) == ("programs", stdin)


def test_arguments_by_name_are_literals_alone() -> None:
    assert by_name("nums = [2, 7], target = 9, flag = true") == [[2, 7], 9, True]
    assert by_name('s = "a, b = c"') == ["a, b = c"]
    for text in ("2, 7", "nums = open('x')", "a = 1)(b = 2", "a = b", "", "x", "**{'a': 1}", "a = 1, 2"):
        assert not by_name(text), text


def test_values_are_read_as_json_then_as_python_then_as_text() -> None:
    assert [value_of(text) for text in ("[1, null]", "(1, None)", "'a'", "abc", "a b", "")] == [
        [1, None], (1, None), "a", "abc", "a b", "",
    ]  # fmt: skip
