"""The other process: runs the tests, with the candidate's functions as proxies (`link`).

What a proxy returns was rebuilt here from plain data, so that `==` is Python's own. Which names come from the
candidate was decided from the tests before it ran (`rewards.code.script`); all others are this process's own.
"""

import ast
import contextlib
import importlib
import json
import sys

import arrays
import pytests
import texts
import wire
from link import Link, Stop
from proxies import Method, Missing, Opaque, Proxy
from tolerance import within


def serve(results, channel):
    """Tests from `results`, the candidate behind `channel`; one frame back.

    In: {"code", "prelude": the candidate's, passed on unread, "kind": "calls" | "python", "total": n, ...}; see
        `run_calls` and `run_python`.
    Out: {"passed": n, "total": n, "reason": word}
    """
    job = wire.read_frame(results, limit=64 << 20)
    wire.write_frame(channel, {"code": job.pop("code"), "prelude": job.pop("prelude")})
    outcome = {"passed": 0, "total": job["total"], "seen": 0, "reason": "correct", "detail": ""}
    sys.setrecursionlimit(10_000)
    sources = [source for source, _ in job.get("steps", [])]
    link = Link(
        channel,
        nan=job["kind"] == "calls" or any("nan" in source.lower() for source in sources),
        reads_floats=any("float" in source for source in sources),
        classes=job.get("classes", ()),
        errors=job.get("errors", ()),
    )
    try:
        names = loaded(link)
        RUN[job["kind"]](job, link, names, outcome)
        if not link.asked:
            outcome.update(reason="bad_tests", detail="the tests have asked nothing of the answer")
    except Stop as stop:
        outcome.update(reason=stop.reason, detail=stop.detail)
    except MemoryError:
        outcome["reason"] = "bad_type"
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n"[:500])
        reason, detail = ("runtime_error", "") if link.asked else ("bad_tests", told(error))
        outcome.update(reason=reason, detail=detail)
    outcome["total"] = max(outcome["total"], outcome.pop("seen"))
    wire.write_frame(results, outcome)


def loaded(link):
    """The names that the candidate's code defines, and what each is."""
    reply = link.reply()
    if reply[0] == "ready" and len(reply) == 2 and isinstance(reply[1], dict):
        return {name: kind for name, kind in reply[1].items() if isinstance(kind, str)}
    if reply[0] == "raise" and len(reply) == 4 and isinstance(reply[1], str):
        if reply[1] in ("SyntaxError", "IndentationError", "TabError"):
            raise link.stop("rejected_syntax")
        raise link.stop("memory" if reply[1] == "MemoryError" else "runtime_error")
    raise link.stop("bad_type")


def function_of(expression, link, names):
    """What an entry point stands for: a function, `Class.method`, or `Class().method`."""
    root, _, method = expression.replace("()", "").strip().partition(".")
    if root not in names:
        raise link.stop("no_answer")
    if not method:
        return Proxy(link, root)
    return Method(link, root, method) if "()" in expression else getattr(Proxy(link, root), method)


# Calls


def run_calls(job, link, names, outcome):
    """job["tests"]: [{"fn", "args", "expected"[, "either"]}], values as `wire` forms."""
    for test in job["tests"]:
        name = test["fn"]
        if name.isidentifier() and name not in names and "Solution" in names:
            name = f"Solution().{name}"
        function = function_of(name, link, names)
        with judged(link, outcome):
            result = function(*[wire.decode(a) for a in test["args"]])
            expected = wire.decode(test["expected"])
            right = equal(result, expected, link) or (test.get("either") and equal(result, expected[0], link))
            assert right


def equal(result, expected, link):
    """Equality in which a list of the tests (JSON has no tuples) accepts a tuple, an object's names (JSON has no other
    keys) the values that JSON writes so, and a float one that is near."""
    if type(result) is Opaque:
        raise link.stop("bad_type")
    if isinstance(expected, list) and isinstance(result, list | tuple):
        return len(result) == len(expected) and all(equal(r, e, link) for r, e in zip(result, expected, strict=True))
    if isinstance(expected, dict) and isinstance(result, dict):
        if result and all(type(key) is str for key in expected):
            result = named_as_json(result)
        return result.keys() == expected.keys() and all(equal(result[k], e, link) for k, e in expected.items())
    if isinstance(expected, bool) is not isinstance(result, bool):
        return False
    if type(expected) is float and type(result) in (int, float):
        return result == expected or within(result, expected)
    return result == expected


def named_as_json(result):
    """{1: a, None: b} as {"1": a, "null": b}; as it is where two keys would be one, or one has no name in JSON."""
    if any(type(key) not in (str, int, float, bool, type(None)) for key in result):
        return result
    named = {key if type(key) is str else json.dumps(key): value for key, value in result.items()}
    return named if len(named) == len(result) else result


