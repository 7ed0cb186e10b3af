"""An episode with a model that is asked by messages."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from srm_ray.environments.contract import load
from srm_ray.environments.dialogue import Dialogue, TurnReply, converse
from srm_ray.environments.episode import Limits
from tests.environments.test_episode import WIDE, Here

ASKED = [{"role": "user", "content": "Count to 3."}]


def call(name: str, arguments: Any, given: str = "c1") -> dict[str, Any]:
    return {"id": given, "type": "function", "function": {"name": name, "arguments": arguments}}


def talked(
    name: str, row: dict[str, Any], lines: list[TurnReply], limits: Limits = WIDE, fails: str = ""
) -> tuple[Dialogue, list[Any]]:
    contract, heard = load(f"tests.environments.samples:{name}", ()).contract, list[Any]()

    async def ask(
        messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]], seed: int, most: int
    ) -> TurnReply:
        heard.append((list(messages), [tool["function"]["name"] for tool in tools], seed, most))
        return lines[len(heard) - 1]

    return asyncio.run(converse(Here(name, row, fails), ask, contract, ASKED, limits, 7)), heard


def test_calls_are_made_and_their_results_told() -> None:
    calls = (call("increment", '{"by": 1}'), call("increment", {"by": 2}, "c2"))
    made, heard = talked("Counter", {"goal": 3}, [TurnReply("", "one, two", calls, tokens_out=5), TurnReply("Done.")])
    assert [one["role"] for one in made.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [one["content"] for one in made.messages[2:4]] == ["1", "3"]
    assert [one["tool_call_id"] for one in made.messages[2:4]] == ["c1", "c2"]
    assert made.messages[1]["reasoning_content"] == "one, two" and made.messages[1]["tool_calls"] == list(calls)
    assert made.episode.reward == 1.0 and made.words == "Done." and made.tokens_out == 5
    assert "increment" in heard[0][1] and len({seed for _, _, seed, _ in heard}) == 2
    assert heard[1][3] == WIDE.max_tokens - 5


def test_what_a_model_does_wrong_is_told_it_and_never_raised() -> None:
    wrong = (call("increment", "{"), call("increment", "[1]"), call("nothing", "{}"), {"function": 3}, call("fail", ""))
    made, _ = talked("Counter", {"goal": 3}, [TurnReply("", "", wrong), TurnReply("Enough.")])
    told = [one["content"] for one in made.messages if one["role"] == "tool"]
    assert len(told) == 5 and all(text.startswith("Error") for text in told)
    assert sum(one.error for one in made.episode.turns[0].calls) == 5


def test_limits_and_failures() -> None:
    again = TurnReply("", "", (call("increment", json.dumps({"by": 1})),), tokens_out=4)
    made, _ = talked("Counter", {"goal": 9}, [again] * 3, Limits(2, 0, 100))
    assert made.episode.truncated == "turns" and len(made.episode.turns) == 2
    made, heard = talked("Counter", {"goal": 9}, [again] * 3, Limits(8, 6, 8))
    assert made.episode.truncated == "tokens" and [most for *_, most in heard] == [6, 4]
    made, _ = talked("Counter", {"goal": 9}, [TurnReply("I am cut", truncated=True)])
    assert made.episode.truncated == "tokens" and made.episode.reward == 0.0
    made, _ = talked("Counter", {"goal": 9}, [again], fails="call")
    assert made.episode.failure == "worker_died" and made.episode.reward is None


def test_turns_are_answered_until_the_environment_is_done() -> None:
    made, _ = talked("Luck", {}, [TurnReply("b"), TurnReply("a")])
    assert [one["content"] for one in made.messages[1:]] == ["b", "no", "a"]
    assert made.episode.reward == 1.0 and [turn.reward for turn in made.episode.turns] == [0.0, 1.0]
