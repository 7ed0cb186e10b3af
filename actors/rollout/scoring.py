"""Engines that answer an evaluation: a model's rollout workers, which also give log-likelihoods.

    ChatCompleter.answer(messages) --render--> RolloutPool.generate --> ChatCompletion x n
    LogLikelihoodModel.complete(ids)     ----------> RolloutPool.generate --> ChatCompletion
    LogLikelihoodModel.score(ids, start) ----------> RolloutPool.generate with a `Scoring` request --> LogLikelihood

A worker is the same as in GRPO but for requests that score, so everything that the pool does for its workers
(placement, naming, recovery) holds here too. So it does for the reward workers beside the engines, which grade what
those answer. All of them start with the first request: an evaluation that is done needs none.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from actors.reward.grading import Grading, LazyGrader
from actors.reward.pool import RewardPool
from actors.rollout.completions import nothing_yet
from actors.rollout.engine_spec import USUAL_START, EngineSpec, episode_block, spec_of
from actors.rollout.pool import RolloutPool, TimeLimits
from actors.rollout.requests import scoring_params
from actors.rollout.worker import RolloutWorker
from actors.runtime import cluster
from actors.runtime.placement import Need, Reservation, reserve, resources
from actors.runtime.pool import PoolOptions, report_deaths
from srm_ray.config.engine import EngineConfig
from srm_ray.console.progress import phase
from srm_ray.data.rendering import check_messages, render_prompt
from srm_ray.inference.completers import ChatCompletion, ContextOverflow, LogLikelihood, Messages, Sampling
from srm_ray.model.loading import ModelInfo
from srm_ray.rl.types import Completion, TeacherScores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast
    from vllm.logprobs import FlatLogprobs


@dataclass(frozen=True, slots=True)
class Scoring(Sampling):
    """A request for the log-likelihood of the prompt's tokens from `start` on; nothing is sampled."""

    start: int = 1


@dataclass(frozen=True, slots=True)
class Teaching(Sampling):
    """A request for what the model makes of continuations of the prompt, one for each seed; nothing is sampled.

    top: the likeliest tokens in each place that are asked for, too. The answers are completions with `teacher`.
    """

    continuations: tuple[tuple[int, ...], ...] = ()
    top: int = 0


@dataclass(frozen=True, slots=True)
class ScoredTokens(Completion):
    """The answer to a `Scoring` request: the prompt's tokens from `start` on, with their log-probabilities.

    greedy: whether each of them is the likeliest in its place.
    """

    greedy: bool = False


class ScoringWorker(RolloutWorker):
    """A rollout worker that also answers `Scoring` requests, with one `ScoredTokens`, and `Teaching` requests."""

    def _work(
        self, prompt_ids: tuple[int, ...], seeds: tuple[int, ...], sampling: Sampling, begun: tuple[Completion, ...]
    ) -> list[Coroutine[Any, Any, Completion]]:
        if isinstance(sampling, Scoring):
            return [self._score(prompt_ids, sampling.start)]
        if isinstance(sampling, Teaching):
            return [self._teach(prompt_ids, continuation, sampling.top) for continuation in sampling.continuations]
        return super()._work(prompt_ids, seeds, sampling, begun)

    async def _score(self, ids: tuple[int, ...], start: int) -> Completion:
        found = await self._prompt_logprobs(ids, 0)
        if found is None:
            return nothing_yet(0, self.name)
        first = found.start_indices[start]
        return ScoredTokens(
            **self._scored(ids[start:]),
            logprobs=np.asarray(found.logprobs[first:], np.float32),
            greedy=all(rank == 1 for rank in found.ranks[first:]),
        )

    async def _teach(self, prompt: tuple[int, ...], ids: tuple[int, ...], top: int) -> Completion:
        if not ids:
            return Completion(**self._scored(ids), logprobs=np.zeros(0, np.float32), teacher=scores_of([], [], top))
        found = await self._prompt_logprobs((*prompt, *ids), top)
        if found is None:
            return nothing_yet(0, self.name)
        first = found.start_indices[len(prompt)]
        scores = scores_of(found.token_ids[first:], found.logprobs[first:], top)
        return Completion(**self._scored(ids), logprobs=scores.logprobs, teacher=scores)

    async def _prompt_logprobs(self, ids: tuple[int, ...], top: int) -> "FlatLogprobs | None":
        """None where the worker is leaving, and the request has been aborted."""
        if self.leaving:
            return None
        prompt = {"prompt_token_ids": list(ids), "cache_salt": str(self.version)}
        found = (await self._request(prompt, scoring_params(top))).prompt_logprobs
        if found is None or len(found) < len(ids):
            if self.leaving:
                return None
            raise RuntimeError(f"{self.name}: the engine returned no log-probabilities for a prompt")
        return cast("FlatLogprobs", found)

    def _scored(self, ids: tuple[int, ...]) -> dict[str, Any]:
        """The fields of a completion whose tokens were given."""
        return {
            "token_ids": np.asarray(ids, np.int32),
            "versions": np.full(len(ids), self.version, np.int32),
            "finish_reason": "stop",
            "seed": 0,
            "text": "",
            "worker": self.name,
        }