# Tests in Python


class Checks:
    """made: checks so far. failed: those that did not hold, whoever swallowed the exception."""

    def __init__(self):
        self.made = 0
        self.failed = 0

    def checked(self, value):
        self.made += 1
        if not value:
            self.failed += 1
        return value

    def counted(self, value=None):
        self.made += 1
        return value


def run_python(job, link, names, outcome):
    """job: "steps": [[source, is a test]...], "taken", "own": [[name, module]...], "candidate", "smoke", "called",
    "valued", "prompt". A script is one step; what it defines as tests is run after it.
    """
    candidate = function_of(job["candidate"], link, names) if job["candidate"] else None
    if not names.keys() & set(job["taken"]):
        raise link.stop("no_answer")
    checks = Checks()
    space = namespace(job, link, names, checks)
    if candidate is not None:
        space["candidate"] = candidate
    for source, is_test in job["steps"]:
        with judged(link, outcome, checks, needed=is_test):
            exec(compile(source, "tests", "exec"), space)
    for name, test in pytests.collected(space, set(job["called"]), candidate):
        with judged(link, outcome, checks, needed=name not in job["smoke"]):
            test()
    if not checks.made and outcome["reason"] == "correct":
        outcome["reason"] = "wrong"


def namespace(job, link, names, checks):
    """The tests' names: their own, those of the prompt, and what comes from the candidate."""
    sources = [source for source, _ in job["steps"]]
    space = {
        "__name__": "__main__",
        "__file__": "/tests.py",
        "__checked__": checks.checked,
        "__softly__": checks.counted,
        "__counted__": checks.counted,
        "__failed__": lambda: checks.checked(False),
        "__in_place__": link.in_place,
        **texts.members(link, [*sources, job["prompt"]]),
    }
    pytests.install(any("unittest" in source for source in sources))
    if any("numpy" in source for source in [*sources, *(place for _, place in job["own"])]):
        arrays.install()
    for name, place in job["own"]:
        module, _, attribute = place.partition(":")
        found = importlib.import_module(module)
        space[name] = getattr(found, attribute) if attribute else found
    run_prompt(job["prompt"], space)
    link.objects.space = space
    link.objects.prompt = frozenset(value for value in space.values() if isinstance(value, type))
    for name in job["taken"]:
        kind = names.get(name, "module")
        if kind.startswith("module") and name in job["strange"]:
            continue  # a NameError of the tests' own
        if kind != "value" and name in job["valued"]:
            link.asked += 1  # that it is none is the candidate's answer
        if name in link.errors:
            space[name] = link.errors[name]
        elif kind == "callable":
            space[name] = Proxy(link, name)
        else:
            space[name] = Missing(link, name) if kind.startswith("module") else link.get(name)
    return space


def run_prompt(source, space):
    """A statement at a time: an import that fails here matters only to a test that uses it."""
    for statement in ast.parse(source).body:
        with contextlib.suppress(Exception):
            exec(compile(ast.Module([statement], []), "prompt", "exec"), space)


@contextlib.contextmanager
def judged(link, outcome, checks=None, needed=True):
    """Count one test; the first that fails gives the reason.

    needed: a test that made no check has failed; else it is not counted.
    """
    made, failed = (checks.made, checks.failed) if checks else (0, 0)
    reason = None
    link.lending.broken = False
    try:
        yield
    except Stop:
        reason = "skipped"
    except pytests.Unmet as error:
        link.stop("bad_tests", str(error))
    except SystemExit as error:
        reason = "wrong" if error.code else None
    except BaseException as error:
        # unittest's own exception, which may not be imported; no candidate can have one raised here
        reason = "skipped" if type(error).__name__ in ("Skipped", "SkipTest") else why(error, link)
    if link.stopped is not None:
        raise link.stopped
    if reason is None and checks:
        if checks.failed > failed or link.lending.broken:
            reason = "wrong"
        elif checks.made == made:
            reason = "wrong" if needed else "skipped"
    if reason == "skipped":
        return
    outcome["seen"] += 1
    if reason is None:
        outcome["passed"] += 1
    elif outcome["reason"] == "correct":
        outcome["reason"] = reason


def why(error, link):
    """The reason-word of a test that raised `error`."""
    if error is link.last_raised:
        return "memory" if isinstance(error, MemoryError) else "runtime_error"
    if not link.asked:
        raise link.stop("bad_tests", told(error))
    return "wrong"


def told(error):
    return f"before it asks anything of the answer a test fails: {type(error).__name__}: {error}"[:300]


RUN = {"calls": run_calls, "python": run_python}
