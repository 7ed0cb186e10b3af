"""Code grader: does this program do what its tests ask?

    completion --answer--> code --> candidate (sandbox) <--calls--> checker (tests) --> verdict
    tests --forms, script--> job -------------------------------------^

Test code and candidate never share an interpreter, and expected outputs never enter the candidate's
process. See `rewards.code.sandbox` for how a candidate runs, `inside/` for what runs there.

    python -m rewards.code [--workers N] [--timeout S] [--tier T] [--tolerance X] [--allow-unsafe]

In: {"code": ..., "tests": ..., "entry_point": ...} (or "completion" for "code": the code is then
extracted; "prompt" beside it gives tests and candidate what the prompt defines). Out, in order:
{"correct": ..., "passed": n, "total": n, "reason": ..., "sandbox": tier, "seconds": ...}, with "error"
where the line or its tests are bad: what is wrong.

Tests are one of: [{"fn", "args", "expected"}], [{"stdin", "stdout"}], Python (HumanEval's `check(candidate)`, pytest
and unittest forms, plain asserts), a list of statements (MBPP's asserts; a statement without a check is setup), or
the forms of other data sets (`rewards.code.forms`); any of them also as JSON in a string.

- A test takes from the candidate the entry point; without one, the names that nobody but the candidate can have
  (`rewards.code.script`). Everything else that it uses is the checker's own, whatever the candidate calls by that name.
  Helpers of the prompt (HumanEval 32, 38 and 50) are the tests' own where the prompt is given; where it is not, they
  are names that the tests take from the candidate, who may then define them as it likes.
- What a candidate raises ends no loop of the tests' (its StopIteration is a RuntimeError), and a float that is no
  number is `bad_type` where the tests do not speak of `nan`: it would pass `if abs(f(x) - y) > limit: fail()`. So is
  a text with `nan` in it where they make floats of what they get.
- A text that an answer returns is never run by the tests: their `eval` reads arithmetic and calls of `len`, `sum` and
  the like in it, and no more; `exec` and `compile` refuse it (`bad_type`). Tests that unpickle are `bad_tests`.
- Tests that hold no check, or nothing of the candidate's, are `bad_tests` and say why. A test that made no check when
  it ran has failed, and what is true by itself is no check (`assert (f(1) == 2, "why")` checks `f(1) == 2`). What fails
  before the candidate was asked anything is the tests' own: `bad_tests`; from then on it is the candidate's, and False.
  `correct` is None for nothing that a candidate can cause; where no prompt is given and the tests use a name besides
  their entry point, leaving it out may.
- A program reads descriptor 0, may start threads and use `atexit`, `exit` and `quit`; numbers that it prints have a
  tolerance (`rewards.code.output`), as have floats that a call should return. An answer may use what the prompt imports
  and defines; a LeetCode `Solution` also the imports of that site.

What each tier stops, and what it does not (`tests/rewards/test_sandbox.py` holds the table to it):

    attack                                      bubblewrap   landlock   none
    ending the process, faking the result       stopped      stopped    stopped
    objects that lie about equality             stopped      stopped    stopped
    endless loop, endless output                stopped      stopped    stopped
    memory beyond the limit                     stopped      stopped    stopped
    fork bomb, daemon, exec of programs         stopped      stopped    open
    threads without end, by raw clone too       stopped      stopped    open
    sockets: TCP, UDP, abstract Unix            stopped      stopped    open
    signals to other processes                  stopped      stopped    open
    signals by way of fcntl                     stopped      stopped    open
    reading files of the machine                stopped*     stopped*   open
    writing files                               /tmp only**  stopped    open
    times, locks and truncation of files        stopped      stopped    open
    filling the disk                            stopped      stopped    open
    environment of other processes              stopped      stopped    open
    learning which files and users exist        stopped      open       open
    learning the machine's name and kernel      kernel only  open       open
    bugs of the kernel's system calls           open         open       open

    *  but for /usr and Python's own installation, which it needs to run
    ** a private 16 MiB /tmp that is gone with the candidate

What holds each resource:

    processes    seccomp: no fork, no exec; a control group
    threads      256 in a candidate's life, counted by the template through seccomp's notifications (Linux 5.5; on a
                 kernel without them a candidate has no threads: the sandbox reports it at its start); a control group
    memory       RLIMIT_AS for each process, of which a candidate has one; a control group for all of a slot, with what
                 the kernel needs for it, which is bounded by the limits on threads and on open files (64) too
    files        RLIMIT_FSIZE, and a tmpfs with limits on bytes and inodes (bubblewrap) or no writing at all (landlock)
    output       counted by the owner, which ends the candidate at 1 MiB
    time         the owner's clock for all processes; RLIMIT_CPU

Control groups (version 1; version 2 where memory and pids are passed on) are used where this user may make them, as in
a service that they are delegated to. Elsewhere the other limits of a row hold by themselves: no attack of the table is
stopped by a control group alone.

Results that are no plain data: namedtuples arrive as tuples, iterators as iterators over their
items; values of the standard library's types are rebuilt in the checker. Any other object stays in
the candidate and can only be handed back to it (MBPP 367, 601 and 927 build nodes and pairs that
way); a test that looks at one is `bad_type`. Tests of a class (a name spelled as one, `LRUCache`) may ask its objects
for length, items, text, number, truth and `isinstance`, expect its exceptions, and do arithmetic with objects that they
made: what comes of these is compared here. An object of a dataclass that the prompt or the tests define is equal to one
of theirs by its fields. Else `==`, `<` and `in` with such an object stay `bad_type`: they would be the candidate's word
alone; and one that the candidate's class made for the test says nothing, since that class may make all its objects
alike.
"""

