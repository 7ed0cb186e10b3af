"""Tests as their authors meant them: what asserts nothing, pytest's fixtures, classes with their exceptions, floats.

Each is put to a right and to a wrong program, and to one that lies about its objects.
"""

# ruff: noqa: E501

from collections.abc import Iterator
from typing import Any

import pytest

from rewards.code import Grader
from rewards.code.answer import code_of
from rewards.code.forms import BadTests, job_of
from rewards.code.output import same
from rewards.code.sandbox import Limits

MUL, ADD = "def mul(a, b):\n    return a * b\n", "def mul(a, b):\n    return a + b\n"
STACK = """class EmptyError(ValueError):
    pass
class FullError(EmptyError):
    pass
class Stack:
    def __init__(self): self.held = []
    def push(self, x): self.held.append(x)
    def pop(self):
        if not self.held: raise EmptyError("nothing")
        return self.held.pop()
    def __len__(self): return len(self.held)
    def __iter__(self): return iter(self.held)
    def __getitem__(self, n): return self.held[n]
    def __str__(self): return f"Stack({self.held})"
    def __add__(self, other):
        both = Stack()
        both.held = self.held + list(other)
        return both
    def __enter__(self): return self
    def __exit__(self, *error): self.held.clear()
"""
QUEUE = STACK.replace("held.pop()", "held.pop(0)").replace("self.held + list(other)", "list(other) + self.held")
FIXTURES = (
    "import pytest\n@pytest.fixture\ndef two():\n    return 2\n@pytest.fixture\ndef three(two):\n    yield two + 1\n"
)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    ours = Grader(1, Limits(seconds=20.0))
    yield ours
    ours.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        ("def test():\n    assert (mul(2, 3) == 6, 'two by three')\n", MUL, ADD),
        ("def test():\n    try:\n        mul(None, 2)\n        assert False\n    except TypeError:\n        assert True\n    assert mul(2, 3) == 6\n", MUL, ADD),
        (FIXTURES + "def test(two, three):\n    assert mul(two, three) == 6\n", MUL, ADD),
        ("import pytest\nclass TestMul:\n    @pytest.fixture(autouse=True)\n    def made(self):\n        self.k = 3\n    @pytest.fixture\n    def two(self):\n        return 2\n    def test(self, two):\n        assert mul(two, self.k) == 6\n", MUL, ADD),
        ("class TestMul:\n    @classmethod\n    def setup_class(cls):\n        cls.k = 3\n    def test(self):\n        assert mul(2, self.k) == 6\n", MUL, ADD),
        ("def setup_module(module):\n    global k\n    k = 3\ndef test():\n    assert mul(2, k) == 6\n", MUL, ADD),
        ("import pytest\n@pytest.mark.parametrize('request,want', [(2, 6)])\ndef test(request, want):\n    assert mul(request, 3) == want\n", MUL, ADD),
        ("def test_stack():\n    s = Stack()\n    s.push(1)\n    s.push(2)\n    assert isinstance(s, Stack) and not isinstance(1, Stack)\n    assert len(s) == 2 and s.pop() == 2 and len(s) == 1\n", STACK, QUEUE),
        ("s = Stack()\ns.push(1)\ns.push(2)\nassert [x for x in s] == [1, 2] and s[1] == 2 and str(s) == 'Stack([1, 2])'\nassert list(s + [3]) == [1, 2, 3]\n", STACK, QUEUE),
        ("with Stack() as s:\n    s.push(4)\n    assert s and len(s) == 1\nassert not s\nassert list(s + [3, 4]) == [3, 4] and (s + [3, 4]).pop() == 4\n", STACK, QUEUE),
        ("import pytest\nfrom solution import Stack, EmptyError\ndef test():\n    with pytest.raises(EmptyError, match='nothing'):\n        Stack().pop()\n", STACK, STACK.replace("raise EmptyError", "raise ValueError")),
        ("import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertRaises(EmptyError, Stack().pop)\n        self.assertRaises(ValueError, Stack().pop)\n", STACK.replace("raise EmptyError", "raise FullError"), STACK.replace("raise EmptyError('nothing')", "return None").replace('raise EmptyError("nothing")', "return None")),
        ([{"fn": "f", "args": [], "expected": [0.3, {"a": 1.5}]}], "def f():\n    return 0.1 + 0.2, {'a': 1.5}\n", "def f():\n    return 0.3001, {'a': 1.5}\n"),
    ],
)  # fmt: skip
def test_a_right_program_passes_and_a_wrong_one_does_not(grader: Grader, tests: Any, right: str, wrong: str) -> None:
    assert grader.grade(right, tests).correct is True
    assert grader.grade(wrong, tests).correct is False


