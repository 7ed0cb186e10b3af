"""Log-probabilities of given token ids from a server: `prompt_logprobs` of /v1/completions, as vLLM has it.

    prompt, continuation -> ScoringClient.score -> TeacherScores (of the continuation's tokens, and of the top K)

Nothing is sampled but the one token that the protocol asks for. Where the server is another model's, the ids would mean
something else: `check` compares what it calls a few hundred of them, spread over the vocabulary, with the policy's.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from srm_ray.config.endpoints import EndpointConfig
from srm_ray.errors import RunError, UserError, printable
from srm_ray.inference.openai_client import Failed, OpenAIClient, Refused, Server
from srm_ray.rl.types import TeacherScores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

COMPARED = 256  # ids of the vocabulary, beside the special ones
LEAST, MOST = -1e6, 0.01  # what a log-probability may be, as servers round it


class ScoringClient(OpenAIClient):
    """`async with ScoringClient(config) as client`. option: of the run's config, for messages."""

    def __init__(self, config: EndpointConfig, option: str) -> None:
        self.option, self.body = option, config.body
        super().__init__(Server.of(config, option))

    async def score(self, prompt: Sequence[int], ids: Sequence[int], top: int) -> TeacherScores:
        """Raises RunError where the server does not give it."""
        places = await self._places([*prompt, *ids], top)
        return read_scores(places[len(prompt) :], ids, top)

    async def check(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        """Raises UserError, in one line, where the server gives no prompt log-probabilities, or has other tokens."""
        ids = probe_ids(tokenizer)
        try:
            places = await self._places(ids, 0)
        except RunError as error:
            raise UserError(f"--{self.option}.url {self.url}: it gives no prompt_logprobs: {error}") from None
        for token, place in list(zip(ids, places, strict=True))[1:]:
            piece, own = place[str(token)].get("decoded_token"), tokenizer.decode([token])
            if piece is not None and piece.strip() != own.strip():
                raise UserError(
                    f"--{self.option}.url {self.url}: its vocabulary is another than the policy's (token {token} is "
                    f"{printable(repr(piece))[:40]} there, {own!r} here): a teacher scores the policy's own token ids, "
                    "so choose one of the same family"
                )

    async def _places(self, ids: Sequence[int], top: int) -> list[dict[str, Any]]:
        """Of each id by token: its own log-probability, and those of the `top` likeliest; of the first nothing."""
        request = {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": top,
            **self.body,
        }
        try:
            return await self.ask("/completions", request, lambda answer: read_places(answer, ids))
        except (Failed, Refused) as error:
            raise RunError(f"{self.option} {self.url}: {error}") from None


def probe_ids(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """Ids to compare two vocabularies by: those with a meaning of their own, and some from all over."""
    size = len(tokenizer)
    spread = {place * size // COMPARED for place in range(COMPARED)}
    return sorted(spread | {token for token in tokenizer.added_tokens_decoder if token < size})


def read_places(answer: Any, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Raises ValueError for an answer without log-probabilities of all of the prompt, or with what is none."""
    try:
        places = [place or {} for place in answer["choices"][0]["prompt_logprobs"]]
        whole = len(places) == len(ids) and all(
            str(token) in place and all(is_entry(*entry) for entry in place.items())
            for token, place in zip(ids[1:], places[1:], strict=True)
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"no log-probabilities of the prompt: {printable(str(answer))[:200]}")
    return places


def is_entry(token: str, entry: Any) -> bool:
    """Whether an entry of a place is a token id with its log-probability, rank and text."""
    logprob, rank, said = entry["logprob"], entry.get("rank", 0), entry.get("decoded_token")
    known = isinstance(logprob, int | float) and isinstance(rank, int | None) and isinstance(said, str | None)
    return token.isdecimal() and len(token) < 10 and known and LEAST < logprob < MOST


def read_scores(places: Sequence[dict[str, Any]], ids: Sequence[int], top: int) -> TeacherScores:
    """Of `ids`, whose places these are. Raises RunError where a place has fewer than `top` others."""
    own = np.array([place[str(token)]["logprob"] for token, place in zip(ids, places, strict=True)], np.float32)
    if not top:
        return TeacherScores(own)
    ranked = [
        sorted(((one.get("rank") or 0, int(token), one["logprob"]) for token, one in place.items()))[:top]
        for place in places
    ]
    if any(len(likeliest) < top for likeliest in ranked):
        raise RunError(f"the teacher's server gives fewer than {top} log-probabilities of a place: lower teacher.top_k")
    laid = np.array(ranked, np.float64).reshape(len(ids), top, 3)
    return TeacherScores(own, laid[:, :, 1].astype(np.int32), laid[:, :, 2].astype(np.float32))