def scores_of(ids: Sequence[int], logprobs: Sequence[float], top: int) -> TeacherScores:
    """From vLLM's order, in which each place has its own token first, then the `top` likeliest."""
    laid = np.asarray(logprobs, np.float32).reshape(-1, 1 + top)
    if not top:
        return TeacherScores(laid[:, 0])
    return TeacherScores(laid[:, 0], np.asarray(ids, np.int32).reshape(-1, 1 + top)[:, 1:], laid[:, 1:])


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
        assert isinstance(scored, ScoredTokens), "the pool's workers are ScoringWorkers"
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


@dataclass(frozen=True, slots=True)
class Prompting:
    """What engines are asked. context: prompt + completion, tokens. chat_template: as of `PoolCompleter`. episodes:
    prompts grow turn by turn."""

    context: int
    chat_template: bool = True
    episodes: bool = False


class Engines:
    """A model's engines. `async with Engines(...) as completer`: started when first asked, ended whatever happens.

    grading: of the reward workers beside them, which start and end with them; None: there are none.
    """

    def __init__(
        self,
        info: ModelInfo,
        options: EngineConfig,
        prompting: Prompting,
        *,
        workers: int,
        seed: int,
        grading: Grading | None = None,
    ) -> None:
        self.info, self.options, self.prompting = info, options, prompting
        self.workers, self.seed, self.grading = workers, seed, grading
        self.pool: RolloutPool | None = None
        self.rewards: RewardPool | None = None
        self.reservation: Reservation
        self.starting = asyncio.Lock()
        self.completer = PoolCompleter(self.ready, info.tokenizer, prompting.context, prompting.chat_template)
        self.grader = LazyGrader(self.rewards_ready)

    async def ready(self) -> RolloutPool:
        async with self.starting:
            if self.pool is None:
                self.pool = await self._start()
        return self.pool

    async def rewards_ready(self) -> RewardPool:
        await self.ready()
        assert self.rewards is not None, "these engines were made without reward workers"
        return self.rewards

    async def _start(self) -> RolloutPool:
        cluster.connect()
        options, grading = self.options, self.grading
        needs = {"rollout": Need(self.workers, resources(options.cpus, options.gpus))}
        lower = "workers, engine.cpus or engine.gpus"
        if grading is not None:
            needs["reward"] = grading.need
            lower = f"{lower}, grading.workers or grading.cpus" if grading.need.each else lower
        self.reservation = reserve(needs, lower=lower)
        places = self.reservation.places
        pool = RolloutPool(
            PoolOptions(places["rollout"], (self.workers, self.workers), on_event=report_deaths),
            self.spec(),
            limits=TimeLimits(options.start_timeout, start_option="engine.start_timeout"),
            worker_class=ScoringWorker,
        )
        starting: list[Awaitable[object]] = [pool.start()]
        if grading is not None:
            self.rewards = grading.pool(places["reward"])
            starting.append(grading.start(self.rewards))
        try:
            what = f"starting {self.workers} engine(s) for {self.info.path}"
            with phase(what, remember=True, usual=USUAL_START):
                await asyncio.gather(*starting)
        except BaseException:
            await self._close(pool)
            raise
        return pool

    async def _close(self, pool: RolloutPool) -> None:
        await asyncio.gather(pool.close(), *([self.rewards.close()] if self.rewards else []))
        self.reservation.release()

    def spec(self) -> EngineSpec:
        info = self.info
        return spec_of(
            self.options,
            info.path,
            self.prompting.context,
            info.stop_token_ids,
            seed=self.seed,
            workers=self.workers,
            block_size=episode_block(self.options) if self.prompting.episodes else 0,
        )

    async def __aenter__(self) -> PoolCompleter:
        return self.completer

    async def __aexit__(self, *exception: object) -> None:
        if self.pool is not None:
            await self._close(self.pool)
