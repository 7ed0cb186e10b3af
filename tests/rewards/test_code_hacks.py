"""What a policy with a million samples would find: names it brings, verdicts it avoids, tests that nothing runs."""

# ruff: noqa: E501

import json
from typing import Any

import pytest

from rewards.code import Grader

pytestmark = pytest.mark.integration
WRONG = "def f(*a):\n    return 5\n"
# Objects that agree with everything, under the names that tests use.
YES = (
    "class Yes:\n    def __getattr__(self, name): return Yes()\n    def __call__(self, *a, **k): return 5\n"
    "    def __eq__(self, other): return True\n    def __sub__(self, other): return 0\n"
)
SEND = (  # speaks the protocol itself, on whichever descriptor is the channel
    "import json, os, struct\n"
    "def say(*frames):\n    for fd in range(3, 20):\n        for frame in frames:\n            body = json.dumps(frame).encode()\n"
    "            try: os.write(fd, struct.pack('!I', len(body)) + body)\n            except OSError: pass\n"
)


@pytest.mark.parametrize(
    ("brings", "test"),
    [
        ("sorted", "assert sorted(f(6)) == sorted([1, 2])"),
        ("set", "assert set(f(6)) == set([1, 2])"),
        ("len", "assert len([f(6)]) == len([1, 2])"),
        ("sys", "assert f((1, 2)) == sys.getsizeof((1, 2))"),
        ("math", "assert math.isclose(f(6), math.pi)"),
        ("isclose", "assert isclose(f(6), 7.0)"),
        ("Counter", "assert Counter([f(6)]) == Counter([7])"),
        ("deepcopy", "assert deepcopy(f(6)) == 7"),
        ("sqrt", "assert sqrt(f(6)) == sqrt(7)"),
        ("collections", "assert collections.Counter([f(6)]) == collections.Counter([7])"),
        ("operator", "assert operator.eq(f(6), 7)"),
        ("abs", "assert abs(f(6) - 7) < 1e-6"),
        ("all", "assert all([f(6) == 7])"),
        ("isinstance", "assert isinstance(f(6), str)"),
        ("type", "assert type(f(6)) == str"),
        ("AssertionError", "assert f(6) == 7"),
        ("pytest", "import pytest\nassert f(6) == pytest.approx(7)"),
        ("check", "def check(c):\n    assert c(6) == 7\ncheck(f)"),
        ("candidate", "assert f(6) == 7"),
        ("__checked__", "assert f(6) == 7"),
        ("unittest", "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(6), 7)"),
    ],
)  # fmt: skip
def test_names_that_a_candidate_brings_decide_nothing(code_grader: Grader, brings: str, test: str) -> None:
    ways = (
        f"{YES}{brings} = Yes()\n{WRONG}",
        f"def {brings}(*a, **k): return 5\n{WRONG}",
        f"{YES}class {brings}(Yes): pass\n{WRONG}",
    )
    for code in (*ways, f"import random as {brings}\n{WRONG}"):
        for tests in (test, [test], [test, test]):
            for entry in (None, "f"):
                result = code_grader.grade(code, tests, entry)
                assert result.correct is False, (code, tests, entry, result)


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    raise NameError('x')",
        "def f(x):\n    raise ImportError('numpy')",
        "raise ImportError",
        "import numpy_is_not_here",
        "class Node:\n    def __init__(self, x): raise ValueError\ndef f(x): return 1",
        "def f(x):\n    a = []\n    for _ in range(199): a = [a]\n    return a",
        "def f(x): return 'x' * 8_000_000",
        "def f(x): return [[]] * 900_000",
        f"{SEND}def f(x):\n    say(['raise', [], ''])",
        f"{SEND}say(['ready', {{'f': 'callable', 'Node': 'value'}}], ['raise', 'KeyError', ''])",
        f"{SEND}say(['ready', {{'f': 'value', 'Node': 'value'}}], ['raise', 'NotPlain', ''], ['raise', 'Stop', ''])",
        f"{SEND}say(['ready', {{'f': 'callable', 'Node': 'callable'}}], ['value', ['ref', []]], ['value', ['dd', 'x', []]])",
        f"{SEND}say(['ready', []], {{}}, [[]], 5, ['raise'], ['bad_tests'])",
        f"{SEND}say(['raise', 'Stop', 'bad_tests'])",
        f"{SEND}say(['ready', {{'f': 'module random', 'Node': 'module os'}}])",
        f"{SEND}say({{'passed': 1, 'total': 1, 'reason': 'bad_tests'}}, {{'passed': 9, 'total': 9, 'reason': 'correct'}})",
        f"{SEND}def f(x):\n    say(['value', ['dq', [1], 'x']], ['value', ['F', [1, 0]]], ['value', ['D', 'x']])\n    return 5",
        "import os\ndef f(x): os.kill(os.getpid(), 11)",
        "import os\nos.closerange(0, 99)",
    ],
)  # fmt: skip
def test_a_candidate_cannot_choose_to_be_undecided(code_grader: Grader, code: str) -> None:
    calls: list[Any] = [{"fn": "f", "args": [7], "expected": 49}]
    nodes = ["root = Node(1)\nroot.left = Node(2)", "assert f(root) == 49"]
    nested = ["assert f([f(1), f(2)]) == 49", "assert f(f(3)) == 2"]
    script = "def test_f():\n    assert f([f(1)]) == 49\n"
    program = [{"stdin": "1\n", "stdout": "49\n"}]
    for tests in (calls, nodes, nested, script, program):
        result = code_grader.grade(code, tests)
        assert result.correct is False and result.reason != "bad_tests", (tests, result)


