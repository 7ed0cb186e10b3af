"""Answers that are compared as text."""

import pytest

from rewards import text


@pytest.mark.parametrize(
    ("completion", "gold", "reason"),
    [
        (r"spelled</think>\boxed{ainomma}", "ainomma", "correct"),
        (r"</think>\boxed{\text{ainomma}}", "ainomma", "correct"),
        (r"</think>\boxed{ 1  2 3 }", "1 2 3", "correct"),
        ("</think>\\boxed{1 2\n3 4 }", "1 2\n3 4", "correct"),
        (r"</think>\boxed{1 2 3 4}", "1 2\n3 4", "wrong"),
        (r"</think>\boxed{Ainomma}", "ainomma", "wrong"),
        (r"</think>\boxed{007}", "7", "wrong"),
        (r"</think>\boxed{a} or \boxed{b}", "a", "several_answers"),
        (r"</think>\boxed{a} that is \boxed{ a }", "a", "correct"),
        (r"<think>\boxed{a}", "a", "no_answer"),
        (r"</think>\boxed{ }", "a", "no_answer"),
        (r"</think>\boxed{\text{ }}", "", "no_answer"),
        ("</think>I do not know", "a", "no_answer"),
    ],
)
def test_verdicts(completion: str, gold: str, reason: str) -> None:
    reward = text.score(completion, gold)
    assert reward.reason == reason
    assert reward.correct is (reason == "correct")
    assert reward.value == float(reason == "correct")


def test_a_completion_of_any_length_is_read_in_linear_time() -> None:
    assert text.score("x" * 3_000_000, "x").reason == "too_long"
