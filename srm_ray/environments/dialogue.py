"""One episode with a model that is asked by messages, as served ones are: no tokens, no log-probabilities.

    messages, tools --ask--> TurnReply (words, calls) --calls, or step--> results, or observation --> messages, again

The rules are those of `srm_ray.environments.episode`. What comes out is a conversation as SFT data has it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from srm_ray.environments.calls import MOST, unreadable
from srm_ray.environments.contract import Contract
from srm_ray.environments.episode import Limits, Player
from srm_ray.environments.sessions import EpisodeFailed, Outcome
from srm_ray.inference.openai_client import OpenAIClient
from srm_ray.rl.seeds import turn_seed
from srm_ray.rl.types import Episode, ToolCall, Turn

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TurnReply:
    """A turn of a served model. calls: OpenAI's `tool_calls`. tokens_in, tokens_out: as billed."""

    content: str
    reasoning: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    truncated: bool = False
    tokens_in: int = 0
    tokens_out: int = 0


# messages, tools, seed, most new tokens
Ask = Callable[[Sequence[Message], Sequence[Mapping[str, Any]], int, int], Awaitable[TurnReply]]


def asking(client: OpenAIClient, **body: Any) -> Ask:
    """A server as `Ask`. body: further fields of each request. It raises what `OpenAIClient.complete` does."""

    async def ask(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], seed: int, most: int) -> TurnReply:
        sent = [{key: value for key, value in one.items() if key != "reasoning_content"} for one in messages]
        offered = {"tools": [plain_tool(tool) for tool in tools]} if tools else {}
        reply = await client.complete(sent, seed, **offered, **{"max_tokens": most, **body})
        cut = reply.finish == "length"
        return TurnReply(reply.content, reply.reasoning, reply.calls, cut, reply.tokens_in, reply.tokens_out)

    return ask


def plain_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without what a tool returns, which OpenAI's form does not have."""
    return {**tool, "function": {key: value for key, value in tool["function"].items() if key != "return"}}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """An episode played by messages. messages: all of them, OpenAI's form. tokens_in, tokens_out: of all turns."""

    messages: tuple[Message, ...]
    episode: Episode
    tokens_in: int
    tokens_out: int

    @property
    def words(self) -> str:
        """The last turn, its thinking left out: what graders grade."""
        return next((one["content"] for one in reversed(self.messages) if one["role"] == "assistant"), "")


async def converse(
    player: Player, ask: Ask, contract: Contract, begun: Sequence[Message], limits: Limits, seed: int
) -> Dialogue:
    """Play on from the messages `begun`. Never raises for what model or environment do; what `ask` raises ends it.

    `limits.max_tokens` bounds the model's tokens, as far as the server reports them.
    """
    messages, turns = list(begun), list[Turn]()
    tokens_in = tokens_out = 0
    truncated, failure, outcome = "", "", Outcome(None)
    try:
        while not truncated:
            left = limits.max_tokens - tokens_out
            own = turn_seed(seed, len(turns))
            reply = await ask(messages, contract.tools, own, min(left, limits.max_turn_tokens or left))
            reply = replace(reply, calls=reply.calls[:MOST])
            tokens_in, tokens_out = tokens_in + reply.tokens_in, tokens_out + reply.tokens_out
            messages.append(message_of(reply))
            turn, answers, done = await _answer(reply, Turn(0, 0, own, reply.content, ""), player, contract)
            turns.append(turn)
            if done:
                break
            messages += answers
            if reply.truncated or tokens_out >= limits.max_tokens:
                truncated = "tokens"
            elif len(turns) == limits.max_turns:
                truncated = "turns"
        outcome = await player.reward()
    except EpisodeFailed as failed:
        failure = failed.reason
    episode = Episode(tuple(turns), outcome.reward, outcome.correct, failure, truncated)
    return Dialogue(tuple(messages), episode, tokens_in, tokens_out)


async def _answer(reply: TurnReply, turn: Turn, player: Player, contract: Contract) -> tuple[Turn, list[Message], bool]:
    """The turn with what the environment made of it, the messages of that, and whether the episode is over."""
    if reply.truncated:
        return turn, [], False
    if contract.kind == "turns":
        step = await player.step(reply.content)
        answered = replace(turn, observation=step.observation, reward=step.reward, seconds=step.seconds)
        return answered, [{"role": "user", "content": step.observation}], step.done
    if not reply.calls:
        return turn, [], True
    made = await player.call([call_of(call) for call in reply.calls])
    answers = [
        {"role": "tool", "tool_call_id": str(call.get("id", n)), "name": one.name, "content": one.result}
        for n, (call, one) in enumerate(zip(reply.calls, made, strict=True))
    ]
    return replace(turn, calls=made, seconds=sum(one.seconds for one in made)), answers, False


def message_of(reply: TurnReply) -> Message:
    message: Message = {"role": "assistant", "content": reply.content}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [dict(call) for call in reply.calls]
    return message


def call_of(call: Mapping[str, Any]) -> ToolCall:
    """A call of OpenAI's form; one that cannot be parsed is the model's error, and its result says so."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(name := function.get("name"), str):
        return unreadable("a call has the name of a tool")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return replace(unreadable("arguments must be a JSON object"), name=name)
    if not isinstance(arguments, dict):
        return replace(unreadable("arguments must be a JSON object"), name=name)
    return ToolCall(name, arguments)
