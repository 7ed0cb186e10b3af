"""Tests as pytest and unittest find them, and a stand-in for the part of pytest that such tests use.

`pytest` itself is not inside the sandbox. Here: raises, approx, fail, skip, param, mark.parametrize, mark.skip,
fixture (plain or yielding, no arguments). A test that wants more is a bad test.

`unittest` is imported where tests mention it alone: no candidate pays for what it does not use.
"""

import functools
import importlib
import itertools
import re
import sys
import types


class Skipped(Exception):
    """A test that is not to be run."""


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
        return lambda function: fixture(function)
    function.is_fixture = True
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
    code = function.__code__
    return code.co_argcount - len(function.__defaults__ or ()) > 0


def cases(name, function, space, candidate, owner=None):
    """The calls of one test function: one for each combination of its parameters."""
    for chosen in itertools.product(*getattr(function, "cases", [])):
        values = {key: value for case in chosen for key, value in case.items()}
        yield name, functools.partial(run_function, function, values, space, candidate, owner)


def run_function(function, values, space, candidate, owner):
    if getattr(function, "__unittest_skip__", False) or getattr(owner, "__unittest_skip__", False):
        raise Skipped
    code = function.__code__
    wanted = code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())]
    first, open_fixtures = [], []
    if owner is not None:
        target = owner()
        first, wanted = [target], wanted[1:]
        getattr(target, "setup_method", nothing)() if not wants_more(target) else target.setup_method(function)
    for name in wanted:
        if name not in values:
            values[name] = fixture_value(name, space, open_fixtures) if name in space else candidate
    function(*first, **values)
    for made in open_fixtures:
        next(made, None)
    if owner is not None:
        getattr(target, "teardown_method", nothing)()


def wants_more(target):
    method = getattr(target, "setup_method", None)
    return method is not None and method.__code__.co_argcount > 1


def fixture_value(name, space, open_fixtures):
    made = space[name]
    if not getattr(made, "is_fixture", False):
        return made
    value = made()
    if isinstance(value, types.GeneratorType):
        open_fixtures.append(value)
        return next(value)
    return value


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
