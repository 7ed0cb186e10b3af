"""Tests in the forms that data sets have them, brought to the few that are run here.

    [{"fn", "args", "expected"}]                    calls
    [{"stdin", "stdout"}], [{"input", "output"}]    programs  (verifiable-coding-problems, LiveCodeBench)
    {"inputs", "outputs"[, "fn_name"]}              programs, or calls with `fn_name`  (APPS, TACO)
    {"test_cases"}, {"test_list", ...}              what they hold  (PrimeIntellect, MBPP)
    text of Python, or a list of statements         a script  (HumanEval, MBPP, pytest, unittest; also doctests)
    [{"input": "f(1)", "output": "2"}]              a script, where no function is named
    any of these as JSON in a string; {"tests": any, "context": code that tests and answers have beside the prompt}

`of_row` finds the tests, the entry point and the prompt in a whole row.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from rewards.code import script
from rewards.code.inside import wire
from rewards.code.script import BadTests, Script, Unnamed, code_of_prompt, function_of_prompt, root
from rewards.code.spellings import as_python, beside, by_name

SOURCES, EXPECTED = ("stdin", "input", "inputs"), ("stdout", "output", "expected_output", "outputs", "expected")
NAMES = ("fn", "fn_name", "func_name", "function", "function_name", "entry_point")
HOLDERS = ("test_cases", "tests", "unit_tests", "ground_truth", "input_output", "public_tests")  # of tests, in a dict
COLUMNS: tuple[str, ...] = (
    "tests",
    "test",
    "test_list",
    "test_code",
    "input_output",
    "verification_info",
    "test_cases",
)
COLUMNS += ("public_test_cases", "unit_tests", "ground_truth", "testcase", "public_tests")
CONTEST = ("public_tests", "private_tests", "generated_tests")  # CodeContests' columns, all of them tests
PRELUDE = "\n".join(
    f"from {module} import *" for module in "typing collections itertools functools heapq bisect math operator".split()
)
PRELUDE += "\nimport collections, itertools, functools, heapq, bisect, math, operator, string, re, random, sys"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run. kind: "calls", "programs" or "python". tests: of the first two. script: of the last.

    asked: names of which the answer must define one. prompt: the prompt's code. strange: names besides the entry point
    that the tests use, of which no prompt tells whose they are. total: tests, as far as known.
    """

    kind: str
    tests: tuple[dict[str, Any], ...] = ()
    script: Script | None = None
    asked: frozenset[str] = frozenset()
    prompt: str = ""
    strange: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        return len(self.tests) or max(1, sum(test for _, test in self.script.steps) if self.script else 1)

    def message(self) -> dict[str, Any]:
        """The checker's part."""
        if self.script is None:
            return {"kind": self.kind, "total": self.total, "tests": self.tests}
        read = self.script
        return {
            "kind": self.kind,
            "total": self.total,
            "steps": read.steps,
            "taken": sorted(read.taken),
            "own": read.own,
            "candidate": read.candidate,
            "smoke": sorted(read.smoke),
            "called": sorted(read.called),
            "valued": sorted(read.valued),
            "classes": sorted(read.classes),
            "errors": sorted(read.errors),
            "strange": sorted(self.strange),
            "prompt": self.prompt,
        }

    def prelude(self, code: str) -> str:
        """What the prompt promises an answer: its own imports and helpers; LeetCode's imports for a `Solution`."""
        solution = "Solution" in self.asked or (self.kind == "calls" and "\nclass Solution" in f"\n{code}")
        return f"{PRELUDE if solution else ''}\n{self.prompt}".strip()