import time
from dataclasses import dataclass
from typing import Any

from rewards.code.answer import code_of
from rewards.code.forms import BadTests, Job, job_of
from rewards.code.output import TOLERANCE, judge
from rewards.code.sandbox import Broken, Limits, Sandbox, call_job, program_job
from rewards.singleton import shared
from rewards.verdict import Reward

MAX_CODE = 500_000  # characters


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate's result. passed, total: tests. sandbox: the tier that it ran in. detail: of `bad_tests`, why."""

    correct: bool | None
    passed: int
    total: int
    reason: str
    sandbox: str
    seconds: float
    detail: str = ""


def asked_for(tests: Any, entry_point: str | None, prompt: str | None = None) -> frozenset[str]:
    """Names of which an answer must define one: what the tests call. None where the tests are bad."""
    try:
        return job_of(tests, entry_point, prompt).asked
    except BadTests:
        return frozenset()


# Grading


class Grader:
    """Owns a sandbox. Thread-safe; `slots` candidates at once; `close` ends every process.

    only: insist on one tier. allow_unsafe: where no tier holds, run without one rather than refuse.
    tolerance: of numbers in a program's output (`rewards.code.output`).
    """

    def __init__(
        self,
        slots: int = 1,
        limits: Limits | None = None,
        allow_unsafe: bool = False,
        only: str = "",
        tolerance: float = TOLERANCE,
    ) -> None:
        self.tolerance = tolerance
        self.sandbox = Sandbox(slots, limits, allow_unsafe, only)
        self.limits = self.sandbox.limits

    @property
    def tier(self) -> str:
        return self.sandbox.tier

    def grade(self, code: str | None, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Result:
        """Run `code` against `tests`. Any input gives a result; None for code is no answer."""
        start = time.perf_counter()
        correct, passed, total, reason, detail = self._grade(code, tests, entry_point, prompt)
        return Result(correct, passed, total, reason, self.tier, time.perf_counter() - start, detail)

    def score(self, completion: str, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Reward:
        """As the module's `score`."""
        start = time.perf_counter()
        result = self.answer(completion, tests, entry_point, prompt)
        return Reward(float(result.correct is True), result.correct, result.reason, time.perf_counter() - start)

    def answer(self, completion: str, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Result:
        """As `grade`, of the code in a completion."""
        code = code_of(completion, asked_for(tests, entry_point, prompt))
        return self.grade(code, tests, entry_point, prompt)

    def _grade(
        self, code: str | None, tests: Any, entry: str | None, prompt: str | None
    ) -> tuple[bool | None, int, int, str, str]:
        try:
            job = job_of(tests, entry, prompt)
        except BadTests as error:
            return None, 0, 0, "bad_tests", str(error)
        if code is None:
            return False, 0, job.total, "no_answer", ""
        if len(code) > MAX_CODE:
            return False, 0, job.total, "too_long", ""
        if not code.isascii() and not encodable(code):
            return False, 0, job.total, "rejected_syntax", ""
        try:
            return (*self._programs(code, job), "") if job.kind == "programs" else self._calls(code, job)
        except Broken:
            return None, 0, job.total, "worker_died" if self.tier else "sandbox_unavailable", ""

    def _calls(self, code: str, job: Job) -> tuple[bool | None, int, int, str, str]:
        message = {**job.message(), "prelude": job.prelude(code)}
        ended = self.sandbox.run(call_job(code, message, self.limits.seconds))
        if not ended.reason and not isinstance(ended.frame, dict):
            # The checker ended without a word: once may be the machine's doing.
            ended = self.sandbox.run(call_job(code, message, self.limits.seconds))
        outcome = ended.frame
        if ended.reason or not isinstance(outcome, dict):
            return False, 0, job.total, ended.reason or "no_result", ""
        passed, total, reason = outcome["passed"], outcome["total"], outcome["reason"]
        if reason == "bad_tests":
            return None, passed, total, reason, " ".join(outcome["detail"].split())
        return passed == total and reason == "correct", passed, total, reason, ""

    def _programs(self, code: str, job: Job) -> tuple[bool | None, int, int, str]:
        """One process for each test; the time limit is for all of them together."""
        deadline = time.monotonic() + self.limits.seconds
        passed, reason, prelude = 0, "correct", job.prelude(code)
        for test in job.tests:
            left = deadline - time.monotonic()
            if left <= 0:
                why = "timeout"
            else:
                stdin = test["stdin"].encode(errors="replace")
                ended = self.sandbox.run(program_job(code, prelude, stdin, left))
                why = judge(ended, test["stdout"], self.tolerance)
            passed += why == "correct"
            if reason == "correct":
                reason = why
            if why in ("timeout", "output_limit", "rejected_syntax"):
                break
        if reason == "correct" and not any(test["stdout"].strip() for test in job.tests):
            reason = "wrong"  # nothing is asked for, and nothing was compared
        return reason == "correct", passed, len(job.tests), reason

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


# The module's own grader, started when first needed
default_grader = shared(Grader)


def score(completion: str, tests: Any, entry_point: str | None = None, prompt: str | None = None) -> Reward:
    """Extract the code of `completion` and run it against `tests` in the sandbox.

    value: 1.0 when every test passes, else 0.0. `correct` is None where the grader could not decide
    (reasons `bad_tests`, `sandbox_unavailable`, `worker_died`).
    """
    return default_grader().score(completion, tests, entry_point, prompt)
