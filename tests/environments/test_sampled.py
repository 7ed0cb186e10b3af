"""A model that is sampled here, asked as a served one is."""

import asyncio
from typing import Any

from srm_ray.distillation.episodes import answer_of, reward_of, row_of_answer
from srm_ray.environments.contract import load
from srm_ray.environments.dialogue import Dialogue, converse
from srm_ray.environments.episode import Limits, Start, play
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.sampled import SampledTurns
from tests.environments import templates
from tests.environments.test_episode import WIDE, Here, Policy

CALL = '<tool_call>\n{"name": "increment", "arguments": {"by": 1}}\n</tool_call>'


def both(
    name: str, row: dict[str, Any], lines: list[str], template: str | None, limits: Limits = WIDE, context: int = 9_999
) -> tuple[Dialogue, list[Any], list[Any]]:
    """What is collected; and what a policy is asked for it, and in an episode of training."""
    tokenizer, contract = templates.tokenizer_with(template), load(f"tests.environments.samples:{name}", ()).contract
    asked: list[list[Any]] = []
    begun = [{"role": "user", "content": "Go on."}]
    renderer = TurnRenderer(tokenizer, [tokenizer.eos_token_id], contract.kind, contract.tools)

    policy = Policy(tokenizer, lines)
    model = SampledTurns(renderer, policy.generate, context)
    made = asyncio.run(converse(Here(name, row), model.ask, contract, begun, limits, 7))
    asked.append(policy.asked)

    policy = Policy(tokenizer, lines)
    messages = renderer.messages(begun, None)
    ids = renderer.prompt(messages)
    start = Start(tuple(messages), ids, tokenizer.decode(list(ids), skip_special_tokens=False))
    asyncio.run(play(Here(name, row), policy.generate, renderer, start, limits, 7))
    return made, asked[0], [*policy.asked]


def test_its_tokens_are_those_of_an_episode_of_training() -> None:
    for template in (None, templates.HERMES):
        opened = "" if template is None else "<think>\n"
        lines = [f"{opened}one more\n</think>\nI count. {CALL}", f"{opened}</think>\nDone."]
        made, asked, trained = both("Counter", {"goal": 1}, lines, template)
        assert [ids for ids, _, _ in asked] == [ids for ids, _, _ in trained]
        assert [seed for _, seed, _ in asked] == [seed for _, seed, _ in trained]
        first = made.messages[1]
        assert first["reasoning_content"] == "one more" and first["content"] == "I count."
        assert first["tool_calls"][0]["function"] == {"name": "increment", "arguments": {"by": 1}}
        assert made.messages[2]["content"] == "1" and made.messages[3]["content"] == "Done."
        contract = load("tests.environments.samples:Counter", ()).contract
        answer = answer_of(made)
        reward = reward_of(answer, contract, 0.0)
        assert reward is not None and reward.correct
        row = row_of_answer(answer, contract, "x", keep_system=False, system="")
        assert row["tools"] == list(contract.tools) and row["messages"] == list(made.messages)


def test_turns() -> None:
    made, asked, trained = both("Luck", {}, ["b", "a"], templates.HERMES)
    assert [ids for ids, _, _ in asked] == [ids for ids, _, _ in trained]
    assert [one["content"] for one in made.messages[1:]] == ["b", "no", "a"] and made.episode.reward == 1.0


def test_a_call_that_cannot_be_read_is_told_and_not_learned() -> None:
    made, _, _ = both(
        "Counter", {"goal": 1}, ["</think><tool_call>{</tool_call>", f"</think>{CALL}", "</think>So."], None
    )
    assert made.messages[2]["content"].startswith("Error") and made.episode.reward == 1.0
    reward = reward_of(answer_of(made), load("tests.environments.samples:Counter", ()).contract, 0.0)
    assert reward is not None and not reward.correct and reward.reason == "rejected_syntax"


def test_no_room_is_a_turn_that_is_cut() -> None:
    made, asked, _ = both("Counter", {"goal": 1}, ["</think>" + CALL, "</think>Done."], None, context=40)
    assert not asked and made.episode.truncated == "tokens"
