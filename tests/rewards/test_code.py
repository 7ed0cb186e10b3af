"""The code grader: HumanEval, MBPP, every form of test, what cannot fool it, its command line."""

# ruff: noqa: E501

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

import rewards.code
from rewards.code import Grader, Result
from rewards.code.sandbox import Limits
from tests.rewards.shared_data import rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    ours = Grader(2, Limits(seconds=20.0))
    yield ours
    ours.close()


@pytest.fixture(scope="module")
def patient() -> Iterator[Grader]:
    """For right answers: one of MBPP's sums up divisors for seconds, on a slow machine for many."""
    ours = Grader(2, Limits(seconds=200.0))
    yield ours
    ours.close()


def grade_all(grader: Grader, jobs: list[tuple[Any, ...]]) -> list[Result]:
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda job: grader.grade(*job), jobs))


def failures(results: list[Result]) -> list[tuple[int, Result]]:
    return [(n, result) for n, result in enumerate(results) if not result.correct]


def mbpp_tests(row: dict[str, Any]) -> list[str]:
    return ([row["test_setup_code"]] if row["test_setup_code"] else []) + row["test_list"]


# Real tasks


@pytest.mark.integration
def test_every_canonical_solution_of_humaneval_passes(patient: Grader) -> None:
    tasks = rows("humaneval/test.jsonl")
    results = grade_all(patient, [(t["prompt"] + t["canonical_solution"], t["test"], t["entry_point"]) for t in tasks])
    assert len(results) == 164 and failures(results) == []


@pytest.mark.integration
def test_humaneval_helpers_may_come_from_the_prompt(grader: Grader) -> None:
    """32, 38 and 50 test with helpers of the prompt: with `prompt` they are the tests' own."""
    for task in rows("humaneval/test.jsonl"):
        if task["entry_point"] in ("find_zero", "decode_cyclic", "decode_shift"):
            fooling = f"{task['prompt']}    return 0\n\ndef poly(xs, x): return 0\nencode_cyclic = encode_shift = lambda s: 0\n"
            honest = task["prompt"] + task["canonical_solution"]
            assert grader.grade(honest, task["test"], task["entry_point"], task["prompt"]).correct is True
            assert grader.grade(fooling, task["test"], task["entry_point"], task["prompt"]).correct is False


@pytest.mark.integration
def test_every_solution_of_mbpp_passes(patient: Grader) -> None:
    tasks = rows("mbpp/mbpp.jsonl")
    results = grade_all(patient, [(t["code"], mbpp_tests(t)) for t in tasks])
    assert len(results) == 974 and failures(results) == []


class Mutate(ast.NodeTransformer):
    """Another comparison, another operator, another constant: the first that it meets."""

    SWAPS: ClassVar[dict[type, type]] = {ast.Lt: ast.GtE, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
             ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.FloorDiv, ast.In: ast.NotIn}  # fmt: skip

    def __init__(self) -> None:
        self.done = False

    def generic_visit(self, node: Any) -> Any:
        if not self.done and isinstance(node, ast.Compare) and type(node.ops[0]) in self.SWAPS:
            node.ops[0] = self.SWAPS[type(node.ops[0])]()
            self.done = True
        elif not self.done and isinstance(node, ast.BinOp) and type(node.op) in self.SWAPS:
            node.op = self.SWAPS[type(node.op)]()
            self.done = True
        return super().generic_visit(node)


@pytest.mark.integration
def test_mutated_solutions_fail(grader: Grader) -> None:
    """All that return None; of those with one changed operator, all but a few that are equivalent."""
    tasks = rows("humaneval/test.jsonl")
    nothing = [(t["prompt"] + "    return None\n", t["test"], t["entry_point"]) for t in tasks]
    assert [n for n, result in enumerate(grade_all(grader, nothing)) if result.correct is not False] == []
    jobs = []
    for task in tasks:
        mutate = Mutate()
        tree = mutate.visit(ast.parse(task["prompt"] + task["canonical_solution"]))
        if mutate.done:
            jobs.append((ast.unparse(tree), task["test"], task["entry_point"]))
    fast = Grader(2, Limits(seconds=2.0))
    try:
        results = grade_all(fast, jobs)
    finally:
        fast.close()
    passed = sum(result.correct is True for result in results)
    assert len(jobs) > 100 and passed <= 0.05 * len(jobs), f"{passed} of {len(jobs)} mutants passed"


