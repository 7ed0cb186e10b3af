"""What base models of the shipped environments have seen: right in form, and none of it measured with."""

import itertools
import json
import re

from actors.train.warm_start import OF_ENVIRONMENTS, RECIPE, fingerprint, recipe_for
from srm_ray.config.command_line import parse
from srm_ray.config.data import DataConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.data import arithmetic
from srm_ray.data.rendering import training_sequences
from srm_ray.environments import demonstrations
from srm_ray.environments.calculator import calculate
from srm_ray.environments.guess import Guess
from tests.environments.templates import tokenizer_with


def test_sums_are_done_at_once_or_with_the_calculator() -> None:
    examples = list(itertools.islice(demonstrations.SumsWithCalculator(1).examples(), 400))
    called = [one for one in examples if len(one.messages) == 4]
    assert 0.2 < len(called) / len(examples) < 0.3
    for one in itertools.islice(demonstrations.SumsWithCalculator(1).drills(), 50):
        if isinstance(one, tuple):
            assert one[1] == f' "{one[0].removeprefix("What is ").rstrip("?")}"', "the sum, copied"
        else:
            assert len(one.messages) == 4 and not one.tools
    for one in examples:
        operands = tuple(map(int, one.messages[0]["content"].removeprefix("What is ").rstrip("?").split("+")))
        assert not arithmetic.held_out(operands) and len(operands) == demonstrations.TERMS
        assert one.messages[-1]["content"] == arithmetic.answer_text(str(sum(operands)))
    call = called[0].messages[1]["tool_calls"][0]["function"]
    assert calculate(**call["arguments"]) == called[0].messages[2]["content"]
    [(ids, mask)] = training_sequences(tokenizer_with(None), called[0].messages, tools=called[0].tools).sequences
    learned = tokenizer_with(None).decode([token for token, on in zip(ids, mask, strict=True) if on])
    assert json.dumps(call["arguments"]) in learned and "tool_response" not in learned


def test_a_player_mostly_says_the_lowest_number_that_is_left() -> None:
    lowest = made = 0
    for one in itertools.islice(demonstrations.GuessingGames(1).examples(), 200):
        told = one.messages[0]["content"]
        assert told == Guess().reset(0) and len(one.messages) <= 10
        for message in one.messages[1:]:
            if message["role"] == "user":
                told = message["content"]
                continue
            low, high = map(int, re.findall(r"\d+", told)[-2:])
            assert low <= int(message["content"]) <= high, "no guess is among those that are out"
            made += 1
            lowest += int(message["content"]) == low
    assert 0.6 < lowest / made < 0.75
    drills = itertools.islice(demonstrations.GuessingGames(1).drills(), 2 * demonstrations.COPIES + 1)
    assert [isinstance(one, tuple) for one in drills] == [True] * 2 * demonstrations.COPIES + [False]


def test_a_run_without_a_model_starts_from_a_base_that_has_seen_its_environment() -> None:
    for name, played in (("calculator", demonstrations.CALCULATOR), ("guess", demonstrations.GUESS)):
        config = parse(GRPOConfig, ["--config", f"configs/grpo/{name}.yaml"], stage="grpo")
        recipe = recipe_for(config.data, (config.environment.name, *config.tools))
        assert recipe is OF_ENVIRONMENTS[played] and recipe.families == (played,)
    assert recipe_for(DataConfig(), ("", "my.own:tool")) is RECIPE
    assert fingerprint(RECIPE, 3407, "bf16_autocast") == "7e778cea9817", "bases made before stay what they are"
