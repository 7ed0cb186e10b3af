"""Tests as data sets write them: which are run, what each takes from the candidate, which are refused and why."""

# ruff: noqa: E501

import json
from typing import Any

import pytest

from rewards.code.forms import BadTests, job_of, of_row
from rewards.code.output import same
from rewards.code.script import code_of_prompt

ADD = {"fn": "add", "args": [1, 2], "expected": 3}


@pytest.mark.parametrize(
    ("tests", "entry", "kind", "total"),
    [
        ([ADD], None, "calls", 1),
        ([{"args": [1, 2], "expected": 3}], "add", "calls", 1),
        ([{"stdin": "1 2", "stdout": "3"}], None, "programs", 1),
        ([{"input": "1 2", "output": "3"}], None, "programs", 1),
        ([{"type": "stdin_stdout", "input": "1 2", "output": "3"}] * 2, None, "programs", 2),
        ([{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}], None, "calls", 1),
        ([{"input": "1\n2", "output": "3", "testtype": "functional"}], "add", "calls", 1),
        ([{"input": "1 2", "output": "3", "testtype": "stdin"}], "add", "programs", 1),
        ({"inputs": ["1 2", "3 4"], "outputs": ["3", "7"]}, None, "programs", 2),
        ({"inputs": [["1", "2"]], "outputs": [["3"]]}, None, "programs", 1),
        ({"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}, None, "calls", 1),
        ({"input": ["1 2"], "output": ["3"]}, None, "programs", 1),
        ([{"inputs": "1 2", "outputs": "3"}, {"input": "3 4", "output": "7"}], None, "programs", 2),
        ({"inputs": "1 2", "outputs": "3"}, None, "programs", 1),
        ([{"inputs": [1, 2], "outputs": 3}], "add", "calls", 1),
        (
            {"language": "python", "test_cases": [{"type": "stdin_stdout", "input": "1", "output": "1"}]},
            None,
            "programs",
            1,
        ),
        ({"test_list": ["assert add(1, 2) == 3"], "test_setup_code": "x = 1"}, None, "python", 1),
        ("def check(candidate):\n    assert candidate(1, 2) == 3", "add", "python", 1),
        (["add(1, 2) == 3", "add(0, 0) == 0"], None, "python", 2),
        ("from solution import add\ndef test_add():\n    assert add(1, 2) == 3", None, "python", 1),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(add(1, 2), 3)",
            None,
            "python",
            1,
        ),
    ],
)
def test_a_form_is_read_as_it_is_and_as_json_in_a_string(tests: Any, entry: str | None, kind: str, total: int) -> None:
    assert [(job.kind, job.total) for job in (job_of(tests, entry, None),)] == [(kind, total)]
    if not isinstance(tests, str):
        job = job_of(json.dumps(tests), entry, None)
        assert (job.kind, job.total) == (kind, total)


@pytest.mark.parametrize(
    ("tests", "taken"),
    [
        (["assert sorted(f(6)) == sorted([1])", "assert sorted(f(2)) == sorted([2])"], {"f"}),
        (["assert f([1]) == sys.getsizeof([1])"], {"f"}),
        (["assert math.isclose(f(1), 2)", "assert isclose(f(1), 2)"], {"f"}),
        (["assert Counter(f('a')) == Counter('a')"], {"f"}),
        (["assert np.allclose(f(1), 2)"], {"f"}),
        (["assert sqrt(f(1)) == 1"], {"f"}),
        (["assert gcd(4, 2) == 2"], {"gcd"}),
        (["assert sum(3, 1) == 2"], {"sum"}),
        (["assert push(Node(1)) == 2", "assert pop(Node(1)) == 2"], {"push", "pop", "Node"}),
        (["import math", "eps = 0.1", "assert abs(f(math.pi)) < eps"], {"f"}),
        (["def close(a, b): return abs(a - b) < 1", "assert close(f(1), 1)"], {"f"}),
        (["from solution import sorted", "assert sorted([2, 1]) == [1, 2]"], {"sorted"}),
        (["import solution as s", "assert s.f(1) == s.g(1) + 1"], {"f", "g"}),
    ],
)  # fmt: skip
def test_what_the_tests_take_from_the_candidate(tests: list[str], taken: set[str]) -> None:
    for form in (tests, "\n".join(tests)):
        read = job_of(form, None, None, frozenset({"numpy"})).script
        assert read is not None and read.taken == taken
        assert not {name for name, _ in read.own} & taken


def test_helpers_of_the_prompt_are_the_tests_own() -> None:
    prompt = 'import math\n\ndef poly(xs, x):\n    return 0\n\ndef root(xs):\n    """Find one."""\n'
    tests = "def check(candidate):\n    assert abs(poly([1], candidate([1]))) < 1e-4"
    with_prompt = job_of(tests, "root", prompt).script
    assert with_prompt is not None and with_prompt.taken == {"root"}
    without = job_of(tests, "root", None).script
    assert without is not None and without.taken == {"root", "poly"}
    fenced = code_of_prompt(f"Complete this:\n```python\n{prompt}```\nThank you.", "root")
    assert "def poly" in fenced and "def root" not in fenced
    assert code_of_prompt(f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n<think>\n", "root") == fenced
    assert code_of_prompt("Write a function.", "root") == ""
    for text in (prompt, fenced + "\n\ndef root(xs):\n    pass", f"<|im_start|>user\n{prompt}<|im_end|>\n"):
        unnamed = job_of("def check(candidate):\n    assert candidate([1]) == -1", None, text).script
        assert unnamed is not None and unnamed.candidate == "root" and unnamed.taken == {"root"}
    named = job_of("def check(c):\n    assert c([1]) == -1\ncheck(other)", None, prompt).script
    assert named is not None and named.candidate == "other"


@pytest.mark.parametrize(
    ("tests", "entry", "says"),
    [
        ([], None, "no tests"),
        (None, None, "got nothing"),
        (5, None, "got a number"),
        ("", None, "got text"),
        ([5], None, "test 0 must be an object, got a number"),
        (["assert f(1) =="], None, "not Python"),
        (["def check(candidate): assert candidate(1) == 1"], None, "give entry_point"),
        (["def check(c): assert c(1) == g()", "def other(): assert h(1)"], None, "give entry_point"),
        (["f(1)"], None, "assert nothing"),
        ("def test_f():\n    f(1)\n", None, "assert nothing"),
        ("def test_f():\n    print(f(1) == 2)\n", None, "assert nothing"),
        (["assert 1 == 1"], None, "nothing of the answer"),
        (["assert max([1]) == min([1])"], None, "give entry_point"),
        ("import scipy\nassert scipy.allclose(f(1), 1)", None, "import scipy"),
        ("import pandas.testing\nassert f(1) == 1", None, "pandas.testing, which is not in the sandbox"),
        (["assert np.zeros(1) == f(1)"], None, "the tests use numpy.zeros"),
        (["assert pd.isna(f(1))"], None, "import pandas, which is not in the sandbox"),
        ("from hypothesis import given\nassert f(1) == 1", None, "import hypothesis"),
        ("def test_f(capsys):\n    f(1)\n    assert capsys.readouterr().out == '1'", None, "standard streams"),
        ("from unittest.mock import patch\nwith patch('builtins.input'):\n    assert f() == 1", None, "standard streams"),
        ("async def test_f():\n    assert await f(1) == 1", None, "asynchronous"),
        (["import asyncio", "assert asyncio.run(f()) == 1"], None, "asynchronous"),
        ("import asyncio\nassert asyncio.get_event_loop().run_until_complete(f()) == 1", None, "asynchronous"),
        ("import solution\nassert hasattr(solution, 'f')\nassert solution.f(1) == 1", None, "as a value"),
        ("from unittest.mock import patch\nwith patch('solution.g'):\n    assert f(1) == 1", None, "the tests patch solution.g"),
        ("import inspect\nassert 'for' not in inspect.getsource(f)", None, "look into the answer (inspect.getsource)"),
        ([{"fn": "f"}], None, "neither fn, args and expected"),
        ([{"fn": 5, "args": [], "expected": 1}], None, "fn must be a name, got a number"),
        ([{"fn": "f", "args": 5, "expected": 1}], None, "args must be a list, got a number"),
        ([{"stdin": 1, "stdout": "1"}], None, "must be text, got a number"),
        ([ADD, {"stdin": "", "stdout": "1"}], None, "some tests are calls and some are programs"),
        ({"inputs": ["1"], "outputs": []}, None, "inputs has 1 values and outputs has 0"),
        ({"fn": "f"}, None, "need inputs and outputs"),
        ([ADD], 5, "entry_point must be a name, got a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_said(tests: Any, entry: Any, says: str) -> None:
    with pytest.raises(BadTests) as error:
        job_of(tests, entry, None)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_tests_are_found_in_whole_rows() -> None:
    rows: list[tuple[dict[str, Any], Any]] = [
        ({"prompt": "def f(x):\n", "test": "def check(candidate): ...", "entry_point": "f"}, ("def check(candidate): ...", "f")),
        ({"text": "", "test_setup_code": "x = 1", "test_list": ["a"], "challenge_test_list": ["b"]}, (["x = 1", "a", "b"], None)),
        ({"prompt": "", "test_imports": ["import math"], "test_list": ["a"]}, (["import math", "a"], None)),
        ({"input_output": '{"inputs": [], "outputs": []}'}, ('{"inputs": [], "outputs": []}', None)),
        ({"public_test_cases": "[]", "metadata": '{"func_name": "g"}'}, ("[]", "g")),
        ({"verification_info": "{}"}, ("{}", None)),
        ({"answer": "5"}, (None, None)),
    ]  # fmt: skip
    assert [of_row(row)[:2] for row, _ in rows] == [expected for _, expected in rows]


@pytest.mark.parametrize(
    ("output", "expected", "right"),
    [
        ("0.30000000000000004\n", "0.3", True),
        ("0.3001", "0.3", False),
        ("3", "3.0", True),
        ("3.0", "3", False),
        ("1000001", "1000000", False),
        ("03", "3", False),
        ("100.0000005 x", "100.0 x", True),
        ("100.0000005 y", "100.0 x", False),
        ("123456789.51", "123456789.50", False),
        ("0", "1e-9", False),
        ("0.0000001", "0.0", False),
        ("1e5", "100000.0", True),
        ("nan", "nan", True),
        ("inf", "1.5", False),
        ("a  b", "a b", False),
        ("1.5\n\n", "1.5", True),
        ("1.5 2.5", "1.5\n2.5", False),
        ("", "1.0", False),
        ("9" * 100000, "1.5", False),
        ("１.5", "1.5", False),
    ],
)  # fmt: skip
def test_numbers_of_an_output_have_a_tolerance_and_nothing_else_has(output: str, expected: str, right: bool) -> None:
    assert same(output, expected) is right
