"""What can be asked of a model, wherever it runs: an engine here, a run's rollout workers, a server elsewhere.

messages --ChatCompleter.answer--------> ChatCompletion x n
ids -------LogLikelihoodModel.complete-> ChatCompletion
ids -------LogLikelihoodModel.score----> LogLikelihood
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[dict[str, str]]


class ContextOverflow(Exception):
    """A prompt that fills the whole context: nothing can be answered."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature 0 is greedy. max_new_tokens: limit of a completion, tokens (less where the context ends earlier).

    top_p is 1 in training, so that log-probabilities are those sampled from. ignore_stop: go on to the limit, for
    measuring speed.
    """

    temperature: float = 0.0
    max_new_tokens: int = 2048
    top_p: float = 1.0
    ignore_stop: bool = False


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

    async def answer(self, messages: Messages, seeds: Sequence[int], sampling: Sampling) -> list[ChatCompletion]:
        """One completion per seed. Raises `ContextOverflow`."""
        ...


class LogLikelihoodModel(Protocol):
    """context: prompt + completion, tokens."""

    context: int

    async def complete(self, ids: Sequence[int], seed: int, sampling: Sampling) -> ChatCompletion: ...

    async def score(self, ids: Sequence[int], start: int) -> LogLikelihood:
        """The tokens from `start` on, after those before it."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured, as all that it can be asked. reader, tokenizer: None where a server answers, which
    knows no tokens."""

    completer: ChatCompleter
    reader: LogLikelihoodModel | None = None
    tokenizer: "PreTrainedTokenizerBase | None" = None
