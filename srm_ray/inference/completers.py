"""What an evaluation asks of a model, whoever runs it: an engine here, the learner's workers, a server elsewhere.

messages --Speaker.answer--> ChatCompletion x n        (suites with our own graders)
ids -------LogLikelihoodModel.complete-> ChatCompletion            (lm-evaluation-harness)
ids -------LogLikelihoodModel.score----> LogLikelihood
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Messages = Sequence[dict[str, str]]


class ContextOverflow(Exception):
    """A prompt that fills the whole context: nothing can be answered."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """temperature 0 is greedy. max_new_tokens: tokens, less where the context ends earlier."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """One completion. prompt: as rendered (of a server: the last message). tokens: how many were sampled.

    token_ids: what was sampled, the stop token included; () where a server does not say.
    """

    prompt: str
    text: str
    tokens: int
    truncated: bool
    seed: int
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """Log-likelihood of some tokens after others, nats. greedy: each is the likeliest in its place."""

    logprob: float
    greedy: bool


class ChatCompleter(Protocol):
    async def prepare(self) -> None:
        """Start what takes time to start. Any request does so too."""
        ...

    async def answer(self, messages: Messages, seeds: Sequence[int], decoding: Decoding) -> list[ChatCompletion]:
        """One completion per seed. Raises `ContextOverflow`."""
        ...


class LogLikelihoodModel(Protocol):
    """context: prompt + completion, tokens."""

    context: int

    async def complete(self, ids: Sequence[int], seed: int, decoding: Decoding) -> ChatCompletion: ...

    async def score(self, ids: Sequence[int], start: int) -> LogLikelihood:
        """The tokens from `start` on, after those before it."""
        ...