@pytest.mark.integration
@pytest.mark.parametrize(
    "tests",
    [
        "assert Circle(1).area() == 3.14",
        "assert abs(Circle(1).area() - 3.14) < 1e-6",
        "assert abs(3.14 - Circle(1).area()) < 1e-6",
        "assert Circle(1).area() < 3.15",
        "assert Circle(1).area() in [3.14]",
        "assert 3.14 in Circle(1).areas()",
        "assert Circle(1) == 5",
        "assert 5 in Circle(1)",
        "import pytest\nassert Circle(1).area() == pytest.approx(3.14)",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertAlmostEqual(Circle(1).area(), 3.14)",
        "assert sorted([Circle(1).area(), 3])[0] == 3.14",
        "import math\nassert math.isclose(Circle(1).area(), 3.14)",
        "for area in Circle(1).areas():\n    assert area == 3.14",
    ],
)  # fmt: skip
def test_objects_that_lie_fool_no_test_of_a_class(grader: Grader, tests: str) -> None:
    liar = "class L:\n    def yes(self, other=None): return True\n    __eq__ = __lt__ = __le__ = __gt__ = __contains__ = yes\n    def zero(self, other=None): return 0\n    __sub__ = __rsub__ = __abs__ = zero\n    def __float__(self): return float('nan')\n    def __iter__(self): return iter([])\n"
    code = (
        f"{liar}class Circle(L):\n    def __init__(self, r): pass\n    def area(self): return L()\n    areas = area\n"
    )
    assert grader.grade(code, tests).correct is False


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        ("assert turn(int, '3') == 3\nassert turn(len, 'abc') == 3\n", "def turn(f, x):\n    return f(x)\n", "def turn(f, x):\n    return 3.5\n"),
        ("import operator, math\nassert turn(operator.add, [1, 2, 3]) == 6\nassert turn(math.gcd, [4, 6]) == 2\n", "from functools import reduce\ndef turn(f, x):\n    return reduce(f, x)\n", "def turn(f, x):\n    return sum(x)\n"),
    ],
)  # fmt: skip
def test_functions_that_everybody_has_are_arguments(grader: Grader, tests: str, right: str, wrong: str) -> None:
    assert grader.grade(right, tests).correct is True
    assert grader.grade(wrong, tests).correct is False


TURN = "def turn(a):\n    a.reverse()\n"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        ("a = [1, 2]\nturn(a)\nassert a == [2, 1]\n", TURN, "def turn(a):\n    return a[::-1]\n"),
        ("def test():\n    a = [3, 1]\n    b = a\n    turn(a)\n    assert b == [1, 3]\n", TURN, "def turn(a):\n    a.clear()\n"),
        ("def check(candidate):\n    a = [1, 2, 3]\n    candidate(a)\n    assert a == [3, 2, 1]\n", TURN, "def turn(a):\n    a = a[::-1]\n"),
        ("a = [1, 2]\nSolution().turn(a)\nassert a == [2, 1]\n", "class Solution:\n    def turn(self, a):\n        a.reverse()\n", "class Solution:\n    def turn(self, a):\n        pass\n"),
        ("a = [[1, 2], [3]]\nrow = a[0]\nturn(a)\nassert a == [[1, 9], [3]] and row == [1, 9]\n", "def turn(a):\n    a[0][1] = 9\n", TURN),
        ("a = {1: 2}\nturn(a)\nassert a == {2: 1}\n", "def turn(a):\n    b = {v: k for k, v in a.items()}\n    a.clear()\n    a.update(b)\n", "def turn(a):\n    return {v: k for k, v in a.items()}\n"),
        ("a = {1, 2}\nturn(a)\nassert a == {1}\n", "def turn(a):\n    a.discard(2)\n", "def turn(a):\n    return {1}\n"),
        ("import pytest\na = [1]\nwith pytest.raises(ValueError):\n    turn(a)\nassert a == [1]\n", "def turn(a):\n    raise ValueError\n", "def turn(a):\n    pass\n"),
        ("a = [2, 1]\nassert turn(a) == [1, 2]\nassert a == [2, 1]\n", "def turn(a):\n    return sorted(a)\n", "def turn(a):\n    return a\n"),
    ],
)  # fmt: skip
def test_a_function_is_called_for_what_it_does_to_its_arguments(
    grader: Grader, tests: str, right: str, wrong: str
) -> None:
    entry = "turn" if "candidate" in tests else None
    assert grader.grade(right, tests, entry).correct is True
    assert grader.grade(wrong, tests, entry).correct is False


