"""Code grader: does this program do what its tests ask?

    completion --extract--> code --> candidate (sandbox) <--calls--> checker (tests) --> verdict

Test code and candidate never share an interpreter, and expected outputs never enter the candidate's
process. See `rewards.code.sandbox` for how a candidate runs, `inside/` for what runs there.

    python -m rewards.code [--workers N] [--timeout S] [--tier T] [--allow-unsafe]

In: {"code": ..., "tests": ..., "entry_point": ...} (or "completion" for "code": the code is then
extracted; "prompt" beside it gives tests the helpers that the prompt defines). Out, in order:
{"correct": ..., "passed": n, "total": n, "reason": ..., "sandbox": tier, "seconds": ...}.

Tests are one of: [{"fn", "args", "expected"}], [{"stdin", "stdout"}], a string of Python (with
entry_point: HumanEval's `check(candidate)`), a list of statements (MBPP's asserts; a statement
without an assert is setup).

What each tier stops, and what it does not (`tests/rewards/test_sandbox.py` holds the table to it):

    attack                                      bubblewrap   landlock   none
    ending the process, faking the result       stopped      stopped    stopped
    objects that lie about equality             stopped      stopped    stopped
    endless loop, endless output                stopped      stopped    stopped
    memory beyond the limit                     stopped      stopped    stopped
    fork bomb, daemon, exec of programs         stopped      stopped    open
    sockets: TCP, UDP, abstract Unix            stopped      stopped    open
    signals to other processes                  stopped      stopped    open
    reading files of the machine                stopped      stopped    open
    writing files                               /tmp only*   stopped    open
    filling the disk                            stopped      stopped    open
    environment of other processes              stopped      stopped    open
    learning which files and users exist        stopped      open       open
    learning the machine's name and kernel      kernel only  open       open
    bugs of the kernel's system calls           open         open       open

    * a private 16 MiB /tmp that is gone with the candidate

Results that are no plain data: namedtuples arrive as tuples, iterators as iterators over their
items; values of the standard library's types are rebuilt in the checker. Any other object stays in
the candidate and can only be handed back to it (MBPP 367, 601 and 927 build nodes and pairs that
way); a test that looks at one is `bad_type`. A module that a test uses without importing it (596
uses `sys`) is the checker's own.
"""

import ast
import builtins
import re
import time
from dataclasses import dataclass
from typing import Any

from rewards import extract
from rewards.code.inside import wire
from rewards.code.sandbox import Broken, Ended, Limits, Sandbox, call_job, program_job
from rewards.singleton import shared
from rewards.verdict import Reward

