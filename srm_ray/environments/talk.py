"""A person, a model and an environment in the terminal.

    tools   the person asks, the model calls, the results are shown, until it answers; the object stays until /reset
    turns   any line begins an episode, which the model plays to its end; a JSON object gives `reset` its columns

The tokens are those that an episode of training would have (`srm_ray.environments.rendering`).
"""

import asyncio
import json
from collections.abc import Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from rewards.extract import opened_thinking
from srm_ray.environments import calls as tool_calls
from srm_ray.environments.contract import BadEnvironment, Contract
from srm_ray.environments.rendering import Message, TurnRenderer
from srm_ray.environments.sessions import EpisodeFailed, LocalPlayer, Sessions
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling
from srm_ray.inference.conversation import Answer, Conversation, Piece, ThinkingSplitter
from srm_ray.inference.engine import Engine
from srm_ray.model.chat_template import turn_end
from srm_ray.rl.seeds import environment_seed, turn_seed
from srm_ray.rl.types import ToolCall

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenEnvironment:
    """What is played in. sessions: started, on `runner`'s event loop. max_turns: of the model, to one question or in
    one episode."""

    contract: Contract
    renderer: TurnRenderer
    sessions: Sessions
    runner: asyncio.Runner
    max_turns: int


class PlayedConversation(Conversation):
    """A conversation whose answers go through an environment."""

    def __init__(
        self, engine: Engine, sampling: Sampling, seed: int, environment: OpenEnvironment, *, system: str = ""
    ) -> None:
        super().__init__(engine, sampling, seed, system=system)
        self.contract, self.renderer = environment.contract, environment.renderer
        self.sessions, self.runner = environment.sessions, environment.runner
        self.max_turns = environment.max_turns
        self.player: LocalPlayer | None = None
        self.messages: list[Message] = []
        self.ids: list[int] = []
        self.episodes = self.turns = 0
        stop = turn_end(engine.tokenizer)
        self.stop = engine.stop_ids[0] if stop is None else stop

    def reset(self) -> None:
        super().reset()
        self._end()

    def ask(self, text: str) -> Iterator[Piece]:
        """Stream what the model writes and calls, and what it gets back, after a line that the person typed."""
        try:
            if self.player is None:
                yield from self._begin(text)
            else:
                if self.messages[-1]["role"] != "assistant":  # stopped before the model wrote anything
                    self.ids.append(self.stop)
                    self.messages.append(self.renderer.turn())
                self._append([{"role": "user", "content": text}])
            yield from self._play()
        except EpisodeFailed as failed:
            self._end()
            raise UserError(f"the environment failed ({failed.reason}): {failed.detail}") from None

    def _begin(self, text: str) -> Iterator[Piece]:
        row = row_of(text)
        try:
            self.contract.check_columns(set(row))
        except BadEnvironment as error:
            raise UserError(f"{error}; a line that is a JSON object gives its columns") from None
        player = LocalPlayer(self.sessions)
        self.player, self.turns = player, 0
        seed = environment_seed(self.seed, self.episodes)
        self.episodes += 1
        observation = self._run(player.reset(row, seed))
        begun: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        if "prompt" in row and self.contract.kind == "tools":
            begun.append({"role": "user", "content": str(row["prompt"])})
        self.messages = self.renderer.messages(begun, observation)
        self.ids = list(self.renderer.prompt(self.messages))
        if observation is not None:
            yield Piece("environment", f"[environment] {observation.strip()}")

    def _play(self) -> Iterator[Piece]:
        for _ in range(self.max_turns):
            text = yield from self._echo()
            assert self.last is not None, "a turn was sampled"
            goes_on = not self.last.truncated and (yield from self._answer(text))
            if not goes_on:
                break
        else:
            yield Piece("environment", f"[environment] cut after {self.max_turns} turns")
        if self.contract.kind == "turns":
            self._end()

    def _echo(self) -> Generator[Piece, None, str]:
        """One turn of the model, as it is sampled; returns its text."""
        left = self.engine.context - len(self.ids) - 1
        if left < 1:
            raise UserError(
                f"the conversation has {len(self.ids)} tokens, with the tools, and the model's context is "
                f"{self.engine.context}: /reset begins anew"
            )
        splitter, sampled = ThinkingSplitter(self._opened(self.ids)), list[int]()
        parts = {"thinking": "", "answer": ""}

        def kept(pieces: Iterator[Piece]) -> Iterator[Piece]:
            for piece in pieces:
                parts[piece.kind] += piece.text
                yield piece

        try:
            for text in self._decoded(self.ids, turn_seed(self.seed, self.turns), sampled):
                yield from kept(splitter.push(text))
            yield from kept(splitter.close())
        finally:
            cut = len(sampled) >= min(self.sampling.max_new_tokens, left)
            self.last = Answer(parts["thinking"].strip(), parts["answer"].strip(), len(sampled), cut, 0)
            self.ids += [*sampled, self.stop]
            self.turns += 1
            text = self._text(sampled)
            self.messages.append(self.renderer.turn(self._calls(text)))
        return text

    def _answer(self, text: str) -> Generator[Piece, None, bool]:
        """The environment's reply to a turn, shown and given to the model; returns whether the model goes on."""
        assert self.player is not None, "an episode is under way"
        if self.contract.kind == "turns":
            step = self._run(self.player.step(text))
            yield Piece("environment", f"[environment] {step.observation} (reward {step.reward:g})")
            if step.done:
                yield from self._worth(self.player)
                return False
            self._append(self.renderer.observation(step.observation))
            return True
        asked = self._calls(text)
        if not asked:
            yield from self._worth(self.player)
            return False
        made = self._run(self.player.call(asked))
        for one in made:
            yield Piece("call", f"[call] {one.name or '?'}({json.dumps(one.arguments, ensure_ascii=False)})")
            yield Piece("result", f"[result] {one.result}")
        self._append(self.renderer.results(made))
        return True

    def _worth(self, player: LocalPlayer) -> Iterator[Piece]:
        """What the environment would pay by now."""
        outcome = self._run(player.reward())
        if outcome.reward is not None:
            yield Piece("environment", f"[environment] reward {outcome.reward:g}")

    def _append(self, replies: list[Message]) -> None:
        self.ids += self.renderer.after(self.messages, replies)
        self.messages += replies

    def _calls(self, text: str) -> tuple[ToolCall, ...]:
        return tool_calls.parse(text, self.renderer.family) if self.contract.kind == "tools" else ()

    def _text(self, sampled: list[int]) -> str:
        """A turn's text, with the opening of its thinking where a call is to be parsed from it."""
        decode = self.engine.tokenizer.decode
        text = str(decode(sampled, skip_special_tokens=False))
        if self.contract.kind == "turns":
            return text
        before = decode(self.ids[: len(self.ids) - len(sampled) - 1], skip_special_tokens=False)
        return opened_thinking(before) + text

    def _run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asked)

    def _end(self) -> None:
        """The object is no more; the next line begins with another."""
        player, self.player = self.player, None
        if player is not None and player.session is not None:
            self._run(self.sessions.end_of(player.session))


def row_of(text: str) -> dict[str, Any]:
    """A JSON object's columns; any other line is the prompt."""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError) as error:
        raise UserError(f"a line that begins with a brace is a JSON object of columns: {error}") from None
    return found if isinstance(found, dict) else {"prompt": text}
