"""Tests that compare with numpy, which is not in the sandbox: HumanEval+, MBPP+ and their like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.code import Grader
from rewards.code.forms import job_of
from rewards.code.inside import arrays
from rewards.code.script import BadTests

PLUS = """
import numpy as np

def is_floats(x):
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match

def check(candidate):
    for inp, exp in zip([[[1.0, 2.0]], [[3.0]]], [1.5, 3.0]):
        assertion(candidate(*inp), exp, 0)
"""
NUMBERS = st.floats(width=32) | st.integers(-(10**6), 10**6)
NUMBERS = NUMBERS | st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 1.0 + 1e-5, 1.0 + 1e-3])


@given(st.lists(st.tuples(NUMBERS, NUMBERS)), st.sampled_from([(1e-5, 1e-8), (1e-7, 1e-6), (0, 0)]), st.booleans())
def test_arrays_of_one_shape_are_close_where_numpy_says_so(pairs, tolerance, equal_nan) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    rtol, atol = tolerance
    assert arrays.allclose(a, b, rtol, atol, equal_nan) == np.allclose(a, b, rtol, atol, equal_nan)
    assert arrays.array_equal(a, b) == np.array_equal(a, b)
    nested = arrays.allclose([a, [a]], ([*b], (b,)), rtol, atol, equal_nan)
    assert nested == arrays.allclose(a, b, rtol, atol, equal_nan)


@pytest.mark.parametrize("other", [[], [[5.0]], [5.0, 5.0], {}, None, "5.0"])
def test_what_has_another_shape_is_close_to_nothing(other) -> None:
    with pytest.raises((ValueError, TypeError)):
        arrays.allclose(other, 5.0)
    assert not arrays.array_equal(other, [5.0])


def test_the_rest_of_numpy_is_refused_by_name() -> None:
    for test, name in [
        ("import numpy as np\nassert (f(1) == np.zeros(3)).all()", "numpy.zeros"),
        ("assert f(1) == np.random.rand(3)", "numpy.random"),
        ("from numpy.linalg import norm\nassert norm(f(1)) == 1", "numpy.linalg.norm"),
        ("import numpy as n\nassert n.testing.measure(f(1))", "numpy.testing.measure"),
    ]:
        with pytest.raises(BadTests, match=name):
            job_of(test, "f", None)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("result", "right"),
    [
        ("sum(x) / len(x)", True),
        ("sum(x) / len(x) + 1e-9", True),
        ("sum(x) / len(x) + 1e-3", False),
        ("[]", False),  # numpy would say that it is close to any number
        ("[sum(x) / len(x)]", False),
        ("float('nan')", False),
        ("None", False),
    ],
)
def test_plus_forms_are_graded(code_grader: Grader, result: str, right: bool) -> None:
    assert code_grader.grade(f"def mean(x): return {result}", PLUS, "mean").correct is right


@pytest.mark.integration
@pytest.mark.parametrize(
    "test",
    [
        "from numpy.testing import assert_allclose\nassert_allclose(f(1), [1, 2])",
        "assert np.allclose(f(1), [1, 2])",
        "import numpy\nnumpy.testing.assert_array_equal(f(1), [1, 2])",
        "import numpy as np\nassert all(np.isclose(a, b) for a, b in zip(f(1), [1, 2], strict=True))",
    ],
)
def test_forms_of_comparison_are_graded(code_grader: Grader, test: str) -> None:
    assert code_grader.grade("def f(x): return [1, 2.0]", test, "f").correct is True
    assert code_grader.grade("def f(x): return [1, 2.1]", test, "f").correct is False
