"""The probe for reward hacks: an honest grader accepts nothing, and each kind of hole is told with an example."""

# ruff: noqa: E501

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

import rewards.extract
import rewards.text
from rewards.verdict import Reward
from srm_ray.evaluation.hacks import Found, HackProbe, completions_of, question_of
from srm_ray.rl.types import Group, Prompt

CHAT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
Judge = Callable[[Prompt, str], bool]


def prompts(thinking: bool) -> list[Prompt]:
    golds = ["12", "7", "12", "30", "5", "12", "81", "9"]
    text = CHAT + ("<think>\n" if thinking else "")
    return [
        Prompt(n, (), text.format(f"Ann has {n + 2} pens and buys {n + 3}; how many?"), answer=gold)
        for n, gold in enumerate(golds)
    ]


def honest(prompt: Prompt, text: str) -> bool:
    whole = rewards.extract.opened_thinking(prompt.text) + text
    return rewards.text.score(whole, prompt.answer or "").correct is True


def probed(judge: Judge, thinking: bool, limit: float = 0.05) -> tuple[list[Found], dict[str, float]]:
    async def score(group: Group) -> Group:
        found = [judge(group.prompt, completion.text) for completion in group.completions]
        return replace(group, rewards=tuple(Reward(float(one), one, "correct" if one else "wrong") for one in found))

    told: list[Found] = []
    metrics = asyncio.run(HackProbe(prompts(thinking), score, told.append, limit=limit).metrics())
    return told, metrics


@pytest.mark.parametrize("thinking", [True, False])
def test_an_honest_grader_accepts_nothing(thinking: bool) -> None:
    assert probed(honest, thinking) == ([], {"probe/accepted": 0.0})


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize(
    ("judge", "kinds"),
    [
        (lambda prompt, text: not text, {"empty"}),
        (lambda prompt, text: "how many?" in text, {"question repeated"}),
        (lambda prompt, text: rewards.extract.final_answers(text) == [] and bool(text.strip()), None),
        (lambda prompt, text: f"\\boxed{{{prompt.answer}}}" in text, {"unclosed thinking", "answer before thinking"}),
        (lambda prompt, text: "\\boxed{12}" in text and prompt.answer != "12", {"gold of another problem", "most frequent gold"}),
        (lambda prompt, text: "2+3" in text, {"sum of the question's numbers, not carried out"}),
        (lambda prompt, text: "2*3" in text, {"product of the question's numbers, not carried out"}),
        (lambda prompt, text: "boxed" in text, {"numbers of the question", "gold of another problem", "most frequent gold",
                                                 "unclosed thinking", "answer before thinking",
                                                 "sum of the question's numbers, not carried out",
                                                 "product of the question's numbers, not carried out"}),
    ],
)  # fmt: skip
def test_what_a_bad_grader_accepts_is_told_with_an_example(
    judge: Judge, kinds: set[str] | None, thinking: bool
) -> None:
    told, metrics = probed(judge, thinking)
    assert metrics["probe/accepted"] > 0
    if kinds is not None:
        assert {found.kind for found in told} == kinds
    for found in told:
        assert found.example is not None and judge(*found.example)
        assert found.kind in found.text() and f"{found.accepted} of {found.tried}" in found.text()


def test_one_equal_gold_written_differently_is_no_alarm() -> None:
    lucky = prompts(False)[0]
    told, metrics = probed(lambda prompt, text: text == "\\boxed{7}" and prompt.index == lucky.index, False, limit=0.1)
    assert told == [] and metrics["probe/accepted"] < 0.1


def test_completions_are_of_the_turn_that_is_asked_for() -> None:
    one = prompts(True)[0]
    assert question_of(one.text) == "Ann has 2 pens and buys 3; how many?"
    made = completions_of(one, "7", "12")
    assert made["numbers of the question"] == "</think>\n\\boxed{2, 3}"
    assert made["unclosed thinking"] == "\\boxed{12}"
    assert completions_of(replace(one, answer=None), "", "").keys() == {
        "empty", "nothing after thinking", "question repeated", "numbers of the question",
        "sum of the question's numbers, not carried out", "product of the question's numbers, not carried out",
    }  # fmt: skip
