r"""A conversation with an engine: history in, pieces of thinking and answer out.

    Conversation.ask(text) -> Piece("thinking", ...), Piece("answer", ...), ... as they are sampled
    history: user, assistant (thinking apart from the answer), user, ...

What is asked of the model is exactly what it was trained on: the prompt is rendered by the function
that renders training prompts. Where history and answer do not fit the context, the oldest turns go.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from srm_ray.data.rendering import render_prompt
from srm_ray.data.turn_masks import context_lost
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling
from srm_ray.inference.engine import Engine
from srm_ray.model.tokenization import END_THINK, THINK

SMALLEST_SHARE = 0.25  # share of the context that an answer gets at least, by dropping old turns


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of the answer to a question. kind: "thinking" or "answer"; of tools and environments "call", "result",
    "environment"."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. tokens: how many were sampled. truncated: the limit or the context ended it."""

    thinking: str
    text: str
    tokens: int
    truncated: bool
    dropped_turns: int


class ThinkingSplitter:
    """Tells thinking from answer in text that arrives in pieces, think tags themselves left out.

    inside: whether the prompt has opened the thinking already.
    """

    def __init__(self, inside: bool) -> None:
        self.inside = inside
        self._held = ""

    def push(self, text: str) -> Iterator[Piece]:
        """Pieces that are certain by now; the beginning of what may be a tag is held back."""
        self._held += text
        while True:
            tag = END_THINK if self.inside else THINK
            before, found, after = self._held.partition(tag)
            if not found:
                break
            yield from self._piece(before)
            self._held, self.inside = after, not self.inside
        keep = next((n for n in range(len(tag) - 1, 0, -1) if self._held.endswith(tag[:n])), 0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        yield from self._piece(ready)

    def close(self) -> Iterator[Piece]:
        held, self._held = self._held, ""
        yield from self._piece(held)

    def _piece(self, text: str) -> Iterator[Piece]:
        if text:
            yield Piece("thinking" if self.inside else "answer", text)


class Conversation:
    """thinking: whether the model may think before it answers. sampling, seed: of every answer."""

    def __init__(
        self, engine: Engine, sampling: Sampling, seed: int = 3407, *, system: str = "", thinking: bool = True
    ) -> None:
        self.engine, self.sampling, self.seed = engine, sampling, seed
        self.system, self.thinking = system, thinking
        self.history: list[dict[str, str]] = []
        self.last: Answer | None = None

    def check(self) -> list[str]:
        """What the chat template leaves out of a first message. Raises `UserError` where there is no template, or where
        it refuses the message."""
        first = [{"role": "user", "content": "Hello"}]
        text = self.engine.tokenizer.decode(self._render(first), skip_special_tokens=False)
        return context_lost(text, self._whole(first), ())

    def reset(self) -> None:
        self.history, self.last = [], None

    def ask(self, text: str) -> Iterator[Piece]:
        """Stream the answer. Closing the iterator stops it; what was answered until then stays in the history."""
        turn = [*self.history, {"role": "user", "content": text}]
        messages, prompt_ids, dropped = self._fitting(turn)
        splitter = ThinkingSplitter(self._opened(prompt_ids))
        parts = {"thinking": "", "answer": ""}
        ids: list[int] = []

        def keep(pieces: Iterator[Piece]) -> Iterator[Piece]:
            for piece in pieces:
                parts[piece.kind] += piece.text
                yield piece

        # A seed of its own for each turn: the same question asked twice may be answered differently.
        seed = self.seed + len(turn)
        ended = False
        try:
            for piece_text in self._decoded(prompt_ids, seed, ids):
                yield from keep(splitter.push(piece_text))
            yield from keep(splitter.close())
            ended = True
        finally:
            limit = min(self.sampling.max_new_tokens, self.engine.context - len(prompt_ids))
            self.last = Answer(
                parts["thinking"].strip(), parts["answer"].strip(), len(ids), ended and len(ids) >= limit, dropped
            )
            self.history = [*messages, _assistant(self.last)]

    def _decoded(self, prompt_ids: list[int], seed: int, ids: list[int]) -> Iterator[str]:
        """Text as tokens complete it (a character may take several); sampled ids go to `ids`."""
        from tokenizers.decoders import DecodeStream

        core = self.engine.tokenizer.backend_tokenizer
        decoder = DecodeStream(skip_special_tokens=True)
        for token in self.engine.stream(prompt_ids, self.sampling, seed):
            ids.append(token)
            text = decoder.step(core, token)
            if text:
                yield text

    def _fitting(self, turn: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[int], int]:
        """The newest turns that leave room for an answer, their prompt, and how many messages were dropped."""
        least = min(self.sampling.max_new_tokens, max(1, int(SMALLEST_SHARE * self.engine.context)))
        dropped = 0
        while True:
            messages = turn[dropped:]
            ids = self._render(messages)
            if len(ids) + least <= self.engine.context:
                return messages, ids, dropped
            if len(messages) == 1:
                raise UserError(
                    f"the message has {len(ids)} tokens, too long for a context of {self.engine.context}: shorten it"
                )
            dropped += 2

    def _render(self, messages: list[dict[str, str]]) -> list[int]:
        return render_prompt(self.engine.tokenizer, self._whole(messages), thinking=self.thinking)

    def _whole(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}, *messages] if self.system else messages

    def _opened(self, prompt_ids: list[int]) -> bool:
        tail = self.engine.tokenizer.decode(prompt_ids[-16:], skip_special_tokens=False)
        return THINK in tail and END_THINK not in tail.rpartition(THINK)[2]


def _assistant(answer: Answer) -> dict[str, Any]:
    return {"role": "assistant", "content": answer.text, "reasoning_content": answer.thinking}
