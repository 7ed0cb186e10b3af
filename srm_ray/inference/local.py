"""Models in this process as `ChatCompleter` and `LogLikelihoodModel`, for evaluations that need no workers.

    Engine (transformers, llama.cpp) --LocalModel--> one request after another: answers, log-likelihoods
    transformers model --BatchedModel--> requests that wait together are answered together: answers

Both give way to the event loop after each token, so that Ctrl-C works in the middle of a completion.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from srm_ray.data.rendering import render_prompt
from srm_ray.inference.completers import ChatCompletion, ContextOverflow, LogLikelihood, Messages, Sampling
from srm_ray.inference.engine import Engine
from srm_ray.inference.sampling import sample
from srm_ray.model.loading import open_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

AT_ONCE = 250  # completions of a batch


class LocalModel:
    """One engine. What it is asked at once it does in order."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.context = engine, engine.context
        self._turn = asyncio.Lock()

    async def prepare(self) -> None:
        """The engine is there already."""

    async def answer(self, messages: Messages, seeds: Sequence[int], sampling: Sampling) -> list[ChatCompletion]:
        ids = render_prompt(self.engine.tokenizer, messages)
        return [await self.complete(ids, seed, sampling) for seed in seeds]

    async def complete(self, ids: Sequence[int], seed: int, sampling: Sampling) -> ChatCompletion:
        limit = min(sampling.max_new_tokens, self.context - len(ids))
        if limit < 1:
            raise ContextOverflow
        made: list[int] = []
        async with self._turn:
            for token in self.engine.stream(ids, sampling, seed):
                made.append(token)
                await asyncio.sleep(0)
        return completion(self.engine.tokenizer, ids, made, limit, seed)

    async def score(self, ids: Sequence[int], start: int) -> LogLikelihood:
        async with self._turn:
            logits_TV = np.asarray(self.engine.logits(ids)[start - 1 : -1], np.float64)
        await asyncio.sleep(0)
        wanted_T, places_T = np.asarray(ids[start:]), np.arange(len(ids) - start)
        top_T1 = logits_TV.max(-1, keepdims=True)
        norm_T = np.log(np.exp(logits_TV - top_T1).sum(-1)) + top_T1[:, 0]
        logprobs_T = logits_TV[places_T, wanted_T] - norm_T
        return LogLikelihood(float(logprobs_T.sum()), bool((logits_TV.argmax(-1) == wanted_T).all()))


@dataclass(frozen=True, eq=False)
class Waiting:
    """A request of `BatchedModel` that no batch has taken yet."""

    ids: list[int]
    seed: int
    sampling: Sampling
    made: "asyncio.Future[list[int]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class BatchedModel:
    """A Hugging Face folder in FP32. Greedy requests that wait together are answered together, `AT_ONCE` at most; with
    a temperature each is a batch of its own, so that its tokens do not depend on the others."""

    def __init__(self, folder: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.info = open_model(folder)
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            self.info.path, dtype=torch.float32, trust_remote_code=False
        ).eval()
        self._waiting: list[Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """The model is loaded already."""

    async def answer(self, messages: Messages, seeds: Sequence[int], sampling: Sampling) -> list[ChatCompletion]:
        ids = render_prompt(self.info.tokenizer, messages)
        limit = min(sampling.max_new_tokens, self.info.context - len(ids))
        if limit < 1:
            raise ContextOverflow
        requests = [Waiting(ids, seed, sampling) for seed in seeds]
        self._waiting += requests
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        made = await asyncio.gather(*(request.made for request in requests))
        return [
            completion(self.info.tokenizer, ids, each[:limit], limit, seed)
            for each, seed in zip(made, seeds, strict=True)
        ]

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                prompts, stops = [request.ids for request in batch], self.info.stop_token_ids
                made = await sample(self.model, prompts, batch[0].sampling, stop_ids=stops, seed=batch[0].seed)
            except Exception as error:
                for request in batch:
                    request.made.set_exception(error)
                continue
            for request, ids in zip(batch, made, strict=True):
                request.made.set_result(ids)

    def _next(self) -> list[Waiting]:
        first = self._waiting[0]
        alike = [one for one in self._waiting if one.sampling == first.sampling]
        batch = [first] if first.sampling.temperature else alike[:AT_ONCE]
        self._waiting = [one for one in self._waiting if one not in batch]
        return batch


def completion(
    tokenizer: "PreTrainedTokenizerFast", prompt_ids: Sequence[int], ids: Sequence[int], limit: int, seed: int
) -> ChatCompletion:
    """ids: without the stop token. What reaches the limit has not ended by itself."""
    prompt = tokenizer.decode(list(prompt_ids), skip_special_tokens=False)
    text = tokenizer.decode(list(ids), skip_special_tokens=False)
    return ChatCompletion(prompt, text, len(ids), len(ids) >= limit, seed, tuple(ids))