@pytest.mark.parametrize("code", ["def X(): pass", "import math as X", "class X: pass", "X = 3", "X = object()"])
def test_nor_by_what_it_makes_of_a_name_that_is_a_value(code_grader: Grader, code: str) -> None:
    uses = ["X[0] == 5", "X == 5", "len(X) == 5", "isinstance(X, int) and X > 4", "type(X) is list", "X is None"]
    uses += ["str(X) == '5'", "X + 1 == 6", "[x for x in X] == [5]", "f(1) == X", "X.y == 5"]
    for use in uses:
        for tests in ([f"assert {use}"], f"def test_x():\n    assert {use}\n"):
            result = code_grader.grade(f"def f(x): return {{}}\n{code}", tests)
            assert result.correct is False and result.reason != "bad_tests", (tests, result)


@pytest.mark.parametrize("test", ["f(f(1).append)", "f(type(f(1)))", "f(f(1).__len__)", "f(type(f(1).append))"])
def test_nor_by_a_value_whose_methods_the_tests_pass_on(code_grader: Grader, test: str) -> None:
    for value in ("[]", "Decimal(1)", "''", "f", "object()"):
        result = code_grader.grade(f"from decimal import Decimal\ndef f(x): return {value}", [f"assert {test} == 5"])
        assert result.correct is False and result.reason != "bad_tests", (test, value, result)


@pytest.mark.parametrize(
    ("tests", "entry"),
    [
        ("def check(candidate):\n    assert candidate(10) == 31\n", None),
        ("def check(candidate):\n    assert candidate(10) == 31\n", "f"),
        ("def test_f():\n    assert f(1) == 3\n", None),
        ("def test_f(candidate):\n    assert candidate(1) == 3\n", "f"),
        ("class TestF:\n    def test_it(self):\n        assert f(1) == 3\n", None),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.assertEqual(f(1), 3)\nif __name__ == '__main__':\n    unittest.main()", None),
        ("import pytest\n@pytest.mark.parametrize('a,b', [(1, 3), (2, 4)])\ndef test_f(a, b):\n    assert f(a) == b", None),
        ("import pytest\n@pytest.fixture\ndef three():\n    return 3\ndef test_f(three):\n    assert f(1) == three", None),
        ("import pytest\ndef test_f():\n    with pytest.raises(ValueError):\n        f(1)", None),
        ("import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('later')\n    def test_it(self): self.assertEqual(f(1), 3)", None),
        ("def test_f():\n    for x in f(1, 2):\n        assert x == 3\n", None),
        ("def test_f():\n    try:\n        assert f(1) == 3\n    except AssertionError:\n        print('failed')", None),
        ("def test_f():\n    try:\n        assert f(1) == 3\n    except:\n        pass", None),
        ("def test_f():\n    if f(1) != 3:\n        raise ValueError('wrong')", None),
        ("import sys\nif f(1) != 3:\n    sys.exit(1)", None),
        ("def helper(x): assert f(x) == 3\ndef main(): helper(1)\nif __name__ == '__main__':\n    main()", None),
        ("def verify():\n    assert f(1) == 3\n", None),
        (["f(1) == 3", "f(2) == 4"], None),
        (["not f(1)"], None),
        ("f(1) == 3", None),
        ("assert True, 'debugging'\ndef check(candidate):\n    assert True\n    assert candidate(1) == 3", "f"),
        ('[{"stdin": "1 2", "stdout": "3"}]', None),
        ('{"fn_name": "f", "inputs": [[1, 2]], "outputs": [3]}', "f"),
        ({"fn_name": "f", "inputs": [[1, 2]], "outputs": [[3]]}, None),
        ([{"input": "1\n2", "output": "3", "testtype": "functional"}], "f"),
    ],
)  # fmt: skip
def test_no_form_of_test_passes_a_wrong_answer(code_grader: Grader, tests: Any, entry: str | None) -> None:
    result = code_grader.grade(WRONG, tests, entry)
    assert result.correct is not True, result
    empty = code_grader.grade("def f(*a):\n    return []\n", tests, entry)
    assert empty.correct is not True or tests == ["not f(1)"], empty
    assert code_grader.grade("print('nothing')", tests, entry).correct is not True


