"""Tests as pytest and unittest find them, and a stand-in for the part of pytest that such tests use.

`pytest` itself is not inside the sandbox. Here: raises, approx, fail, skip, param, mark.parametrize, mark.skip,
fixture (plain or yielding, with other fixtures, of a class, autouse), setup and teardown of modules, classes, functions
and methods. A test that wants more is a bad test.

`unittest` is imported where tests mention it alone: no candidate pays for what it does not use.
"""

import functools
import importlib
import itertools
import re
import sys
import types

from proxies import Opaque


class Skipped(Exception):
    """A test that is not to be run."""


class Unmet(Exception):
    """A test wants what is not here, whoever answers."""


class Approx:
    """Equal within a tolerance: relative 1e-6 or absolute 1e-12, as pytest's."""

    __module__ = "pytest"

    def __init__(self, expected, rel=None, abs=None):
        self.expected, self.rel, self.abs = expected, rel, abs

    def __eq__(self, actual):
        return self.near(actual, self.expected)

    def __hash__(self):
        raise TypeError("approx is for comparing")

    def near(self, actual, expected):
        if isinstance(expected, dict):
            same = isinstance(actual, dict) and actual.keys() == expected.keys()
            return same and all(self.near(actual[key], value) for key, value in expected.items())
        if isinstance(expected, list | tuple):
            same = isinstance(actual, list | tuple) and len(actual) == len(expected)
            return same and all(self.near(a, e) for a, e in zip(actual, expected, strict=True))
        if not isinstance(expected, int | float | complex) or isinstance(expected, bool):
            return actual == expected
        if not isinstance(actual, int | float | complex) or isinstance(actual, bool):
            return False
        relative = 0.0 if self.rel is None and self.abs is not None else (self.rel or 1e-6) * abs(expected)
        return actual == expected or abs(actual - expected) <= max(relative, self.abs or 1e-12)


class Raises:
    """`with raises(kind, match=...) as info`, or raises(kind, function, *arguments)."""

    def __init__(self, kind, match=None):
        self.kind, self.wanted = kind, match
        self.value = self.type = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            raise AssertionError(f"did not raise {self.kind}")
        if not issubclass(kind, self.kind):
            return False
        self.type, self.value = kind, error
        if self.wanted is not None:
            self.match(self.wanted)
        return True

    def match(self, pattern):
        assert re.search(pattern, str(self.value)), f"{pattern!r} is not in {self.value!s}"
        return True


def raises(kind, *call, match=None, **options):
    if not call:
        return Raises(kind, match)
    with Raises(kind) as info:
        call[0](*call[1:], **options)
    return info


def fail(reason="", **options):
    raise AssertionError(reason)


def skip(reason="", **options):
    raise Skipped(reason)


def fixture(function=None, **options):
    if function is None:
        return lambda function: fixture(function, **options)
    function.is_fixture = True
    function.always = bool(options.get("autouse"))
    return function


class Param(tuple):
    """Values of one case."""


def param(*values, **options):
    return Param(values)


class Mark:
    """Marks that change nothing but for parametrize and skip."""

    def __getattr__(self, name):
        return lambda *arguments, **options: arguments[0] if is_plain(arguments, options) else lambda test: test

    def parametrize(self, names, values, **options):
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        cases = [
            dict(zip(names, value if len(names) > 1 or isinstance(value, Param) else (value,), strict=True))
            for value in values
        ]

        def mark(test):
            test.cases = [*getattr(test, "cases", []), cases]
            return test

        return mark

    def skip(self, *arguments, **options):
        return not_run(arguments[0]) if is_plain(arguments, options) else not_run

    def skipif(self, condition, **options):
        return not_run if condition else lambda test: test


def not_run(test):
    test.__unittest_skip__ = True
    return test


def is_plain(arguments, options):
    return len(arguments) == 1 and callable(arguments[0]) and not options


def install(wants_unittest):
    """`import pytest` gives the stand-in; `unittest.main()` and `pytest.main()` leave the running to `collected`."""
    module = types.ModuleType("pytest")
    members = {"raises": raises, "approx": Approx, "fail": fail, "skip": skip, "fixture": fixture, "param": param}
    module.__dict__.update(members, mark=Mark(), main=nothing)
    sys.modules["pytest"] = module
    if wants_unittest:
        importlib.import_module("unittest").main = nothing


def nothing(*arguments, **options):
    return 0


# What is to be run


