"""Engines that answer an evaluation: a model's rollout workers, which also give log-likelihoods.

    ChatCompleter.answer(messages) --render--> RolloutPool.generate --> ChatCompletion x n
    LogLikelihoodModel.complete(ids)     ----------> RolloutPool.generate --> ChatCompletion
    LogLikelihoodModel.score(ids, start) ----------> RolloutPool.generate with a `Scoring` request --> LogLikelihood

A worker is the same as in GRPO but for `Scoring` requests, so everything that the pool does for its workers (placement,
naming, recovery) holds here too. Engines start with the first request: an evaluation that is done needs none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from actors.rollout.engine_spec import USUAL_START, episode_block, spec_of
from actors.rollout.pool import RolloutPool, TimeLimits
from actors.rollout.requests import scoring_params
from actors.rollout.worker import EngineSpec, RolloutWorker
from actors.runtime import cluster
from actors.runtime.placement import Need, Reservation, reserve, resources
from actors.runtime.pool import PoolOptions, report_deaths
from srm_ray.config.engine import EngineConfig
from srm_ray.console.progress import phase
from srm_ray.data.rendering import check_messages, render_prompt
from srm_ray.inference.completers import ChatCompletion, ContextOverflow, LogLikelihood, Messages, Sampling
from srm_ray.model.loading import ModelInfo
from srm_ray.rl.types import Completion

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Scoring(Sampling):
    """A request for the log-likelihood of the prompt's tokens from `start` on; nothing is sampled."""

    start: int = 1


@dataclass(frozen=True, slots=True)
class ScoredTokens(Completion):
    """The answer to a `Scoring` request: the prompt's tokens from `start` on, with their log-probabilities.

    greedy: whether each of them is the likeliest in its place.
    """

    greedy: bool = False


class EvaluationWorker(RolloutWorker):
    """A rollout worker that also answers `Scoring` requests, with one `ScoredTokens`."""

    async def generate(
        self,
        prompt_ids: tuple[int, ...],
        seeds: tuple[int, ...],
        sampling: Sampling,
        begun: tuple[Completion, ...] = (),
        ticket: int | None = None,
    ) -> list[Completion]:
        if isinstance(sampling, Scoring):
            return [await self._score(prompt_ids, sampling.start)]
        return await super().generate(prompt_ids, seeds, sampling, begun, ticket)

    async def _score(self, ids: tuple[int, ...], start: int) -> ScoredTokens:
        final = await self._request({"prompt_token_ids": list(ids)}, scoring_params())
        if final.prompt_logprobs is None:
            raise RuntimeError(f"{self.name}: the engine returned no log-probabilities for a prompt")
        entries = [final.prompt_logprobs[place][ids[place]] for place in range(start, len(ids))]
        return ScoredTokens(
            token_ids=np.asarray(ids[start:], np.int32),
            logprobs=np.asarray([one.logprob for one in entries], np.float32),
            versions=np.full(len(entries), self.version, np.int32),
            finish_reason="stop",
            seed=0,
            text="",
            worker=self.name,
            greedy=all(one.rank == 1 for one in entries),
        )


class PoolCompleter:
    """A pool of rollout workers as `ChatCompleter` and `LogLikelihoodModel`. context: prompt + completion, tokens.

    ready: awaited before every request; gives the pool. chat_template: False renders the messages as plain text,
    for base models.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[RolloutPool]],
        tokenizer: "PreTrainedTokenizerFast",
        context: int,
        chat_template: bool = True,
    ) -> None:
        self.ready, self.tokenizer, self.context, self.chat_template = ready, tokenizer, context, chat_template

    async def prepare(self) -> None:
        await self.ready()

    async def answer(self, messages: Messages, seeds: Sequence[int], sampling: Sampling) -> list[ChatCompletion]:
        ids = self.render(messages)
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False)
        return [chat_completion(text, one) for one in await self._generate(ids, tuple(seeds), sampling)]

    async def complete(self, ids: Sequence[int], seed: int, sampling: Sampling) -> ChatCompletion:
        (one,) = await self._generate(tuple(ids), (seed,), sampling)
        return chat_completion("", one)

    async def score(self, ids: Sequence[int], start: int) -> LogLikelihood:
        pool = await self.ready()
        (scored,) = await pool.generate(tuple(ids), (0,), Scoring(0.0, 1, start=start))
        assert isinstance(scored, ScoredTokens), "the pool's workers are EvaluationWorkers"
        return LogLikelihood(float(scored.logprobs.sum(dtype=np.float64)), scored.greedy)

    def render(self, messages: Messages) -> tuple[int, ...]:
        if self.chat_template:
            return tuple(render_prompt(self.tokenizer, messages))
        check_messages(messages)
        return tuple(self.tokenizer.encode("\n\n".join(one["content"] for one in messages) + "\n\n"))

    async def _generate(
        self, ids: tuple[int, ...], seeds: tuple[int, ...], sampling: Sampling
    ) -> tuple[Completion, ...]:
        limit = min(sampling.max_new_tokens, self.context - len(ids))
        if limit < 1:
            raise ContextOverflow
        pool = await self.ready()
        return await pool.generate(ids, seeds, replace(sampling, max_new_tokens=limit))


def chat_completion(prompt: str, one: Completion) -> ChatCompletion:
    ids = tuple(int(token) for token in one.token_ids)
    return ChatCompletion(prompt, one.text, len(ids), one.truncated, one.seed, ids)


class Engines:
    """A model's engines. `async with Engines(...) as completer`: started when first asked, ended whatever happens.

    context: prompt + completion, tokens. episodes: prompts grow turn by turn.
    """

    def __init__(
        self,
        info: ModelInfo,
        options: EngineConfig,
        *,
        context: int,
        workers: int,
        seed: int,
        chat_template: bool = True,
        episodes: bool = False,
    ) -> None:
        self.block_size = episode_block(options) if episodes else 0
        self.info, self.options, self.workers, self.seed, self.context = info, options, workers, seed, context
        self.pool: RolloutPool | None = None
        self.reservation: Reservation
        self.starting = asyncio.Lock()
        self.completer = PoolCompleter(self.ready, info.tokenizer, self.context, chat_template)

    async def ready(self) -> RolloutPool:
        async with self.starting:
            if self.pool is None:
                cluster.connect()
                options = self.options
                need = Need(self.workers, resources(options.cpus, options.gpus))
                self.reservation = reserve({"rollout": need}, lower="workers, engine.cpus or engine.gpus")
                pool = RolloutPool(
                    PoolOptions(self.reservation.places["rollout"], (self.workers, self.workers), events=report_deaths),
                    self.spec(),
                    limits=TimeLimits(options.start_timeout, start_option="engine.start_timeout"),
                    worker_class=EvaluationWorker,
                )
                try:
                    what = f"starting {self.workers} engine(s) for {self.info.path}"
                    with phase(what, remember=True, usual=USUAL_START):
                        await pool.start()
                except BaseException:
                    await pool.close()
                    self.reservation.release()
                    raise
                self.pool = pool
        return self.pool

    def spec(self) -> EngineSpec:
        info = self.info
        return spec_of(
            self.options,
            info.path,
            self.context,
            info.stop_token_ids,
            seed=self.seed,
            workers=self.workers,
            block_size=self.block_size,
        )

    async def __aenter__(self) -> PoolCompleter:
        return self.completer

    async def __aexit__(self, *exception: object) -> None:
        if self.pool is not None:
            await self.pool.close()
            self.reservation.release()