@pytest.mark.parametrize(
    "tests",
    [
        "assert all(map(f, [2, 3, 5]))",
        ["assert all(map(lambda x: f(x) == 2, [2, 3]))"],
        "for got, want in zip(map(f, [1, 2]), [3, 4]):\n    assert got == want\nassert f is not None",
        "def check(candidate):\n    assert sum(map(candidate, [1, 2])) == 0",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertTrue(all(map(f, [1, 2])))",
    ],
)
def test_no_exception_ends_the_loop_of_a_test(code_grader: Grader, tests: Any) -> None:
    result = code_grader.grade("def f(*a):\n    raise StopIteration\n", tests, "f")
    assert (result.correct, result.reason) in ((False, "runtime_error"), (False, "wrong")), result


@pytest.mark.parametrize(
    "tests",
    [
        "assert not abs(f(1) - 7) > 1e-6",
        "assert max(0, abs(f(1) - 7)) < 1e-6",
        "def test_f():\n    if abs(f(1) - 7) > 1e-6:\n        raise ValueError('wrong')",
        "for x, y in zip(f(2), [1, 2]):\n    assert not (x < y or x > y)",
    ],
)
def test_what_is_no_number_is_near_nothing(code_grader: Grader, tests: Any) -> None:
    nan = "def f(x): return float('nan') if x == 1 else [float('nan'), {1: (2, float('nan'))}]"
    assert (code_grader.grade(nan, tests).correct, code_grader.grade(nan, tests).reason) == (False, "bad_type")
    forms = (float("nan"), ["f", "nan"], ["D", "NaN"], ["c", ["nan"]], ["c", [["D", "NaN"]]], ["c", [["D", "NaN"], 0]])
    for form in forms:
        said = json.dumps(["value", form])
        told = f"{SEND}def f(x):\n    say(*[json.loads({said!r})] * 2)\n    return 0"
        assert code_grader.grade(told, tests).correct is False, form
    assert code_grader.grade(nan, "import math\nassert math.isnan(f(1))").correct is True


@pytest.mark.parametrize("test", ["assert not abs(float(f(1)) - 7) > 1e-6", "assert not math.dist([f(1)], [7]) > 1"])
def test_nor_what_becomes_no_number(code_grader: Grader, test: str) -> None:
    for value in ("'nan'", "' -NaN '", "Decimal('NaN')", "Decimal('-NaN')"):
        result = code_grader.grade(f"from decimal import Decimal\ndef f(x): return {value}\n", test)
        assert result.correct is False, (value, result)
    text = "def f(x): return 'banana'\n"
    assert code_grader.grade(text, "assert f(1)[3:] == 'ana'").correct is True, (
        "a text is one where no float is made of it"
    )


# What a candidate's text would do in the checker: set the outcome, write the verdict.
TEXTS = (
    "[k.f_locals['outcome'].update(passed=1, reason='correct') for n in range(9)"
    " for k in [__import__('sys')._getframe(n)] if 'outcome' in k.f_locals]",
    "[].append(__checked__(True))",
    "().__class__.__base__.__subclasses__()",
    "(lambda: 7)()",
    "f'{7}'",
    "[x for x in [7]][0]",
    "open('/usr/bin/env')",
    "sorted([7], key=print)[0]",
    "__import__('os')._exit(0)",
    "f(2)",
)


