"""A person, a model and an environment: what is shown, and what the model sees."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from srm_ray.environments.contract import load
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.talk import OpenEnvironment, PlayedConversation
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling
from tests.environments import templates
from tests.environments.templates import tokenizer_with
from tests.environments.test_episode import Here


class Engine:
    """Says its lines one after the other."""

    about, context = "scripted", 4096

    def __init__(self, template: str | None, lines: list[str]):
        self.tokenizer, self.lines = tokenizer_with(template), lines
        self.stop_ids = (self.tokenizer.eos_token_id,)
        self.asked: list[str] = []

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int = 3407) -> Iterator[int]:
        self.asked.append(self.tokenizer.decode(list(prompt_ids), skip_special_tokens=False))
        yield from self.tokenizer.encode(self.lines[len(self.asked) - 1], add_special_tokens=False)

    def logits(self, ids: Sequence[int]) -> Any:
        raise NotImplementedError


class HereSessions:
    """Objects of this process in place of processes."""

    def __init__(self, name: str, row: dict[str, Any]):
        self.name, self.row, self.ended = name, row, 0

    async def open(self) -> Here:
        return Here(self.name, self.row)

    async def end_of(self, session: Here) -> None:
        self.ended += 1


def conversation(
    name: str, row: dict[str, Any], template: str | None, lines: list[str], turns: int = 5
) -> tuple[PlayedConversation, Engine, HereSessions]:
    contract = load(f"tests.environments.samples:{name}", ()).contract
    engine, sessions = Engine(template, lines), HereSessions(name, row)
    renderer = TurnRenderer(engine.tokenizer, engine.stop_ids, contract.kind, contract.tools)
    environment = OpenEnvironment(contract, renderer, sessions, asyncio.Runner(), turns)  # type: ignore[arg-type]
    return PlayedConversation(engine, Sampling(0.0, 200), 1, environment), engine, sessions


def shown(of: PlayedConversation, text: str) -> str:
    return "\n".join(f"{piece.kind}: {piece.text}" for piece in of.ask(text))


def test_a_model_calls_and_answers_and_goes_on_with_the_same_object() -> None:
    call = '<tool_call>\n{"name": "increment", "arguments": {"by": 2}}\n</tool_call>'
    talk, engine, sessions = conversation("Counter", {"goal": 4}, templates.HERMES, [call, "Two.", call, "Four."])
    first = shown(talk, '{"prompt": "Please:", "goal": 4}')
    assert '[call] increment({"by": 2})' in first and "[result] 2" in first and "[environment] reward 0" in first
    assert "Please: Count to 4." in engine.asked[0]
    second = shown(talk, "Again.")
    assert "[result] 4" in second and "[environment] reward 1" in second
    assert engine.asked[3].startswith(engine.asked[0]) and engine.asked[3].count("<tool_response>") == 2
    assert "Two.<|im_end|>\n<|im_start|>user\nAgain.<|im_end|>" in engine.asked[2]
    talk.reset()
    assert sessions.ended == 1
    with pytest.raises(UserError, match=r"reset wants the column 'goal'.*JSON object"):
        list(talk.ask("Count."))


@pytest.mark.parametrize("template", [None, templates.HERMES])
def test_a_line_begins_an_episode_that_is_played_to_its_end(template: str | None) -> None:
    thinks = "" if template else "so\n</think>\n"
    talk, _, sessions = conversation("Luck", {}, template, [f"{thinks}b", "a"])
    text = shown(talk, "play")
    assert text.splitlines()[0] == "environment: [environment] Say a."
    assert "[environment] no (reward 0)" in text
    if template:
        assert "[environment] no (reward 1)\nenvironment: [environment] reward 1" in text
    assert sessions.ended == 1 and talk.player is None, "the next line begins another"


def test_an_episode_is_cut_at_the_limit() -> None:
    talk, _, sessions = conversation("Luck", {}, templates.HERMES, ["b", "b"], turns=2)
    assert "cut after 2 turns" in shown(talk, "play") and sessions.ended == 1
