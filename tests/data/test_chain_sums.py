"""chain_sum with worked reasoning, and the base models that the demos start from."""

import itertools

import pytest

from actors.train.warm_start import RECIPE, TWO_FAMILIES, conversations_of, documents_of, fingerprint, recipe_for
from srm_ray.config.data import DataConfig
from srm_ray.data import arithmetic
from srm_ray.data.chain_sums import NAME, OPTIONS, ChainSums, reasoning, terms_of
from srm_ray.data.prompts import open_held_out
from tests.rewards.gym_data import needs_gym


@pytest.mark.parametrize(
    ("terms", "worked"),
    [
        ([47, -36, 29], "7-6+9=10, 4-3+2=3, 30+10=40"),
        ([13, -48], "3-8=-5, 1-4=-3, -30-5=-35"),
        ([14, 44], "4+4=8, 1+4=5, 50+8=58"),
        ([4, -9], "4-9=-5"),
    ],
)
def test_reasoning(terms: list[int], worked: str) -> None:
    assert reasoning(terms) == worked


@pytest.mark.integration
@needs_gym
def test_problems_are_worked_right_and_never_held_out() -> None:
    chains = ChainSums(1)
    held_out = open_held_out(DataConfig(name=NAME, options=OPTIONS), 100, "chain_sum")
    asked = {task.messages[0]["content"] for task in held_out}
    for index in range(300):
        question, thought, answer = chains.problem(index)
        assert sum(terms_of(question)) == int(answer) == int(thought.rsplit("=", 1)[1])
        for step in thought.split(", "):
            left, right = step.split("=")
            assert sum(terms_of(f":{left}=")) == int(right)
        assert question not in asked


def test_the_default_base_model_is_what_it_was() -> None:
    """Its cache is keyed by this: another key would have every user make it again."""
    assert fingerprint(RECIPE, 3407, "bf16_autocast") == "7e778cea9817"
    assert recipe_for(DataConfig()) is RECIPE
    first = list(itertools.islice(conversations_of(RECIPE, 3407), 3))
    assert first == [arithmetic.conversation(3407, 1_000_000 + index) for index in range(3)]


@pytest.mark.integration
@needs_gym
def test_two_families_take_turns() -> None:
    assert recipe_for(DataConfig(mixture={"a": {}, "b": {"name": NAME}})) is TWO_FAMILIES
    documents = list(itertools.islice(documents_of(TWO_FAMILIES, 1), 6))
    assert [document[0].startswith("What is") for document in documents] == [True, False] * 3
    assert fingerprint(TWO_FAMILIES, 3407, "bf16_autocast") != fingerprint(RECIPE, 3407, "bf16_autocast")
