"""A stand-in for the part of numpy that tests compare numbers with (HumanEval+ and MBPP+): numpy is not in the sandbox.

Lists and tuples are arrays. Unlike numpy's, arrays of different shapes are never alike: `allclose([], 5.0)` would be
true there, whatever is expected.
"""

import math
import sys
import types


def close(a, b, rtol, atol, equal_nan=False):
    """Of two numbers: |a - b| <= atol + rtol * |b|. TypeError for anything else."""
    if not isinstance(a, int | float | complex) or not isinstance(b, int | float | complex):
        raise TypeError(f"{type(a).__name__} and {type(b).__name__} are not numbers")
    if a == b:
        return True
    if a != a or b != b:
        return equal_nan and a != a and b != b
    try:
        return bool(abs(b) < math.inf and abs(a - b) <= atol + rtol * abs(b))
    except OverflowError:  # a whole number that is no float
        return False


def pairs(a, b):
    """The numbers of two arrays of one shape, side by side. ValueError for two shapes."""
    waiting = [(a, b)]
    while waiting:
        a, b = waiting.pop()
        arrays = isinstance(a, list | tuple), isinstance(b, list | tuple)
        if arrays == (False, False):
            yield a, b
        elif arrays != (True, True) or len(a) != len(b):
            raise ValueError("the arrays have different shapes")
        else:
            waiting.extend(zip(a, b, strict=True))


def allclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    return all(close(one, other, rtol, atol, equal_nan) for one, other in pairs(a, b))


def isclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    return close(a, b, rtol, atol, equal_nan)


def array_equal(a, b):
    try:
        return all(one == other for one, other in pairs(a, b))
    except ValueError:
        return False


def assert_allclose(actual, desired, rtol=1e-7, atol=0):
    assert allclose(actual, desired, rtol, atol), f"{actual!r} is not close to {desired!r}"


def assert_almost_equal(actual, desired, decimal=7):
    assert allclose(actual, desired, 0, 1.5 * 10**-decimal), f"{actual!r} is not almost {desired!r}"


def assert_array_almost_equal(actual, desired, decimal=6):
    assert_almost_equal(actual, desired, decimal)


def assert_array_equal(actual, desired):
    assert array_equal(actual, desired), f"{actual!r} is not {desired!r}"


def assert_equal(actual, desired):
    assert actual == desired, f"{actual!r} is not {desired!r}"


class ndarray:
    """What nothing here is."""


MEMBERS = {
    **{f.__name__: f for f in (allclose, isclose, array_equal, ndarray)},
    **dict.fromkeys(("float64", "float32", "floating"), float),
    **dict.fromkeys(("int64", "int32", "integer"), int),
    **{"isnan": math.isnan, "isinf": math.isinf, "isfinite": math.isfinite, "abs": abs},
    **{"inf": math.inf, "nan": math.nan, "pi": math.pi, "e": math.e, "bool_": bool},
}
TESTING = {
    f.__name__: f
    for f in (assert_allclose, assert_almost_equal, assert_array_almost_equal, assert_array_equal, assert_equal)
}


def install():
    """`import numpy` gives the stand-in."""
    testing, module = types.ModuleType("numpy.testing"), types.ModuleType("numpy")
    testing.__dict__.update(TESTING)
    module.__dict__.update(MEMBERS, testing=testing)
    sys.modules.update({"numpy": module, "numpy.testing": testing})
