"""Engines that answer an evaluation: a model's rollout workers, which also tell log-likelihoods.

    Speaker.answer(messages) --render--> RolloutPool.generate --> Said x n
    Reader.complete(ids)     ----------> RolloutPool.generate --> Said
    Reader.score(ids, start) ----------> RolloutPool.generate with a `Scoring` request --> Scored

A worker is the same as in GRPO but for `Scoring` requests, so everything that the pool does for its workers (placement,
naming, recovery) holds here too.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from actors.rollout import EngineSpec, RolloutWorker, Sampling
from actors.rollout_pool import RolloutPool
from srm_ray.data.rendering import check_messages, render_prompt
from srm_ray.evaluation.speaker import Decoding, Messages, NoRoom, Said, Scored
from srm_ray.model.loading import ModelFacts
from srm_ray.rl.types import Completion


@dataclass(frozen=True, slots=True)
class Scoring(Sampling):
    """A request for the log-likelihood of the prompt's tokens from `start` on; nothing is sampled."""

    start: int = 1


class EvaluationWorker(RolloutWorker):
    """A rollout worker that also answers `Scoring` requests, with one `Scored` in place of the completions."""

    async def generate(self, prompt_ids: tuple[int, ...], seeds: tuple[int, ...], sampling: Sampling) -> list[Any]:
        if isinstance(sampling, Scoring):
            return [await self._score(prompt_ids, sampling.start)]
        return await super().generate(prompt_ids, seeds, sampling)

    async def _score(self, ids: tuple[int, ...], start: int) -> Scored:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        request_id = f"{self.name}-{next(self._request_numbers)}"
        final = None
        async for output in self.engine.generate({"prompt_token_ids": list(ids)}, params, request_id=request_id):
            final = output
        if final is None or final.prompt_logprobs is None:
            raise RuntimeError(f"{self.name}: the engine returned no log-probabilities for request {request_id}")
        entries = [final.prompt_logprobs[place][ids[place]] for place in range(start, len(ids))]
        return Scored(
            float(np.sum([one.logprob for one in entries], dtype=np.float64)), all(one.rank == 1 for one in entries)
        )


@dataclass(frozen=True, slots=True)
class PoolSpeaker:
    """A pool of rollout workers as `Speaker` and `Reader`. context: prompt + completion, tokens.

    chat_template: False renders the messages as plain text, for base models.
    """

    pool: RolloutPool
    tokenizer: Any
    context: int
    chat_template: bool = True

    async def answer(self, messages: Messages, seeds: Sequence[int], decoding: Decoding) -> list[Said]:
        ids = self.render(messages)
        text = self.tokenizer.decode(list(ids), skip_special_tokens=False)
        return [said(text, one) for one in await self._generate(ids, tuple(seeds), decoding)]

    async def complete(self, ids: Sequence[int], seed: int, decoding: Decoding) -> Said:
        (one,) = await self._generate(tuple(ids), (seed,), decoding)
        return said("", one)

    async def score(self, ids: Sequence[int], start: int) -> Scored:
        (scored,) = await self.pool.generate(tuple(ids), (0,), Scoring(0.0, 1, start=start))
        return cast(Scored, scored)

    def render(self, messages: Messages) -> tuple[int, ...]:
        if self.chat_template:
            return tuple(render_prompt(self.tokenizer, messages))
        check_messages(messages)
        return tuple(self.tokenizer.encode("\n\n".join(one["content"] for one in messages) + "\n\n"))

    async def _generate(
        self, ids: tuple[int, ...], seeds: tuple[int, ...], decoding: Decoding
    ) -> tuple[Completion, ...]:
        room = min(decoding.max_new_tokens, self.context - len(ids))
        if room < 1:
            raise NoRoom
        return await self.pool.generate(ids, seeds, Sampling(decoding.temperature, room, decoding.top_p))


def said(prompt: str, one: Completion) -> Said:
    ids = tuple(int(token) for token in one.token_ids)
    return Said(prompt, one.text, len(ids), one.truncated, one.seed, ids)


class Engines:
    """A model's engines. `async with Engines(...) as speaker` starts them and ends them whatever happens."""

    def __init__(self, facts: ModelFacts, options: Any, *, workers: int, seed: int, chat_template: bool) -> None:
        from actors import placement

        self.options = options
        context = options.max_model_len or facts.context
        cores = max(1, len(os.sched_getaffinity(0)) // workers)
        bundle = {"CPU": options.cpus, **({"GPU": options.gpus} if options.gpus else {})}
        placement.require([bundle] * workers)
        spec = EngineSpec(
            model=facts.path,
            stop_token_ids=facts.stop_token_ids,
            max_model_len=context,
            max_num_seqs=options.max_num_seqs,
            dtype=options.dtype,
            seed=seed,
            threads=options.threads or cores,
            kv_cache_gb=options.kv_cache_gb,
            gpus=options.gpus,
            memory_fraction=options.memory_fraction,
            tensor_parallel=options.tensor_parallel,
            eager=options.eager,
        )
        self.pool = RolloutPool(workers, spec, cpus=options.cpus, worker_class=EvaluationWorker)
        self.speaker = PoolSpeaker(self.pool, facts.tokenizer, context, chat_template)

    async def __aenter__(self) -> PoolSpeaker:
        try:
            await self.pool.start(self.options.start_timeout)
        except BaseException:
            await self.pool.close()
            raise
        return self.speaker

    async def __aexit__(self, *exception: object) -> None:
        await self.pool.close()