# Forms of tests

SQUARE = "def f(x):\n    return x * x\n"
SUM = "import sys\nprint(sum(map(int, sys.stdin.read().split())))\n"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "tests", "entry", "expected"),
    [
        (SQUARE, [{"fn": "f", "args": [7], "expected": 49}, {"fn": "f", "args": [-2], "expected": 4}], None, (True, 2, 2, "correct")),
        (SQUARE, [{"fn": "f", "args": [7], "expected": 49}, {"fn": "f", "args": [2], "expected": 5}], None, (False, 1, 2, "wrong")),
        ("def f(a, b): return (a, [b])", [{"fn": "f", "args": [1, "x"], "expected": [1, ["x"]]}], None, (True, 1, 1, "correct")),
        ("def f(n): return {n: 1, None: [n]}", [{"fn": "f", "args": [7], "expected": {"7": 1, "null": [7]}}], None, (True, 1, 1, "correct")),
        ("def f(n): return {n: 1, str(n): 2}", [{"fn": "f", "args": [7], "expected": {"7": 1}}], None, (False, 0, 1, "wrong")),
        ("def f(n): return {(n,): 1}", [{"fn": "f", "args": [7], "expected": {"(7,)": 1}}], None, (False, 0, 1, "wrong")),
        ("def f(d): return {k: v + 1 for k, v in d.items()}", [{"fn": "f", "args": [{"a": 1}], "expected": {"a": 2}}], None, (True, 1, 1, "correct")),
        (SUM, [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "", "stdout": "0"}], None, (True, 2, 2, "correct")),
        (SUM, [{"stdin": "1 2\n", "stdout": "4\n"}, {"stdin": "", "stdout": "0"}], None, (False, 1, 2, "wrong")),
        ("a = int(input())\nb = input()\nprint(a, b)", [{"stdin": "1\nzwei\n", "stdout": "1 zwei  \n\n"}], None, (True, 1, 1, "correct")),
        ("if __name__ == '__main__':\n    print(input())", [{"stdin": "é", "stdout": "é"}], None, (True, 1, 1, "correct")),
        ("raise SystemExit(1)", [{"stdin": "", "stdout": ""}], None, (False, 0, 1, "runtime_error")),
        ("import sys\nprint(1)\nsys.exit()", [{"stdin": "", "stdout": "1"}], None, (True, 1, 1, "correct")),
        ("while True: print('1' * 1000)", [{"stdin": "", "stdout": "1"}], None, (False, 0, 1, "output_limit")),
        ("print(1", [{"stdin": "", "stdout": "1"}], None, (False, 0, 1, "rejected_syntax")),
        (SQUARE, "def check(candidate):\n    assert candidate(7) == 49\n", "f", (True, 1, 1, "correct")),
        (SQUARE, "def check(candidate):\n    assert candidate(7) == 48\n", "f", (False, 0, 1, "wrong")),
        (SQUARE, "assert f(7) == 49\nassert f(0) == 0", None, (True, 1, 1, "correct")),
        (SQUARE, ["assert f(7) == 49", "assert f(1) == 2", "assert f(0) == 0"], None, (False, 2, 3, "wrong")),
        (SQUARE, ["import math", "assert math.isclose(f(7), 49)"], None, (True, 1, 1, "correct")),
        (SQUARE, ["assert f('a') == 1"], None, (False, 0, 1, "runtime_error")),
        ("def f(x):\n    raise KeyError(x)", ["try:\n    f(1)\nexcept KeyError:\n    pass\nelse:\n    assert False"], None, (True, 1, 1, "correct")),
        ("def g(x): return x", ["assert f(7) == 49"], None, (False, 0, 1, "no_answer")),
        (SQUARE, ["assert f(7) =="], None, (None, 0, 0, "bad_tests")),
        (SQUARE, ["raise RuntimeError", "assert f(7) == 49"], None, (None, 0, 1, "bad_tests")),
        (SQUARE, [], None, (None, 0, 0, "bad_tests")),
        (SQUARE, [{"fn": "f"}], None, (None, 0, 0, "bad_tests")),
        (SQUARE, {"fn": "f"}, None, (None, 0, 0, "bad_tests")),
        ("def f(x):\n    while True: pass", ["assert f(7) == 49"], None, (False, 0, 1, "timeout")),
        ("\ud800", ["assert f(7) == 49"], None, (False, 0, 1, "rejected_syntax")),
    ],
)  # fmt: skip
def test_forms(code: str, tests: Any, entry: str | None, expected: tuple[Any, ...]) -> None:
    grader = Grader(1, Limits(seconds=2.0))
    try:
        result = grader.grade(code, tests, entry)
    finally:
        grader.close()
    assert (result.correct, result.passed, result.total, result.reason) == expected