@pytest.mark.integration
def test_so_is_a_method_of_an_object_made_for_the_call(grader: Grader) -> None:
    tests = "def check(candidate):\n    a = [1, 2, 3]\n    candidate(a)\n    assert a == [3, 2, 1]\n"
    right, wrong = (
        f"class Solution:\n    def turn(self, a):\n        {does}\n" for does in ("a.reverse()", "return a[::-1]")
    )
    assert grader.grade(right, tests, "Solution().turn").correct is True
    assert grader.grade(wrong, tests, "Solution().turn").correct is False


@pytest.mark.integration
@pytest.mark.parametrize(
    "code",
    [
        "def turn(a):\n    a[:] = [9] * 9\n    return [1, 2]\n",  # a value that is used: what was given stays
        "class Liar(list):\n    def __eq__(self, other): return True\ndef turn(a):\n    return Liar()\n",
    ],
)  # fmt: skip
def test_what_a_test_holds_is_changed_by_no_call_whose_value_it_uses(grader: Grader, code: str) -> None:
    assert grader.grade(code, "a = [2, 1]\nassert turn(a) == a\n").correct is False
    assert grader.grade(code, "a = [2, 1]\nb = turn(a)\nassert a == [9] * 9\n").correct is False


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tests", "entry"),
    [
        ("def test(fixture_of_nobody):\n    assert mul(2, 3) == 6\n", None),
        ("def test_one():\n    assert mul(2, 3) == 6\ndef test_two(fixture_of_nobody):\n    assert mul(2, 3) == 6\n", None),
        ("def check(candidate):\n    wanted = table_of_nobody[0]\n    assert candidate(2, 3) == wanted\n", "mul"),
    ],
)  # fmt: skip
def test_what_the_tests_miss_is_not_the_candidates_fault(grader: Grader, tests: str, entry: str | None) -> None:
    assert (grader.grade(MUL, tests, entry).correct, grader.grade(MUL, tests, entry).reason) == (None, "bad_tests")


@pytest.mark.integration
def test_descriptor_0_has_its_path_too(grader: Grader) -> None:
    code = "a, b = map(int, open('/dev/fd/0').read().split())\nprint(a * b)\n"
    assert grader.grade(code, [{"stdin": "2 3\n", "stdout": "6\n"}]).correct is True


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        (["assert [mul(2, 3) == 6]"], "assert nothing"),
        (["assert (mul(a, 3) == 6 for a in [2])"], "assert nothing"),
        ("def test():\n    mul(2, 3)\n    assert True\n", "assert nothing"),
        ("def test(monkeypatch):\n    assert mul(2, 3) == 6\n", "pytest's fixture monkeypatch"),
        ("import pytest\n@pytest.fixture(params=[1])\ndef k(request):\n    return request.param\ndef test(k):\n    assert mul(k, 3) == 3\n", "pytest's fixture request"),
        ("assert f() == P(1, 2)", "with itself alone"),
        ("assert Circle(1) == Circle(2)", "with itself alone"),
        ("assert Circle(1) > Circle(2)", "with itself alone"),
        ("def test():\n    got, want = f(), P(1, 2)\n    found = f()\n    other = P(1, 2)\n    assert found == other\n", "with itself alone"),
        ("s = Stack()\ns.push(1)\nassert s.peek() == s.pop()\n", "with itself alone"),
        ("import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(), P(1, 2))\n", "with itself alone"),
        ([{"two\nlines": None}], "found two lines"),
        ("class Mine(Stack):\n    pass\nassert Mine().pop() == 1\n", "derive a class from Stack"),
    ],
)  # fmt: skip
def test_what_checks_nothing_or_cannot_run_is_said(tests: Any, says: str) -> None:
    with pytest.raises(BadTests, match=says):
        job_of(tests, None, None)


