"""Reasoning Gym: its problems, and its own scorers where nothing else can recognise a right answer.

    GymTask(family, options, seed, index) --worker--> question, answer
    answer, GymTask --confined worker--> score --> verdict

Both run in killable processes. Generators there, since some depend on the order of sets of strings,
which differs from process to process unless the hash seed is fixed (`processes.environment` fixes it).
Scorers there, since several evaluate the answer as Python or as SymPy: their processes may read the Python
installation and nothing else, write nothing, start nothing and open no connection (Landlock and seccomp;
where these do not work: `sandbox_unavailable`). Besides, an answer that calls, looks up attributes or names
`__x__` is refused where the gold answer does nothing of the kind.

The package (`reasoning-gym`, Apache-2.0) is optional: the extra `gym`.
"""

import contextlib
import importlib.util
import json
import random
import re
import resource
import socket
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rewards.sandbox.processes import Died, Failure, Pool, receive, send
from rewards.verdict import WRONG, Verdict, judged

MEMORY = 4 << 30  # bytes of address space of a worker
MAKE_TIMEOUT = 60.0  # seconds for one problem, the first import included
SCORE_TIMEOUT = 30.0  # seconds a scorer's process may take to start
MAX_ANSWER = 20_000  # characters
PASS = 1 - 1e-9  # scores below it are partial credit, which is not correct
CHUNK = 500  # problems of one seed: Reasoning Gym's own default size
# What an expression needs to do more than compute.
ACTIVE = re.compile(r"__|(?:[^\W\d]|[\])])\s*\.\s*[^\W\d]|\blambda\b|\b[^\W\d]\w*\s*\(|[\])]\s*\(")
# Powers of powers and long numbers: what takes seconds to evaluate and is never an answer.
ENORMOUS = re.compile(r"(?:\*\*|\^)[^+\-*/^,;\n]*(?:\*\*|\^)|(?:\*\*|\^)\s*+\(?\s*+\d{4,}|\d{100,}")
FUNCTION = re.compile(r"\b(?:sin|cos|tan|sec|csc|cot|exp|log|ln|sqrt|Abs|asin|acos|atan|sinh|cosh|tanh|pi|e)\s*\(")


