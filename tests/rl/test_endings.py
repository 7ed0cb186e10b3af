"""When a run ends early, and what is said of it."""

import pytest

from srm_ray.rl.endings import Outcome, shortage, solved, starved

ALL_RIGHT = Outcome(drawn=4, kept=0, right=16, decided=16, reasons={"correct": 16})
ALL_WRONG = Outcome(drawn=4, kept=0, right=0, decided=16, reasons={"no_answer": 12, "wrong": 4})
UNDECIDED = Outcome(drawn=4, kept=0, right=0, decided=0, reasons={"bad_gold": 16})
MIXED = Outcome(drawn=4, kept=2, right=8, decided=16, reasons={"correct": 8, "wrong": 8})
EITHER = Outcome(drawn=4, kept=0, right=8, decided=16, reasons={"correct": 8, "wrong": 8})


def of(right: int, decided: int) -> Outcome:
    return Outcome(drawn=1, kept=1, right=right, decided=decided)


@pytest.mark.parametrize(
    ("recent", "share", "window", "expected"),
    [
        ([ALL_RIGHT] * 5, 0.999, 5, True),
        ([ALL_RIGHT] * 4, 0.999, 5, False),  # too few steps
        ([MIXED, *[ALL_RIGHT] * 5], 0.999, 5, True),  # what was before does not matter
        ([MIXED, *[ALL_RIGHT] * 4], 0.999, 5, False),
        ([ALL_RIGHT] * 5, None, 5, False),
        ([UNDECIDED] * 5, 0.999, 5, False),  # nothing was found right
        ([UNDECIDED, *[ALL_RIGHT] * 4], 0.999, 5, True),  # all that could be graded was
        ([of(999, 1000)] * 5, 0.999, 5, True),  # with signal in some groups, too
        ([of(998, 1000)] * 5, 0.999, 5, False),
        ([of(990, 1000)] * 500, 0.999, 5, False),
        ([], 0.5, 1, False),
    ],
)
def test_solved(recent: list[Outcome], share: float | None, window: int, expected: bool) -> None:
    assert solved(recent, share, window) is expected


@pytest.mark.parametrize(
    ("recent", "steps", "share", "said"),
    [
        ([ALL_WRONG] * 3, 3, 0.999, "nothing was right (no_answer 36, wrong 12)"),
        ([MIXED, *[ALL_WRONG] * 3], 3, 0.999, "of 48 completions"),
        ([ALL_WRONG] * 2, 3, 0.999, ""),
        ([ALL_WRONG, MIXED, ALL_WRONG], 3, 0.999, ""),  # not in a row
        ([ALL_WRONG] * 9, None, 0.999, ""),
        ([UNDECIDED] * 3, 3, 0.999, "the data's own answers cannot be read"),
        ([EITHER] * 3, 3, 0.999, "24 were right, none beside a wrong one of the same problem"),
        ([ALL_RIGHT] * 3, 3, 0.999, ""),  # that is being solved, not starving
        ([ALL_RIGHT] * 3, 3, None, ""),
        ([EITHER] * 3, 3, None, "24 were right"),
    ],
)
def test_starved(recent: list[Outcome], steps: int | None, share: float | None, said: str) -> None:
    found = starved(recent, steps, share)
    assert said in found and bool(said) == bool(found)


def test_a_step_with_fewer_groups_says_so() -> None:
    assert shortage(MIXED, 2) == ""
    assert shortage(MIXED, 3).startswith("trains on 2 of 3 groups: 2 of the 4 drawn were all right or all wrong (")
    assert shortage(ALL_WRONG, 3).startswith("is skipped, the weights stay as they are: 4 of the 4 drawn were")