@pytest.mark.parametrize(
    "tests",
    [
        "assert f() == P(1, 2)\nassert f().x == 1\n",
        "text = 'abc'\nassert decode(encode(text)) == text\n",
        "made = P(1, 2)\nmade = 3\nassert f() == made\n",
        "assert f(1) + 1 == g(2)\n",
        "assert is_prime(7)\n",
    ],
)
def test_a_check_against_a_value_of_the_tests_is_one(tests: str) -> None:
    job_of(tests, None, None)


def test_a_name_that_nobody_tells_is_bad_tests_where_the_prompt_is_known() -> None:
    tests = "def check(candidate):\n    assert candidate(2, 3) == helper(6)\n"
    with pytest.raises(BadTests, match="the tests use helper, which neither they nor the prompt define or name"):
        job_of(tests, "mul", "Write mul(a, b).")
    assert job_of(tests, "mul", "Write mul(a, b), and a helper(x).").strange == frozenset()
    assert job_of(tests, "mul", None).strange == {"helper"}
    assert job_of("from solution import mul, helper\n" + tests, "mul", "Write mul(a, b).").strange == frozenset()


def test_no_number_is_near_what_is_beyond_all_numbers() -> None:
    assert not same("5", "1e400") and same("1e400", "1e400") and same("0.30000000000000004", "0.3")


def test_a_fence_in_a_docstring_ends_no_block() -> None:
    code = "def f(x):\n    '''\n    ```\n    f(1)\n    ```\n    '''\n    return x"
    assert code_of(f"Here:\n```python\n{code}\n```\nDone.", frozenset({"f"})) == code
    indented = "\n".join(f"  {line}" for line in code.splitlines())
    assert code_of(f"- ```python\n{indented}\n  ```\n", frozenset({"f"})) == code
    assert (
        code_of("```python\ndef f(x):\n    return x\n    ```\nThat's it.", frozenset({"f"}))
        == "def f(x):\n    return x"
    )


def test_code_in_answer_tags_needs_no_fence() -> None:
    assert code_of("<answer>\ndef f(x):\n    return x\n</answer>", frozenset({"f"})) == "\ndef f(x):\n    return x\n"


@pytest.mark.parametrize(
    "text",
    [
        "<answer>```python\n{}```</answer>",
        "<answer>\n```python\n{}```</answer>",
        "So:\n[PYTHON]\n{}[/PYTHON]\nThat is it.",
        "<code>\n{}</code>",
        "[PYTHON]\ndef other(): pass\n[/PYTHON]\n[PYTHON]\n{}",
    ],
)
def test_code_in_tags_of_many_kinds_is_found(text: str) -> None:
    code = "def f(x):\n    return x\n"
    found = code_of(text.replace("{}", code), frozenset({"f"}))
    assert found is not None and found.strip() == code.strip()


POINT = "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: object = None\n"
LIAR = "class L:\n    def __eq__(self, o): return True\n    __ne__ = __eq__\n    __hash__ = None\n"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "correct"),
    [
        ("def f(): return P(1, [P(2)])", True),
        (POINT + "def f(): return P(1, [P(2)])", True),
        ("def f(): return P(1, [P(3)])", False),
        ("def f(): return P(1)", False),
        ("def f(): return (1, [2])", False),
        (POINT.replace("P:", "Q:") + "def f(): return Q(1, [P(2)])", False),
        (LIAR.replace("L:", "P:") + "def f(): return P()", False),
        (LIAR + "def f(): return P(1, L())", False),
        (LIAR + "def f(): return P(1, [L()])", False),
        (POINT + "    def __eq__(self, o): return True\ndef f(): return P(5)", False),
        (
            POINT
            + "    def __init__(self, *a): self.x = 1\n    @property\n    def y(self): return self\ndef f(): return P()",
            False,
        ),
    ],
)
def test_objects_of_the_prompts_dataclasses_are_equal_by_their_fields(grader: Grader, code: str, correct: bool) -> None:
    prompt = POINT + "\ndef f():\n    ...\n"
    for one, other in (("candidate()", "P(1, [P(2)])"), ("P(1, [P(2)])", "candidate()")):
        tests = f"def check(candidate):\n    assert {one} == {other}\n    assert not {one} != {other}\n"
        assert grader.grade(code, tests, "f", prompt).correct is correct
