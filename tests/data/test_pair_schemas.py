"""Preference rows as they lie on the hub, to a prompt and two completions; what cannot be used, and why."""

from typing import Any

import pytest

from srm_ray.data.drops import Unusable
from srm_ray.data.pairs import to_pair
from srm_ray.errors import UserError


def turns(*said: str) -> list[dict[str, str]]:
    """`u: a` is the user's turn."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[one[0]], "content": one[3:]} for one in said]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"question": "q", "chosen": "good", "rejected": "bad", "system": ""},
        {"instruction": "q", "chosen_response": "good", "rejected_response": "bad"},
        {"prompt": turns("u: q"), "chosen": turns("a: good"), "rejected": turns("a: bad")},
        {"prompt": "q", "chosen": turns("u: q", "a: good"), "rejected": turns("u: q", "a: bad"), "messages": []},
        {"prompt": turns("u: q"), "chosen": turns("u: q", "a: good"), "rejected": turns("u: q", "a: bad")},
        {"chosen": turns("u: q", "a: good"), "rejected": turns("u: q", "a: bad"), "score_chosen": 9,
         "score_rejected": 2},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " good", "rejected": " bad"},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"},
         "rejected": {"from": "gpt", "value": "bad"}},
        {"prompt": "q", "response_0": "bad", "response_1": "good", "better_response_id": 1},
        {"messages": turns("u: q", "a: good"), "chosen": turns("u: q", "a: good"), "rejected": turns("u: q", "a: bad")},
        {"question": "q", "response_j": "good", "response_k": "bad"},
    ],
)  # fmt: skip
def test_one_turn_in_its_many_forms(row: dict[str, Any]) -> None:
    pair = to_pair(row)
    assert [dict(message) for message in pair.prompt] == turns("u: q")
    assert (pair.chosen["content"].strip(), pair.rejected["content"].strip()) == ("good", "bad")


@pytest.mark.parametrize(
    "prompt", [None, "1+1?", "And 2+2?", turns("u: 1+1?"), turns("u: 1+1?", "a: 2", "u: And 2+2?")]
)
def test_all_shared_turns_are_the_prompt(prompt: Any) -> None:
    shared = turns("s: Be brief.", "u: 1+1?", "a: 2", "u: And 2+2?")
    row = {"chosen": [*shared, *turns("a: 4")], "rejected": [*shared, *turns("a: 5")]}
    pair = to_pair(row | ({"prompt": prompt} if prompt else {}))
    assert list(pair.prompt) == shared and (pair.chosen["content"], pair.rejected["content"]) == ("4", "5")


def test_a_system_column_opens_the_prompt_and_thinking_stays_with_its_completion() -> None:
    row = {"system": "Think.", "question": "q", "chosen": "good", "rejected": "bad", "id": 3}
    assert list(to_pair(row).prompt) == turns("s: Think.", "u: q") and to_pair(row).unread == ("id",)
    thinking = {"role": "assistant", "content": "good", "reasoning_content": "Hm."}
    assert to_pair({"prompt": "q", "chosen": [thinking], "rejected": "bad"}).chosen == thinking


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "chosen": "good", "rejected": ""}, "rejected is empty"),
        ({"prompt": "q", "chosen": "good", "rejected": None}, "rejected is null"),
        ({"prompt": "", "chosen": "good", "rejected": "bad"}, "prompt is empty"),
        ({"chosen": "good", "rejected": "bad"}, "no prompt: chosen and rejected share no turns"),
        ({"prompt": "q", "chosen": turns("u: q"), "rejected": turns("u: q", "a: b")}, "chosen ends with the user's"),
        (
            {"chosen": turns("u: q", "a: b", "u: r", "a: c"), "rejected": turns("u: q", "a: x", "u: r", "a: c")},
            "differ before their last turn",
        ),
        (
            {"prompt": "z", "chosen": turns("u: q", "a: b"), "rejected": turns("u: q", "a: c")},
            "the prompt is not among the turns",
        ),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": 2}, "a lower score"),
        ({"prompt": turns("u: q", "a: b"), "chosen": "c", "rejected": "d"}, "the prompt ends with the assistant's"),
    ],
)  # fmt: skip
def test_why_pairs_cannot_be_used(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        to_pair(row)


def test_equal_scores_are_the_datas_own_word() -> None:
    with pytest.raises(Unusable, match="the same score") as dropped:
        to_pair({"prompt": "q", "chosen": "a", "rejected": "b", "score_chosen": 4.0, "score_rejected": 4.0})
    assert dropped.value.asked


def test_what_is_no_pair_is_told_with_what_to_do() -> None:
    with pytest.raises(
        UserError, match=r"its columns are prompt, completion, label;.*single judgements.*--data\.columns"
    ):
        to_pair({"prompt": "q", "completion": "c", "label": True})


def test_choices_and_an_input_belong_to_the_prompt() -> None:
    pair = to_pair({"question": "q", "choices": ["x", "y"], "chosen": "A", "rejected": "B"})
    assert pair.prompt[0]["content"] == "q\n\nA. x\nB. y" and pair.unread == ()
    pair = to_pair({"prompt": "q", "input": "8", "chosen": "A", "rejected": "B"})
    assert pair.prompt[0]["content"] == "q\n\n8" and pair.unread == ()
