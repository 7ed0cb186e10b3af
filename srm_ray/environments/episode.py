"""One episode: sample a turn, give it to the environment, render its reply, and again, until one of them ends it.

    prompt --generate--> turn --calls, or step--> results, or observation --render--> prompt of the next turn

Pure of Ray and vLLM: how a turn is sampled and who answers it are given. The rules:

- A turn is sampled with a seed of its own (run, prompt, draw, completion, turn), from the ids of all before it.
- An episode of tools ends with the first turn without a call, one of turns when its `step` says so.
- It is cut, and `truncated`, by `max_turns`, by a turn that is longer than `max_turn_tokens`, by `max_tokens`, which
  hold the sampled tokens and the environment's replies together, and where a reply leaves no room.
- The environment's reply to the last turn is kept in the turn's record, and is no token.
- An environment that fails (time, death, an exception) ends the episode as `failure`: undecided, out of the loss.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rewards.extract import opened_thinking
from srm_ray.environments import calls as tool_calls
from srm_ray.environments.rendering import Message, TurnRenderer
from srm_ray.environments.sessions import EpisodeFailed, Outcome, Step
from srm_ray.rl.seeds import turn_seed
from srm_ray.rl.types import Completion, Episode, ToolCall, Turn

Generate = Callable[
    [tuple[int, ...], int, int, str], Awaitable[Completion]
]  # ids, seed, most new tokens, worker before


class Player(Protocol):
    """An environment in one episode; all of it may raise `EpisodeFailed`. See `srm_ray.environments.sessions`."""

    async def reset(self, row: dict[str, Any], seed: int) -> str | None: ...

    async def call(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]: ...

    async def step(self, text: str) -> Step: ...

    async def reward(self) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """max_turns: sampled turns. max_turn_tokens: of one; 0: none of its own. max_tokens: after the prompt, in all."""

    max_turns: int
    max_turn_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Start:
    """What an episode begins with. messages: the conversation; token_ids and text: the same, rendered."""

    messages: tuple[Message, ...]
    token_ids: tuple[int, ...]
    text: str


@dataclass
class Track:
    """What there is of an episode so far, token by token and turn by turn."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    truncated: str = ""

    def sampled(self, tail: Sequence[int], turn: Completion) -> int:
        """Lay a sampled turn after the environment's reply before it. Returns where the turn starts."""
        if tail:
            self.ids += tail
            self.logprobs += [0.0] * len(tail)
            self.versions += [self.versions[-1]] * len(tail)
        start = len(self.ids)
        self.ids += turn.token_ids.tolist()
        self.logprobs += turn.logprobs.tolist()
        self.versions += turn.versions.tolist()
        return start


async def play(
    player: Player,
    generate: Generate,
    renderer: TurnRenderer,
    start: Start,
    limits: Limits,
    seed: int,
    failing: Callable[[EpisodeFailed], None] = lambda failed: None,
) -> Completion:
    """The episode as a completion of its prompt. Never raises for what model or environment do.

    failing: called when an environment fails. Raises `UserError` where the chat template does not serve for the
    messages.
    """
    track = Track()
    outcome, failure = Outcome(None), ""
    try:
        await _turns(track, player, generate, renderer, start, limits, seed)
        outcome = await player.reward()
    except EpisodeFailed as failed:
        failure = failed.reason
        failing(failed)
    return completion_of(track, renderer, seed, outcome, failure)


async def _turns(
    track: Track,
    player: Player,
    generate: Generate,
    renderer: TurnRenderer,
    start: Start,
    limits: Limits,
    seed: int,
) -> None:
    conversation: list[Message] = list(start.messages)
    tail: list[int] = []
    opening = opened_thinking(start.text)
    while True:
        left = limits.max_tokens - len(track.ids) - len(tail)
        most = min(left, limits.max_turn_tokens or left)
        own = turn_seed(seed, len(track.turns))
        worker = track.turns[-1].worker if track.turns else ""
        sampled = await generate((*start.token_ids, *track.ids, *tail), own, most, worker)
        first = track.sampled(tail, sampled)
        turn = Turn(first, len(track.ids), own, sampled.text, sampled.worker, cached=sampled.cached)
        track.turns.append(turn)
        if sampled.truncated:
            track.truncated = "tokens"
            return
        turn, replies, done = await _answer(turn, player, renderer, opening + sampled.text)
        track.turns[-1] = turn
        if done:
            return
        if len(track.turns) == limits.max_turns:
            track.truncated = "turns"
            return
        conversation.append(renderer.turn(turn.calls))
        tail = renderer.after(conversation, replies)
        conversation += replies
        if len(track.ids) + len(tail) >= limits.max_tokens:
            track.truncated = "tokens"
            return
        opening = opened_thinking(renderer.tokenizer.decode(tail, skip_special_tokens=False))


async def _answer(turn: Turn, player: Player, renderer: TurnRenderer, text: str) -> tuple[Turn, list[Message], bool]:
    """The turn with what the environment made of it, the reply to the model, and whether the episode is over."""
    if renderer.kind == "turns":
        step = await player.step(turn.text)
        answered = replace(turn, observation=step.observation, reward=step.reward, seconds=step.seconds)
        return answered, renderer.observation(step.observation), step.done
    asked = tool_calls.parse(text, renderer.family)
    if not asked:
        return turn, [], True
    made = await player.call(asked)
    return replace(turn, calls=made, seconds=sum(one.seconds for one in made)), renderer.results(made), False


def completion_of(track: Track, renderer: TurnRenderer, seed: int, outcome: Outcome, failure: str) -> Completion:
    """An episode's tokens and record. An episode whose last turn was cut, or that had none left, ends with "length"."""
    ids = np.asarray(track.ids, np.int32)
    turns = tuple(track.turns)
    last = turns[-1] if turns else None
    # The last turn's text is without the stop token; what stands before it is decoded as it is.
    before = renderer.tokenizer.decode(ids[: last.start].tolist(), skip_special_tokens=False) if last else ""
    return Completion(
        token_ids=ids,
        logprobs=np.asarray(track.logprobs, np.float32),
        versions=np.asarray(track.versions, np.int32),
        finish_reason="length" if track.truncated else "stop",
        seed=seed,
        text=before + (last.text if last else ""),
        worker=last.worker if last else "",
        episode=Episode(turns, outcome.reward, outcome.correct, failure, track.truncated),
    )