@pytest.mark.integration
@pytest.mark.parametrize(
    "expression",
    [
        "Counter('hello')", "defaultdict(int, a=1)", "defaultdict(list)", "deque([1, 2], maxlen=3)", "Decimal('1.10')", "Fraction(1, 3)",
        "1 + 2j", "{1, 2}", "frozenset('ab')", "b'x'", "bytearray(b'y')", "range(3)", "OrderedDict(a=1, b=2)", "10 ** 5000", "float('inf')",
        "date(2024, 2, 29)", "datetime(2024, 2, 29, 1)", "timedelta(days=1)", "{(1, 2): [None, True, {}]}", "{'a': 1}.keys()", "int", "type(None)",
        "...", "'\\ud800'", "''", "-0.0", "[[]]", "{1: {2: {3: (4,)}}}", "complex('nan').imag * 0 + 1", "10 ** 20",
    ],
)  # fmt: skip
def test_plain_values_arrive_as_they_are(grader: Grader, expression: str) -> None:
    imports = (
        "from collections import Counter, defaultdict, deque, OrderedDict\nfrom decimal import Decimal\n"
        "from fractions import Fraction\nfrom datetime import date, datetime, timedelta\n"
    )
    code = f"{imports}def f(): return {expression}\ndef back(x): return x"
    tests = [imports, f"assert f() == {expression} and type(f()) is type({expression})"]
    if "nan" not in expression:
        tests.append(f"assert back({expression}) == {expression}")
    result = grader.grade(code, tests)
    assert result.correct is True, result


@pytest.mark.integration
def test_iterators_types_and_builtin_names(grader: Grader) -> None:
    assert grader.grade("def f(): return (i for i in range(3))", ["assert list(f()) == [0, 1, 2]"]).correct is True
    assert (
        grader.grade("def f(): return map(str, [1])", ["assert f() != ['1']", "assert list(f()) == ['1']"]).correct
        is True
    )
    assert grader.grade(
        "def pick(xs, t): return [x for x in xs if type(x) is t]", ["assert pick([1, 'a'], int) == [1]"]
    ).correct
    assert grader.grade("def sum(a, b): return a - b", ["assert sum(3, 1) == 2"]).correct is True
    named = "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)"
    assert grader.grade(named, ["assert f() == (1, 2)"]).correct is True