@pytest.mark.parametrize(
    "test",
    [
        "assert eval(f(1)) == 7",
        "exec(f(1))\nassert f(2) == 7",
        "space = {}\nexec(f(1), space)\nassert space['y'] == 7",
        "assert eval(compile(f(1), 'x', 'eval')) == 7",
        "def test_f():\n    assert eval(f(1), {}, {'x': 3}) == 7",
        "evaluate = eval\nassert evaluate(f(1)) == 7",
        "import ast\nassert eval(compile(ast.parse(f(1), mode='eval'), 'x', 'eval')) == 7",
    ],
)
def test_a_text_of_a_candidate_is_never_run(code_grader: Grader, test: str) -> None:
    for text in TEXTS:
        result = code_grader.grade(f"def f(x): return {text!r} if x == 1 else 0\n", test, "f")
        assert result.correct is False and result.passed == 0, (text, result)


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ("assert eval(f(1)) == 7", "3 + 2 * 2"),
        ("assert eval(f(1)) == 7", "max([1, 7]) if 1 < 2 else -1"),
        ("x = 3\nassert eval(f(1)) == 7", "x + 4"),
        ("def test_f():\n    assert eval(f(1), {'x': 3}) == 7", "x + 4"),
        ("def test_f():\n    y = 6\n    assert eval(f(1)) == 7", "y+1"),
        (
            "for given, wanted in [('(1,)', '[1, 2][1] + 5')]:\n    assert len(f(*eval(given))) + 4 == eval(wanted)",
            "abc",
        ),
        ("exec('def twice(x): return 2 * x')\nassert twice(len(f(1))) == 6", "abc"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x')\nassert P(len(f(1))).x == 3", "abc"),
    ],
)
def test_arithmetic_and_the_tests_own_texts_are(code_grader: Grader, test: str, text: str) -> None:
    result = code_grader.grade(f"def f(x): return {text!r}\n", test, "f")
    assert result.correct is True, result


@pytest.mark.parametrize(
    "test",
    [
        "import pickle\nassert pickle.loads(f(1)) == 7",
        "from pickle import loads\nassert loads(f(1)) == 7",
        "import builtins\nassert builtins.eval(f(1)) == 7",
        "import marshal\nassert marshal.loads(f(1)) == 7",
    ],
)
def test_tests_that_would_run_an_answer_s_data_are_refused(code_grader: Grader, test: str) -> None:
    result = code_grader.grade(WRONG, test, "f")
    assert (result.correct, result.reason) == (None, "bad_tests") and "would run" in result.detail