def job_of(tests: Any, entry_point: str | None, prompt: str | None, here: frozenset[str] = frozenset()) -> Job:
    """The tests in a form that is run. here: modules besides the standard library's that the checker has.

    Raises `BadTests`.
    """
    if entry_point is not None and not isinstance(entry_point, str):
        raise BadTests(f"entry_point must be a name, got {named(entry_point)}")
    tests = unpacked(tests)
    context = ""
    if isinstance(tests, dict):
        context = tests["context"] if isinstance(tests.get("context"), str) else ""
        tests, entry_point = of_dict(tests, entry_point)
    told = f"{prompt or ''}\n{context}".strip() or None
    helpers = helpers_in(prompt, context, entry_point)
    if isinstance(tests, list) and tests and not entry_point:
        tests = beside(tests, EXPECTED) or tests
    if isinstance(tests, str) and tests.strip():
        tests = as_python(tests)
        try:
            return python((tests,), entry_point, helpers, here, told)
        except Unnamed:
            entry_point = function_of_prompt(prompt)
            if entry_point is None:
                raise
            return python((tests,), entry_point, helpers_in(prompt, context, entry_point), here, told)
    if not isinstance(tests, list):
        raise BadTests(f"tests must be text, a list or an object, got {named(tests)}")
    if not tests:
        raise BadTests("there are no tests")
    if all(isinstance(test, str) for test in tests):
        return python(tuple(as_python(test) for test in tests if test.strip()), entry_point, helpers, here, told)
    forms = [case(test, entry_point, number) for number, test in enumerate(tests)]
    kinds = {kind for kind, _ in forms}
    if len(kinds) > 1:
        raise BadTests("some tests are calls and some are programs")
    kind = kinds.pop()
    asked = frozenset(root(test["fn"]) for _, test in forms) if kind == "calls" else frozenset[str]()
    return Job(kind, tuple(test for _, test in forms), None, asked, helpers)


def helpers_in(prompt: str | None, context: str, entry: str | None) -> str:
    return f"{code_of_prompt(context, entry)}\n{code_of_prompt(prompt, entry)}".strip()


def python(sources: tuple[str, ...], entry: str | None, helpers: str, here: frozenset[str], prompt: str | None) -> Job:
    """A script. prompt: the whole text; a name that neither it nor the tests tell is nobody's."""
    if not sources:
        raise BadTests("there are no tests")
    read = script.read(sources, entry or None, helpers, here)
    strange = read.taken - {root(entry), *read.imported} if entry else frozenset[str]()
    for name in sorted(strange - set(re.findall(r"\w+", prompt or ""))) if prompt else ():
        raise BadTests(f"the tests use {name}, which neither they nor the prompt define or name")
    return Job("python", (), read, read.asked, helpers, frozenset() if prompt else strange)


def unpacked(tests: Any) -> Any:
    """What a string of JSON holds (a list or an object), else the value itself."""
    for _ in range(3):
        if not (isinstance(tests, str) and tests.lstrip()[:1] in ("[", "{")):
            return tests
        try:
            tests = json.loads(tests)
        except (ValueError, RecursionError):
            return tests
    return tests


def of_dict(tests: dict[str, Any], entry: str | None) -> tuple[Any, str | None]:
    """A dict of tests as a list (or text) of them, and the entry point."""
    entry = next((tests[name] for name in NAMES if isinstance(tests.get(name), str) and tests[name]), entry)
    if "test_list" in tests:
        return with_setup(tests), entry
    for source, expected in ((a, b) for a in SOURCES for b in EXPECTED):
        if isinstance(tests.get(source), list) and isinstance(tests.get(expected), list):
            ins, outs = tests[source], tests[expected]
            if len(ins) != len(outs):
                raise BadTests(f"{source} has {len(ins)} values and {expected} has {len(outs)}")
            kind = "wrapped" if expected == "outputs" else "functional"
            return [{"input": i, "output": o, "testtype": kind} for i, o in zip(ins, outs, strict=True)], entry
    for name in HOLDERS:
        if name in tests:
            held = unpacked(tests[name])
            return of_dict(held, entry) if isinstance(held, dict) else (held, entry)
    if any(name in tests for name in (*SOURCES, "args")):
        return [tests], entry
    raise BadTests(f"tests as an object need inputs and outputs, or test_cases (found {', '.join(map(str, tests))})")


def with_setup(row: dict[str, Any]) -> list[Any]:
    """MBPP's three fields as one list of statements."""
    statements: list[Any] = []
    for name in ("test_imports", "test_setup_code", "test_list", "challenge_test_list"):
        value = unpacked(row.get(name))
        statements += value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return statements


# One test of a list


