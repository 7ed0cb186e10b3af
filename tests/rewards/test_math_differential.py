"""The math grader beside SymPy's numbers, on random expressions in random spellings, equal and nearly equal ones."""

from typing import Any

import pytest
import sympy
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rewards.math import normalize
from rewards.math.grader import has_value
from rewards.math.worker import compare_pair
from rewards.verdict import REASONS, Verdict
from tests.rewards import answer_strategies as strategies
from tests.rewards.in_process import InProcess

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
FAST = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=QUIET)
LONG = settings(max_examples=10_000, deadline=None, derandomize=True, suppress_health_check=QUIET)
SIZES = [sympy.Rational(*ratio) for ratio in ((7, 3), (11, 5), (13, 17), (3, 19), (29, 9), (41, 7))]
GRADER = InProcess()


def verdict(answer: str, gold: str) -> Verdict:
    found = GRADER.equivalent(answer, gold)
    assert found.reason in REASONS - {"grader_error", "worker_died"}
    return found


def numbers_agree(one: Any, other: Any) -> bool | None:
    """Whether two SymPy expressions have equal values wherever both have one; None where that cannot be said."""
    names = sorted(one.free_symbols | other.free_symbols, key=str)
    compared = 0
    for shift in range(8 if names else 1):  # of two or three names every choice of signs
        point = {
            name: SIZES[(shift + 2 * place * place + place) % 6] * (-1) ** (shift >> place)
            for place, name in enumerate(names)
        }
        values = [sympy.N(side.subs(point), 40) for side in (one, other)]
        if any(not value.is_number or not value.is_finite or not value.is_real for value in values):
            continue
        size = max(abs(value) for value in values)
        apart = abs(values[0] - values[1])
        if size > 10**25 or (0 < size < 10**-25):
            return None
        if apart > size * sympy.Float("1e-12"):
            return False
        if apart > size * sympy.Float("1e-28"):
            return None
        compared += 1
    return True if compared >= (3 if names else 1) else None


def check(data: st.DataObject, names: tuple[str, ...]) -> None:
    tree = data.draw(strategies.trees(3, names))
    other = data.draw(st.one_of(strategies.rewritten(tree), strategies.changed(tree), strategies.trees(2, names)))
    one, two = strategies.sympy_value(tree), strategies.sympy_value(other)
    assume(not one.has(sympy.zoo, sympy.nan, sympy.oo) and not two.has(sympy.zoo, sympy.nan, sympy.oo))
    expected = numbers_agree(one, two)
    assume(expected is not None)
    answer, gold = data.draw(strategies.spelled(tree)), data.draw(strategies.spelled(other))
    for left, right in ((answer, gold), (gold, answer)):
        found = verdict(left, right)
        assume(found.correct is not None and found.reason != "too_long")
        assert has_value(found) is expected, (left, right, found)


@FAST
@given(st.data())
def test_constants_like_sympy(data: st.DataObject) -> None:
    check(data, ())


@FAST
@given(st.data())
def test_expressions_like_sympy(data: st.DataObject) -> None:
    check(data, strategies.NAMES)


@pytest.mark.integration
@pytest.mark.timeout(2400)
@LONG
@given(st.data(), st.booleans())
def test_ten_thousand_pairs_like_sympy(data: st.DataObject, with_names: bool) -> None:
    check(data, strategies.NAMES if with_names else ())


# Any answer


@FAST
@given(strategies.answers(), strategies.answers())
def test_values_agree_both_ways(answer: str, gold: str) -> None:
    one, other = verdict(answer, gold), verdict(gold, answer)
    if "%" not in answer + gold and "bad_gold" not in (one.reason, other.reason):
        assert has_value(one) == has_value(other)


@FAST
@given(st.data())
def test_an_answer_equals_itself_in_other_characters(data: st.DataObject) -> None:
    answer = data.draw(strategies.answers())
    other = data.draw(strategies.in_unicode(answer))
    assert verdict(answer, answer).correct is True
    assert has_value(verdict(other, answer)) or not normalize.clean(answer)


@FAST
@given(strategies.answers(), st.integers(1, 6000), st.sampled_from(["12", r"\frac{x}{12}", "(1,2)", r"\{1,2\}"]))
def test_any_size_gets_a_verdict(answer: str, size: int, gold: str) -> None:
    verdict(strategies.long(answer, size), gold)


@FAST
@given(strategies.answers(), st.text(max_size=60))
def test_any_question_leaves_a_verdict(answer: str, question: str) -> None:
    reply = compare_pair(normalize.clean(answer), normalize.clean(answer), question + answer)
    assert reply[1] in REASONS or reply[1] == "unread"