def collected(space, called, candidate):
    """(name, test) of each: `check`, test functions and the methods of test classes that the tests did not call."""
    check = space.get("check")
    if isinstance(check, types.FunctionType) and "check" not in called:
        yield "check", functools.partial(check, *[candidate] if wants(check) else [])
    case_class = sys.modules["unittest"].TestCase if "unittest" in sys.modules else ()
    for name, value in list(space.items()):
        if name in called or getattr(value, "__module__", None) != "__main__":
            continue
        if isinstance(value, types.FunctionType) and name.startswith("test") and not hasattr(value, "is_fixture"):
            yield from cases(name, value, space, candidate)
        elif isinstance(value, type) and issubclass(value, case_class):
            for method in sys.modules["unittest"].defaultTestLoader.getTestCaseNames(value):
                yield method, functools.partial(run_case, value, method)
        elif isinstance(value, type) and name.startswith("Test"):
            for method in [m for m in dir(value) if m.startswith("test")]:
                yield from cases(method, getattr(value, method), space, candidate, value)


def wants(function):
    return bool(wanted_by(function))


def wanted_by(function):
    """The names of a function's parameters that have no default."""
    code = function.__code__
    return list(code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())])


def cases(name, function, space, candidate, owner=None):
    """The calls of one test function: one for each combination of its parameters."""
    for chosen in itertools.product(*getattr(function, "cases", [])):
        values = {key: value for case in chosen for key, value in case.items()}
        yield name, functools.partial(run_function, function, values, space, candidate, owner)


def run_function(function, values, space, candidate, owner):
    if getattr(function, "__unittest_skip__", False) or getattr(owner, "__unittest_skip__", False):
        raise Skipped
    target = None if owner is None else owner()
    fixtures = Fixtures(space, target, candidate)
    around("setup", function, space, target)
    for name in fixtures.always():
        fixtures.value(name)
    wanted = [name for name in wanted_by(function)[target is not None :] if name not in values]
    values = {**values, **{name: fixtures.value(name) for name in wanted}}
    function(*[] if target is None else [target], **values)
    fixtures.close()
    around("teardown", function, space, target)


def around(what, function, space, target):
    """Run what stands before ("setup") or after ("teardown") each test, once for each test."""
    places = [(space.get, "_module"), (space.get, "_function")]
    if target is not None:
        places = [*places[:1], *((functools.partial(member, target), kind) for kind in ("_class", "", "_method"))]
    for find, kind in places:
        made = find(f"{what}{kind}")
        if made is not None and hasattr(made, "__code__"):
            made(function) if len(wanted_by(made)) > hasattr(made, "__self__") else made()


def member(target, name):
    return getattr(target, name, None)


class Fixtures:
    """The values of one test's fixtures, each made once."""

    def __init__(self, space, target, candidate):
        self.space, self.target, self.candidate = space, target, candidate
        self.made = {}
        self.open = []

    def find(self, name):
        """The fixture of that name, of the test's class or of the module; None where there is none."""
        own = getattr(self.target, name, None)
        return own if is_fixture(own) else self.space.get(name)

    def always(self):
        names = [*self.space, *([] if self.target is None else dir(self.target))]
        return [name for name in names if is_fixture(self.find(name)) and self.find(name).always]

    def value(self, name):
        if name not in self.made:
            made = self.find(name)
            if is_fixture(made):
                made = made(*[self.value(other) for other in wanted_by(made)[hasattr(made, "__self__") :]])
                if isinstance(made, types.GeneratorType):
                    self.open.append(made)
                    made = next(made)
            elif made is None:
                made = self.answer(name)
            self.made[name] = made
        return self.made[name]

    def answer(self, name):
        """What is tested, where a test asks for it under a usual name."""
        own = "" if isinstance(self.candidate, Opaque) else getattr(self.candidate, "__name__", "")
        if self.candidate is None or name not in (*USUAL, own):
            raise Unmet(f"no fixture {name}")
        return self.candidate

    def close(self):
        for made in reversed(self.open):
            next(made, None)


USUAL = ("candidate", "f", "fn", "func", "function", "solution", "answer", "method", "implementation")


def is_fixture(value):
    return isinstance(value, types.FunctionType | types.MethodType) and getattr(value, "is_fixture", False)


def run_case(kind, method):
    """One method of a TestCase; raises what it raised, the first where there are several."""
    unittest = sys.modules["unittest"]
    result = unittest.TestResult()
    errors = []
    result.addError = result.addFailure = lambda test, error: errors.append(error[1])
    result.addSubTest = lambda test, part, error: errors.append(error[1]) if error is not None else None
    unittest.TestSuite([kind(method)]).run(result)
    if errors:
        raise errors[0]
    if result.unexpectedSuccesses:
        raise AssertionError("expected to fail")
    if result.skipped:
        raise Skipped