@pytest.mark.integration
@pytest.mark.parametrize(
    "code",
    [
        "def abs(x): return 0\ndef f(x): return 1000",
        "def len(x): return 0\nabs = set = sorted = lambda *a: 0\ndef f(x): return 5",
        "import math\nmath.isclose = lambda *a, **k: True\nmath.fabs = lambda x: 0\ndef f(x): return 5",
        "isclose = lambda *a: True\nclass math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef f(x): return 5",
        "import builtins\nbuiltins.abs = lambda x: 0\ndef f(x): return 5",
        "def candidate(x): return 49\ndef check(c): pass\ndef f(x): return 5",
        "__builtins__['AssertionError'] = None\ndef f(x): return 5",
        "f = type('F', (), {'__call__': lambda s, x: 5, '__eq__': lambda s, o: True})()",
        "class A(float):\n    def __sub__(s, o): return 0.0\n    __rsub__ = __sub__\ndef f(x): return A(1)",
    ],
)
def test_what_the_candidate_redefines_does_not_reach_the_tests(grader: Grader, code: str) -> None:
    tests = "import math\ndef check(candidate):\n    assert abs(candidate(7) - 49) < 1e-6\n    assert math.isclose(f(7), 49)\n"
    assert grader.grade(code, tests, "f").correct is False
    assert grader.grade(code, ["assert abs(f(7) - 49) < 1e-6", "assert set([f(7)]) == set([49])"]).correct is False


# Extraction


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>```python\ndef f(): return 0\n```</think>", None),
        ("<think>```python\ndef f(): return 0\n```</think>\n```python\ndef f(): return 1\n```", "def f(): return 1"),
        ("```python\ndef f(): return 1\n```\nExample:\n```python\nprint(f())\n```", "def f(): return 1"),
        ("```python\ndef f(): return 1\n```\nbetter:\n```py\ndef f(): return 2\n```", "def f(): return 2"),
        ("```\ndef f(): return 1\n```\n```bash\nls\n```", "def f(): return 1"),
        ("```python\ndef g(): return 1\n```", "def g(): return 1"),
        ("text\n```python\nclass f:\n    pass", "class f:\n    pass"),
        ("def f(): return 1", "def f(): return 1"),
        ("Sorry, I cannot.", None),
        ("", None),
        ("<think>still thinking\n```python\ndef f(): return 1\n```", None),
    ],
)
def test_code_is_taken_from_the_answer(completion: str, expected: str | None) -> None:
    code = rewards.code.code_of(completion, frozenset({"f"}))
    assert (code.strip() if code is not None else None) == expected


@pytest.mark.integration
def test_score(grader: Grader) -> None:
    completion = "<think>easy</think>\n```python\ndef f(x):\n    return x * x\n```"
    reward = grader.score(completion, ["assert f(7) == 49"])
    assert (reward.value, reward.correct, reward.reason) == (1.0, True, "correct") and reward.seconds > 0
    assert grader.score("no code", ["assert f(7) == 49"]).reason == "no_answer"


@pytest.mark.integration
def test_the_module_s_own_function() -> None:
    assert (
        rewards.code.score("```python\ndef f(x): return 49\n```", [{"fn": "f", "args": [7], "expected": 49}]).correct
        is True
    )


# Command line


@pytest.mark.integration
def test_command_line_keeps_the_order_and_survives_bad_lines() -> None:
    slow = "import time\ndef f(x):\n    time.sleep(0.5)\n    return 49"
    tests = [{"fn": "f", "args": [7], "expected": 49}]
    lines = [
        json.dumps({"code": slow, "tests": tests}),
        "{not json",
        json.dumps({"code": "def f(x): return 1", "tests": tests}),
        json.dumps({"code": 5, "tests": tests}),
        json.dumps({"completion": "```python\ndef f(x): return 49\n```", "tests": tests}),
        json.dumps([1]),
        json.dumps(
            {
                "code": "def f(x): return 49",
                "tests": "def check(candidate): assert candidate(7) == 49",
                "entry_point": "f",
            }
        ),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "rewards.code", "--workers", "2"],
        input="\n".join(lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "sandbox tier: " in done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["reason"] for r in results] == [
        "correct",
        "bad_input",
        "wrong",
        "bad_input",
        "correct",
        "bad_input",
        "correct",
    ]
    errors = [r["error"] for r in results if r["reason"] == "bad_input" and "error" in r]
    assert "code must be text, got a number" in errors
    assert [r.get("line") for r in results] == [None, 2, None, 4, None, 6, None]
    assert all({"correct", "reason", "seconds"} <= r.keys() for r in results)
    assert {"passed", "total", "sandbox"} <= results[0].keys()
