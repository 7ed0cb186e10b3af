"""Multiple choice: a choice is named by its letter or by its text, and by nothing else."""

import pytest

from rewards import choice

PLANETS = ("Venus", "Mars", "Mercury", "Earth")


@pytest.mark.parametrize(
    "completion",
    [
        r"\boxed{C}",
        r"\boxed{\text{C}}",
        r"\boxed{C. Mercury}",
        r"\boxed{Mercury}",
        "The answer is C.",
        "The correct answer is (C).",
        "The answer is option C",
        "**Answer: C) Mercury, the closest**",
        "Answer: mercury",
        "<answer>C</answer>",
        "<think>\nA? B?\n</think>\nC",
        "(c)",
        "Mercury",
    ],
)
def test_the_right_choice_is_named(completion: str) -> None:
    assert choice.grade(completion, "C", PLANETS).correct is True


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (r"\boxed{A}", "wrong"),
        (r"\boxed{E}", "wrong"),
        (r"\boxed{C. Venus}", "wrong"),
        ("Answer: a planet", "wrong"),
        ("Answer: Cold", "wrong"),
        (r"\boxed{A} or \boxed{C}", "several_answers"),
        ("It is close to the sun", "no_answer"),
        ("<think>C", "no_answer"),
        ("", "no_answer"),
    ],
)
def test_anything_else_is_not(completion: str, reason: str) -> None:
    verdict = choice.grade(completion, "C", PLANETS)
    assert (verdict.correct, verdict.reason) == (False, reason)


def test_a_choice_that_is_there_twice_is_right_in_both_places() -> None:
    assert choice.grade(r"\boxed{B}", "A", ("7", "7", "8")).correct is True


def test_a_letter_is_a_label_also_where_choices_are_letters() -> None:
    assert choice.grade(r"\boxed{A}", "A", ("B", "A", "C")).correct is True
    assert choice.grade(r"\boxed{B}", "A", ("B", "A", "C")).correct is False


def test_a_gold_that_is_no_choice_decides_nothing() -> None:
    assert choice.grade(r"\boxed{A}", "Z", PLANETS).reason == "bad_gold"