class BadFamily(ValueError):
    """The family, an option or a value cannot be used; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class GymTask:
    """One problem, by how it is made. family: e.g. "chain_sum". options: JSON of its settings, keys sorted.

    seed, index: of the data set and in it; together they make the same problem everywhere.
    """

    family: str
    options: str
    seed: int
    index: int


@dataclass(frozen=True, slots=True)
class GymProblem:
    """question: the prompt. answer: gold, or None where only the scorer knows. own: has a scorer of its own."""

    question: str
    answer: str | None
    own: bool


def installed() -> bool:
    return importlib.util.find_spec("reasoning_gym") is not None


class Gym:
    """Makes problems. Thread-safe; `close` ends its processes."""

    def __init__(self, processes: int = 1) -> None:
        self.pool = Pool("rewards.gym:serve_problems", ["rewards.gym", "reasoning_gym"], processes, MEMORY)

    def check(self, family: str, options: dict[str, Any]) -> None:
        """Raises `BadFamily` where the family does not exist or does not take `options`."""
        if not installed():
            raise BadFamily(f"{family} needs the package reasoning-gym: pip install 'srm-ray[gym]'")
        reply = self._ask(["check", family, json.dumps(options), 0, 0])
        if reply:
            raise BadFamily(str(reply))

    def make(self, task: GymTask) -> GymProblem:
        """Raises `BadFamily` where the generator fails."""
        reply = self._ask(["make", task.family, task.options, task.seed, task.index])
        if isinstance(reply, str):
            raise BadFamily(f"{task.family} with options {task.options}: {reply}")
        return GymProblem(*reply)

    def _ask(self, item: list[Any]) -> Any:
        try:
            reply = self.pool.run([item], MAKE_TIMEOUT)[0]
        except Died:
            reply = Failure("worker_died")
        if isinstance(reply, Failure):
            raise BadFamily(f"{item[1]}: making a problem ended with {reply.reason}")
        return reply

    def close(self) -> None:
        self.pool.close()


class Scorer:
    """Reasoning Gym's own scorers, confined. Thread-safe; `close` ends its processes.

    allow_unsafe: where a process cannot be confined here, run it without.
    """

    def __init__(self, processes: int = 1, timeout: float = 5.0, allow_unsafe: bool = False) -> None:
        target = "rewards.gym:serve_scores_unconfined" if allow_unsafe else "rewards.gym:serve_scores"
        self.timeout = timeout
        self.pool = Pool(target, ["rewards.gym", "reasoning_gym"], processes, MEMORY)
        self.started = False

    def grade(self, answer: str, task: GymTask) -> Verdict:
        """Whether the scorer gives full marks. `correct` is None where it could not be asked."""
        if not installed():
            return Verdict(None, "grader_error")
        if len(answer) > MAX_ANSWER:
            return Verdict(False, "too_long")
        timeout = self.timeout if self.started else self.timeout + SCORE_TIMEOUT
        item = [answer, task.family, task.options, task.seed, task.index]
        try:
            reply = self.pool.run([item], timeout)[0]
        except Died:
            reply = Failure("worker_died")
        self.started = True
        return Verdict(None, reply.reason) if isinstance(reply, Failure) else Verdict(*reply)

    def pids(self) -> list[int]:
        return self.pool.pids()

    def close(self) -> None:
        self.pool.close()


# In the worker processes


@lru_cache(maxsize=64)
def data_set(family: str, options: str, seed: int) -> Any:
    from reasoning_gym.factory import create_dataset

    return create_dataset(family, **json.loads(options), seed=seed, size=CHUNK)


def entry(family: str, options: str, seed: int, index: int) -> dict[str, Any]:
    random.seed(f"{seed}/{index}")  # a few generators draw from the global state as well
    import numpy as np

    np.random.seed(seed % 2**32)
    return data_set(family, options, seed)[index]


def has_own_scorer(family: str, options: str, seed: int) -> bool:
    from reasoning_gym.dataset import ProceduralDataset

    return type(data_set(family, options, seed)).score_answer is not ProceduralDataset.score_answer


def serve_problems(sock: socket.socket) -> None:
    while True:
        _, items = receive(sock)
        for kind, family, options, seed, index in items:
            if kind == "check":
                send(sock, problem_with(family, json.loads(options)))
                continue
            try:
                made = entry(family, options, seed, index)
                answer = made["answer"]
                own = has_own_scorer(family, options, seed)
                send(sock, [str(made["question"]), None if answer is None else str(answer), own])
            except Exception as error:  # a generator's own: reported to the author of the config
                send(sock, " ".join(f"{type(error).__name__}: {error}".split())[:300])


def problem_with(family: str, options: dict[str, Any]) -> str:
    """What is wrong with a family and its options, in one line, or ""."""
    import difflib
    from dataclasses import fields

    from reasoning_gym.factory import DATASETS

    if family not in DATASETS:
        near = difflib.get_close_matches(family, DATASETS, n=1, cutoff=0)
        return f"Reasoning Gym has no family {family!r}; did you mean {near[0]}?"
    known = sorted({field.name for field in fields(DATASETS[family][1])} - {"seed", "size"})
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            return f"{family} has no option {name!r}; did you mean {near[0]}? (it has {', '.join(known)})"
    try:
        entry(family, json.dumps(options, sort_keys=True), 1, 0)
    except Exception as error:  # its own validation raises AssertionError, TypeError, ...
        return f"{family} does not take options {options}: {' '.join(str(error).split())[:200]}"
    return ""


def serve_scores(sock: socket.socket) -> None:
    sys.setrecursionlimit(20_000)
    try:
        confine()
    except (ImportError, OSError, RuntimeError) as error:
        print(f"Reasoning Gym's scorers cannot be confined here: {error}", file=sys.stderr)
        while True:
            _, items = receive(sock)
            for _ in items:
                send(sock, [None, "sandbox_unavailable"])
    serve_scores_unconfined(sock)


def confine() -> None:
    """Give up what a scorer does not need. Raises OSError or ImportError where that does not work."""
    from rewards.code.inside import isolate
    from rewards.code.seccomp import compiled

    program = compiled()
    if isolate.landlock_version() == 0:
        raise OSError("the kernel has no Landlock")
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for kind, value in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_MEMLOCK, 0)):
        resource.setrlimit(kind, (value, value))
    isolate.drop_capabilities()
    isolate.checked(isolate.libc.prctl(isolate.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    isolate.restrict_files([*folders, "/usr", "/lib", "/lib64"])
    isolate.load_filter(program)


def serve_scores_unconfined(sock: socket.socket) -> None:
    while True:
        _, items = receive(sock)
        for answer, *task in items:
            try:
                reply = graded(answer, *task)
            except MemoryError:
                reply = Verdict(None, "undecided")
            except Exception:  # counted by its reason; never a reward of 0
                traceback.print_exc()
                reply = Verdict(None, "grader_error")
            send(sock, [reply.correct, reply.reason])


def graded(answer: str, family: str, options: str, seed: int, index: int) -> Verdict:
    made = entry(family, options, seed, index)
    gold = None if made["answer"] is None else str(made["answer"])
    if active(answer) and not (gold and active(gold)):
        return Verdict(False, "rejected_syntax")
    if ENORMOUS.search(answer) and not (gold and ENORMOUS.search(gold)):
        return Verdict(False, "too_long")
    data = data_set(family, options, seed)
    try:
        return judged(float(data.score_answer(answer, made)) >= PASS)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:
        # The scorer trips over what it cannot read. That is the answer's fault if it reads the gold answer.
        if gold is not None and float(data.score_answer(gold, made)) < PASS:
            raise
        return Verdict(False, "rejected_syntax") if answer.strip() else WRONG


def active(text: str) -> bool:
    """Whether evaluating `text` as Python could do more than compute a value."""
    return bool(ACTIVE.search(FUNCTION.sub("(", text)))


def main() -> None:
    """Names of the families, one a line: `python -m rewards.gym`."""
    with contextlib.suppress(ImportError):
        from reasoning_gym.factory import DATASETS

        print("\n".join(sorted(set(DATASETS) - {"composite"})))
        return
    raise SystemExit("reasoning-gym is not installed: pip install 'srm-ray[gym]'")


if __name__ == "__main__":
    main()