MAX_CODE = 500_000  # characters
FENCE = re.compile(r"```[ \t]*([A-Za-z0-9_+-]*)[^\n]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
PYTHON = frozenset({"", "python", "py", "python3", "Python"})


class BadTests(ValueError):
    """The tests are none of the forms above."""


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate's result. passed, total: tests. sandbox: the tier that it ran in."""

    correct: bool | None
    passed: int
    total: int
    reason: str
    sandbox: str
    seconds: float


# What is asked for, and the code that gives it


def code_of(completion: str, asked: frozenset[str]) -> str | None:
    """The last fenced block after the thinking that defines one of `asked`, else the last block.

    Without a fence the whole text counts, if it is Python that defines what is asked for. None where
    there is no code.
    """
    text = extract.after_thinking(completion)
    if text is None:
        return None
    blocks = [body for language, body in FENCE.findall(text) if language in PYTHON]
    if blocks:
        return next((block for block in reversed(blocks) if defines(block, asked)), blocks[-1])
    plain = "```" not in text and (defines(text, asked) or not asked) and bool(text.strip())
    return text if plain and compiles(text) else None


def defines(code: str, names: frozenset[str]) -> bool:
    return any(
        re.search(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(n)}\b|^{re.escape(n)}\s*=", code, re.M) for n in names
    )


def compiles(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def asked_for(tests: Any, entry_point: str | None) -> frozenset[str]:
    """Names of the functions that the tests call."""
    if entry_point:
        return frozenset({entry_point})
    if isinstance(tests, list) and tests and all(isinstance(test, dict) for test in tests):
        return frozenset(str(test["fn"]) for test in tests if "fn" in test)
    statements = [tests] if isinstance(tests, str) else tests if isinstance(tests, list) else []
    called: set[str] = set()
    for statement in statements:
        if isinstance(statement, str) and compiles(statement):
            called |= {n.func.id for n in ast.walk(ast.parse(statement)) if is_named_call(n)}  # type: ignore[attr-defined]
    return frozenset({name for name in called if not hasattr(builtins, name)} or called)


def is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


# Tests in the checker's form


def job_of(tests: Any, entry_point: str | None, prompt: str | None) -> dict[str, Any]:
    """The checker's job. Raises `BadTests`."""
    if entry_point is not None and not isinstance(entry_point, str):
        raise BadTests("entry_point must be a name")
    job = {"entry_point": entry_point, "prompt": prompt}
    if isinstance(tests, str) and tests.strip():
        return {"kind": "script", "tests": checked(tests), **job}
    if not isinstance(tests, list) or not tests:
        raise BadTests("tests must be a string or a list that is not empty")
    if all(isinstance(test, str) for test in tests):
        return {"kind": "asserts", "tests": [checked(test) for test in tests], **job}
    if all(isinstance(test, dict) and {"fn", "args", "expected"} <= test.keys() for test in tests):
        return {"kind": "calls", "tests": [call_of(test) for test in tests], **job}
    if all(is_program_test(test) for test in tests):
        return {"kind": "programs", "tests": tests}
    raise BadTests("tests are of no known form")


def checked(statement: str) -> str:
    if not compiles(statement):
        raise BadTests("a test is not Python")
    return statement


def call_of(test: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(test["fn"], str) or not isinstance(test["args"], list):
        raise BadTests('"fn" must be a name and "args" a list')
    try:
        args = [wire.encode(arg) for arg in test["args"]]
        return {"fn": test["fn"], "args": args, "expected": wire.encode(test["expected"])}
    except (wire.NotPlain, wire.TooLarge) as error:
        raise BadTests(f"an argument is not plain data: {error}") from None


def is_program_test(test: Any) -> bool:
    return isinstance(test, dict) and isinstance(test.get("stdin"), str) and isinstance(test.get("stdout"), str)


# Grading


class Grader:
    """Owns a sandbox. Thread-safe; `slots` candidates at once; `close` ends every process.

    only: insist on one tier. allow_unsafe: where no tier holds, run without one rather than refuse.
    """

    def __init__(
        self, slots: int = 1, limits: Limits | None = None, allow_unsafe: bool = False, only: str = ""
    ) -> None:
        self.sandbox = Sandbox(slots, limits, allow_unsafe, only)
        self.limits = self.sandbox.limits

    @property
    def tier(self) -> str:
        return self.sandbox.tier

    def grade(self, code: str, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Result:
        """Run `code` against `tests`. Any input gives a result."""
        start = time.perf_counter()
        correct, passed, total, reason = self._grade(code, tests, entry_point, prompt)
        return Result(correct, passed, total, reason, self.tier, time.perf_counter() - start)

    def score(self, completion: str, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Reward:
        """As the module's `score`."""
        start = time.perf_counter()
        code = code_of(completion, asked_for(tests, entry_point))
        if code is None:
            return Reward(0.0, False, "no_answer", time.perf_counter() - start)
        result = self.grade(code, tests, entry_point, prompt)
        return Reward(float(result.correct is True), result.correct, result.reason, time.perf_counter() - start)

    def _grade(self, code: str, tests: Any, entry: str | None, prompt: str | None) -> tuple[bool | None, int, int, str]:
        try:
            job = job_of(tests, entry, prompt)
        except BadTests:
            return None, 0, 0, "bad_tests"
        total = len(job["tests"]) if job["kind"] != "script" else 1
        if len(code) > MAX_CODE:
            return False, 0, total, "too_long"
        if not code.isascii() and not encodable(code):
            return False, 0, total, "rejected_syntax"
        try:
            if job["kind"] == "programs":
                return self._programs(code, job["tests"])
            return self._calls(code, job, total)
        except Broken:
            return None, 0, total, "worker_died" if self.tier else "sandbox_unavailable"

    def _calls(self, code: str, job: dict[str, Any], total: int) -> tuple[bool | None, int, int, str]:
        ended = self.sandbox.run(call_job(code, job, self.limits.seconds))
        if ended.reason:
            return False, 0, total, ended.reason
        outcome = ended.frame
        if not isinstance(outcome, dict):
            return None, 0, total, "worker_died"
        passed, total, reason = outcome["passed"], outcome["total"], outcome["reason"]
        if reason == "bad_tests":
            return None, passed, total, reason
        return passed == total and reason == "correct", passed, total, reason

    def _programs(self, code: str, tests: list[dict[str, str]]) -> tuple[bool | None, int, int, str]:
        """One process for each test; the time limit is for all of them together."""
        deadline = time.monotonic() + self.limits.seconds
        passed, reason = 0, "correct"
        for test in tests:
            left = deadline - time.monotonic()
            why = (
                "timeout"
                if left <= 0
                else judge(self.sandbox.run(program_job(code, test["stdin"], left)), test["stdout"])
            )
            passed += why == "correct"
            if reason == "correct":
                reason = why
            if why in ("timeout", "output_limit", "rejected_syntax"):
                break
        return reason == "correct", passed, len(tests), reason

    def pids(self) -> list[int]:
        return self.sandbox.pids()

    def close(self) -> None:
        self.sandbox.close()


def encodable(code: str) -> bool:
    try:
        code.encode()
    except UnicodeEncodeError:
        return False
    return True


def judge(ended: Ended, expected: str) -> str:
    """The reason-word of one run of a program."""
    if ended.reason:
        return ended.reason
    status = ended.frame
    if isinstance(status, list) and len(status) == 3 and status[0] == "raise":
        known = {"MemoryError": "memory", "SyntaxError": "rejected_syntax", "IndentationError": "rejected_syntax"}
        return known.get(status[1], "runtime_error")
    if status != ["done"] and (not ended.codes or ended.codes[0] != 0):
        return "no_result"
    return "correct" if lines(ended.output.decode(errors="replace")) == lines(expected) else "wrong"


def lines(text: str) -> list[str]:
    """Lines without white space at their ends, without empty ones at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


# The module's own grader, started when first needed
default_grader = shared(Grader)


def score(completion: str, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Reward:
    """Extract the code of `completion` and run it against `tests` in the sandbox.

    value: 1.0 when every test passes, else 0.0. `correct` is None where the grader could not decide
    (reasons `bad_tests`, `sandbox_unavailable`, `worker_died`).
    """
    return default_grader().score(completion, tests, entry_point, prompt)