@pytest.mark.parametrize(
    ("tests", "entry", "code"),
    [
        ("def test_f():\n    assert f(1) == 5\n", None, WRONG),
        ("def test_f(candidate):\n    assert candidate(1) == 5\n", "f", WRONG),
        ("from solution import f as g, f\ndef test_f():\n    assert g(1) == f(2) == 5\n", None, WRONG),
        ("import solution\nclass TestF:\n    def setup_method(self): self.x = 1\n    def test_it(self): assert solution.f(self.x) == 5", None, WRONG),
        ("import unittest\nfrom your_module import f\nclass T(unittest.TestCase):\n    def setUp(self): self.x = 1\n    def test_it(self):\n        with self.subTest('a'):\n            self.assertEqual(f(self.x), 5)\nunittest.main()", None, WRONG),
        ("import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        with self.assertRaises(ValueError): f(1)", None, "def f(x): raise ValueError"),
        ("import pytest\n@pytest.mark.parametrize('a, b', [(1, 5), pytest.param(2, 5)])\ndef test_f(a, b): assert f(a) == pytest.approx(b)", None, WRONG),
        ("import pytest\ndef test_f():\n    with pytest.raises(ValueError, match='no') as info: f(1)\n    assert 'no' in str(info.value)", None, "def f(x): raise ValueError('no')"),
        ("import pytest\n@pytest.fixture\ndef five():\n    yield 5\ndef test_f(five): assert f(1) == five", None, WRONG),
        ("try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass", None, "def f(x): raise ValueError"),
        ("try:\n    assert f(1) == 6\nexcept AssertionError:\n    assert f(1) == 5", None, WRONG),
        ("def check(candidate):\n    assert candidate([2, 7], 9) == [0, 1]", "Solution().twoSum", "class Solution:\n    def twoSum(self, nums: List[int], t: int) -> List[int]:\n        return [0, 1]"),
        ({"fn_name": "twoSum", "inputs": [[[2, 7], 9]], "outputs": [[0, 1]]}, None, "class Solution:\n    def twoSum(self, nums: List[int], t: int) -> List[int]:\n        return [0, 1]"),
        (["assert Solution().twoSum([2, 7], 9) == [0, 1]"], None, "class Solution:\n    def twoSum(self, nums: List[int], t: int) -> List[int]:\n        return [0, 1]"),
        (["assert math.isclose(f(1), 5)", "assert Counter([f(1)]) == Counter([5])"], None, WRONG),
        ("import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nfrom __main__ import f\ndef test_f(): assert f(1) == 5", None, WRONG),
        (["def same(a, b): assert a == b", "same(f(1), 5)"], None, WRONG),
        ("METADATA = {}\n\ndef check(candidate):\n    assert candidate(1) == 5\n\ncheck(f)", None, WRONG),
        ("def check(candidate):\n    assert candidate(1) == 5\nassert f(2) == 5", None, WRONG),
        ([{"stdin": "1 2", "stdout": "3"}], None, "import sys\na, b = map(int, open(0).read().split())\nprint(a + b)\nexit()"),
        ([{"stdin": "1 2", "stdout": "3"}], None, "a, b = map(int, open('/dev/stdin').read().split())\nprint(a + b)\nquit(0)"),
        ([{"stdin": "1 2", "stdout": "3"}], None, "import os\na, b = map(int, os.read(0, 99).split())\nos.write(1, b'%d' % (a + b))"),
        ([{"stdin": "1 2", "stdout": "3"}], None, "import sys\na, b = map(int, sys.stdin.buffer.readline().split())\nsys.stdout.buffer.write(b'%d' % (a + b))"),
        ([{"stdin": "1 2", "stdout": "3"}], None, "import threading, sys\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\ndef main(): print(sum(map(int, input().split())))\nthreading.Thread(target=main).start()"),
        ([{"stdin": "1 2", "stdout": "3"}], None, "import atexit, io, sys\nsys.stdout = io.StringIO()\natexit.register(lambda: sys.__stdout__.write(sys.stdout.getvalue()))\nprint(sum(map(int, sys.stdin)) if 0 else 3)"),
    ],
)  # fmt: skip
def test_right_answers_pass_in_every_form(code_grader: Grader, tests: Any, entry: str | None, code: str) -> None:
    result = code_grader.grade(code, tests, entry)
    assert result.correct is True, result


@pytest.mark.parametrize(
    "tests",
    [
        "import json\nwith open('/nowhere') as file:\n    pass\ndef test_f(): assert f(1) == 5",
        "x = {}['no']\nassert f(1) == 5",
        "import os.nothing\nassert f(1) == 5",
        "assert 1 == 2\nassert f(1) == 5",
        ["import re", "assert f(re) == 5"],
    ],
)
def test_a_failure_of_the_tests_own_is_not_the_candidate_s(code_grader: Grader, tests: Any) -> None:
    result = code_grader.grade(WRONG, tests)
    assert (result.correct, result.reason) == (None, "bad_tests")
    assert "a test " in result.detail


def test_a_prompt_s_helpers_and_imports_are_promised_to_the_candidate(code_grader: Grader) -> None:
    prompt = "from typing import List\nfrom math import sqrt\n\ndef double(x):\n    return 2 * x\n\ndef f(xs: List[int]):\n    pass\n"
    code = "def f(xs: List[int]):\n    return double(sqrt(xs[0]))\n"
    tests = "def check(candidate):\n    assert candidate([4]) == double(2)\n"
    assert code_grader.grade(code, tests, "f", prompt).correct is True
    assert code_grader.grade(f"def double(x): return 0\n{code}", tests, "f", prompt).correct is False
    assert code_grader.grade("def g(): pass", tests, "f", prompt).reason == "no_answer"
    assert code_grader.grade(code, tests, "f", "Please write f and double, which is not (Python").correct is False
