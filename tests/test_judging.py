"""A judge's verdicts: parsed, paid for once, limited in calls, cost and time; what it did not say is null."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rewards.sandbox.processes import Failure
from rewards.user import Own
from rewards.verdict import REASONS
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.judge import JudgeConfig
from srm_ray.distillation.judging import FAILED, LIMIT, TIMEOUT, Judge, parsed
from srm_ray.distillation.ledger import Answer
from srm_ray.errors import UserError
from srm_ray.inference.openai_client import Failed
from srm_ray.rl.types import Group, Prompt
from tests.rl.random_groups import uneven_groups


class Model:
    """Answers with `say` of the question; asked: what it was asked."""

    def __init__(self, say: Callable[[str], Any], seconds: float = 0.0) -> None:
        self.say, self.seconds, self.asked = say, seconds, []  # type: ignore[var-annotated]

    async def answer(self, messages: Sequence[dict[str, str]], seed: int) -> Answer:
        await asyncio.sleep(self.seconds)
        text = messages[0]["content"]
        self.asked.append(text)
        said = self.say(text)
        if isinstance(said, Exception):
            raise said
        return Answer(said, "stop", 100, 10)


def group(*texts: str, gold: str | None = "4") -> Group:
    made = uneven_groups()[0].completions[0]
    prompt = Prompt(3, (1, 2), "<user>2 + 2?", answer=gold, messages=({"role": "user", "content": "2 + 2?"},))
    return Group(prompt, tuple(replace(made, text=text, seed=place) for place, text in enumerate(texts)))


def verdicts(folder: Path, model: Model, *groups: Group, **options: Any) -> tuple[list[list[Own | Failure]], Judge]:
    async def scenario() -> tuple[list[list[Own | Failure]], Judge]:
        judge = Judge(JudgeConfig(**options), model, folder)
        try:
            return [await judge.verdicts(one) for one in groups], judge
        finally:
            judge.close()

    return asyncio.run(scenario())


def test_the_last_word_decides_and_a_number_is_a_value() -> None:
    options = JudgeConfig()
    assert parsed(options, Answer("Not no: yes", "stop", 0, 0)) == Own(1.0, True)
    assert parsed(options, Answer("<think>\nyes\n</think>\nFalse.", "stop", 0, 0)) == Own(0.0, False)
    assert parsed(options, Answer("<think>\nyes, it seems", "length", 0, 0)) == FAILED
    assert parsed(options, Answer("", "refused", 0, 0)) == FAILED
    marks = JudgeConfig(pattern=r"Marks: ([\d.]+|nan)", scale=10.0)
    assert parsed(marks, Answer("Marks: 7.5", "stop", 0, 0)) == Own(0.75, None)
    assert parsed(marks, Answer("Marks: nan", "stop", 0, 0)) == FAILED
    assert {FAILED.reason, LIMIT.reason, TIMEOUT.reason} <= REASONS


def test_it_is_asked_of_question_answer_and_gold_once_for_the_same_words(tmp_path: Path) -> None:
    model = Model(lambda text: "yes" if "is 4" in text else "no")
    texts = ("<think>a</think>It is 4", "It is 5", "<think>b</think>It is 4")
    found, judge = verdicts(tmp_path, model, group(*texts), group(*texts))
    assert found == [[Own(1.0, True), Own(0.0, False), Own(1.0, True)]] * 2
    assert len(model.asked) == 2 and judge.describe()["judge/calls"] == 2
    assert all("2 + 2?" in text and "Reference answer:\n4" in text and "think" not in text for text in model.asked)
    again = Model(lambda text: "no")
    assert verdicts(tmp_path, again, group(*texts))[0] == found[:1] and not again.asked  # a run that goes on pays once


def test_calls_and_cost_are_limited(tmp_path: Path) -> None:
    texts = [f"It is {number}" for number in range(5)]
    found, judge = verdicts(tmp_path / "calls", Model(lambda text: "yes"), group(*texts), calls=3)
    assert found[0].count(Own(1.0, True)) == 3 and found[0].count(LIMIT) == 2 and judge.failed == 2
    prices = {"endpoint": {"url": "http://h/v1", "price_in": 1e4, "price_out": 0.0}}  # a dollar each
    model = Model(lambda text: "yes")
    found, judge = verdicts(tmp_path / "cost", model, group(*texts), budget=6.0, **prices)
    assert LIMIT in found[0] and judge.ledger.cost <= 6.0


def test_what_it_did_not_say_is_null_and_can_be_asked_again(tmp_path: Path) -> None:
    found, _ = verdicts(tmp_path, Model(lambda text: Failed("HTTP 500")), group("It is 4"))
    assert found == [[FAILED]]
    found, _ = verdicts(tmp_path, Model(lambda text: "yes", seconds=5.0), group("It is 4"), timeout=0.01)
    assert found == [[TIMEOUT]]
    assert verdicts(tmp_path, Model(lambda text: "yes"), group("It is 4"))[0] == [[Own(1.0, True)]]
    with pytest.raises(UserError, match="refuses every"):
        verdicts(tmp_path, Model(lambda text: UserError("it refuses every request")), group("It is 5"))


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one of them decides .* reward.function and reward.judge"):
        GRPOConfig.model_validate({"reward": {"function": "a:b", "judge": {"model": "m"}}})
    with pytest.raises(ValueError, match="one group, the verdict, is needed"):
        JudgeConfig(pattern="yes")
    with pytest.raises(ValueError, match=r"judge\.budget needs"):
        JudgeConfig(budget=1.0)
    with pytest.raises(UserError, match=r"reward\.judge\.template"):
        Judge(JudgeConfig(template="{{ answer"), Model(lambda text: "yes"), tmp_path)