def case(test: Any, entry: str | None, number: int) -> tuple[str, dict[str, Any]]:
    """("calls" or "programs", the test)."""
    if not isinstance(test, dict):
        raise BadTests(f"test {number} must be an object, got {named(test)}")
    if {"args", "expected"} <= test.keys():
        return "calls", call(test.get("fn", entry), test["args"], test["expected"], number)
    source = next((test[name] for name in SOURCES if name in test), None)
    expected = next((test[name] for name in EXPECTED if name in test), None)
    function = next((test[name] for name in NAMES if test.get(name)), entry)
    if source is None or expected is None:
        raise BadTests(
            f"test {number} has neither fn, args and expected nor stdin and stdout (found {', '.join(test)})"
        )
    kind = str(test.get("testtype", test.get("type", "")))
    if function and not kind.startswith("std") and "stdin" not in test:
        wrapped = kind in ("wrapped", "function_call") and isinstance(expected, list) and len(expected) == 1
        return "calls", {**call(function, arguments(source), plain(expected), number), "either": wrapped}
    source, expected = joined(source), joined(expected)
    if not isinstance(source, str) or not isinstance(expected, str):
        bad = source if not isinstance(source, str) else expected
        raise BadTests(f"test {number}: stdin and stdout must be text, got {named(bad)} (a call needs fn_name)")
    return "programs", {"stdin": source, "stdout": expected}


def joined(lines: Any) -> Any:
    """TACO has some inputs as lists of lines."""
    return "\n".join(map(str, lines)) if isinstance(lines, list) and all(isinstance(x, str) for x in lines) else lines


def arguments(source: Any) -> Any:
    """Arguments as a list; JSON values on a line each, as LiveCodeBench writes them; by name, as LeetCode does."""
    if not isinstance(source, str):
        return source
    try:
        return [json.loads(line) for line in source.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return by_name(source) or [source]


def plain(expected: Any) -> Any:
    if not isinstance(expected, str):
        return expected
    try:
        return json.loads(expected)
    except (ValueError, RecursionError):
        return expected


def call(function: Any, args: Any, expected: Any, number: int) -> dict[str, Any]:
    if not isinstance(function, str) or not function.strip():
        raise BadTests(f"test {number}: fn must be a name, got {named(function)}")
    if not isinstance(args, list):
        raise BadTests(f"test {number}: args must be a list, got {named(args)}")
    try:
        return {"fn": function, "args": [wire.encode(arg) for arg in args], "expected": wire.encode(expected)}
    except (wire.NotPlain, wire.TooLarge) as error:
        raise BadTests(f"test {number}: an argument is not plain data: {error}") from None


JSON_NAMES = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def named(value: Any) -> str:
    """A JSON value's type, for a message."""
    return "nothing" if value is None else JSON_NAMES.get(type(value), type(value).__name__)


# Whole rows


def contest_tests(row: dict[str, Any]) -> dict[str, list[Any]] | None:
    """The programs' inputs and outputs of a row of CodeContests, of all its columns; None for another row."""
    found = [unpacked(row.get(name)) for name in CONTEST]
    held = [one for one in found if isinstance(one, dict) and {"input", "output"} <= one.keys()]
    if len(held) < 2 or not all(isinstance(one[name], list) for one in held for name in ("input", "output")):
        return None
    return {f"{name}s": [value for one in held for value in one[name]] for name in ("input", "output")}


def of_row(row: dict[str, Any]) -> tuple[Any, str | None, str | None]:
    """(tests, entry point, prompt) of a row as data sets have it; tests is None where there are none."""
    tests = with_setup(row) if "test_list" in row and "tests" not in row else contest_tests(row)
    if tests is None:
        tests = next((row[name] for name in COLUMNS if row.get(name) is not None), None)
    entry = row.get("entry_point") or next((row[name] for name in NAMES if row.get(name)), None)
    metadata = unpacked(row.get("metadata"))
    if entry is None and isinstance(metadata, dict):
        entry = metadata.get("func_name")
    prompt = row.get("prompt", row.get("starter_code"))
    return tests, entry, prompt if isinstance(prompt, str) else None
