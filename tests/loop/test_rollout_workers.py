"""Rollout workers on their own terms: how many there are does not show, and who leaves does not disturb."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from actors.rollout import RolloutWorker, engine_args
from actors.rollout_pool import RolloutPool
from srm_ray.errors import RunError
from srm_ray.rl.seeds import completion_seed

PROMPTS = range(300, 312)


def sample(loop, pool):
    """Groups of 8 for some prompts, all at once."""

    def seeds(prompt):
        return tuple(completion_seed(loop.config.seed, prompt.index, 0, i) for i in range(8))

    async def all_at_once():
        prompts = [loop.stream[index] for index in PROMPTS]
        return await asyncio.gather(
            *(pool.generate(prompt.token_ids, seeds(prompt), loop.crew.sampling) for prompt in prompts)
        )

    return loop.run(all_at_once())


class EitherWorker(RolloutWorker):
    """The second of two runs AsyncLLM, as workers with GPUs do."""

    def start_engine(self):
        if self.name == "rollout-0":
            return super().start_engine()
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(engine_args(self.spec))


@pytest.mark.timeout(600)
def test_two_workers_sample_what_one_samples_bit_for_bit(loop):
    """With pushed weights, with half the threads each, and whatever steps the engine."""
    loop.version = getattr(loop, "version", 0) + 1
    update = loop.run(loop.crew.learner.publish(loop.version))
    spec = replace(loop.crew.rollouts.spec, threads=1)
    pool = RolloutPool((2, 2), spec, cpus=0.5, worker_class=EitherWorker)
    try:
        loop.run(pool.start())
        loop.run(loop.crew.rollouts.push(update, timeout=60))
        loop.run(pool.push(update, timeout=60))
        one, two = sample(loop, loop.crew.rollouts), sample(loop, pool)
    finally:
        loop.run(pool.close())
    assert {completion.worker for group in two for completion in group} == {"rollout-0", "rollout-1"}
    for group, other in zip(one, two, strict=True):
        for a, b in zip(group, other, strict=True):
            assert np.array_equal(a.token_ids, b.token_ids)
            assert np.array_equal(a.logprobs, b.logprobs)
            assert np.array_equal(a.versions, b.versions)


def test_who_is_cancelled_frees_the_engine_and_disturbs_nobody(loop):
    alone = loop.run(loop.crew.sample(loop.stream[7]))

    async def leave_midway():
        leaving = [asyncio.ensure_future(loop.crew.sample(loop.stream[400 + i])) for i in range(6)]
        staying = asyncio.ensure_future(loop.crew.sample(loop.stream[7]))
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        return await staying

    stayed = loop.run(leave_midway())
    for a, b in zip(alone.completions, stayed.completions, strict=True):
        assert np.array_equal(a.token_ids, b.token_ids)

    async def idle():
        while (await loop.crew.rollouts.ping())[0]["in_flight"]:
            await asyncio.sleep(0.05)

    loop.run(asyncio.wait_for(idle(), 30))


def test_a_call_that_is_abandoned_ends_like_any_other(loop):
    """Ray would show one that it cancels as failed."""
    actor = loop.crew.rollouts.pool.serving()[0].actor

    async def abandon():
        call = actor.generate.remote(loop.stream[9].token_ids, (1, 2), loop.crew.sampling, (), 12345)
        await actor.abandon.remote(12345)
        return await call

    assert loop.run(asyncio.wait_for(abandon(), 60)) == []


def test_a_request_that_the_engine_refuses_fails_alone(loop):
    too_long = tuple([5] * 500)  # the context has 160 tokens
    with pytest.raises(RunError, match="rollout-0 failed while generating"):
        loop.run(loop.crew.rollouts.generate(too_long, (1,), loop.crew.sampling))
    assert len(loop.run(loop.crew.sample(loop.stream[8])).completions) == 8


def test_the_second_push_goes_straight_into_the_layers(loop):
    for _ in range(2):
        loop.version = getattr(loop, "version", 0) + 1
        loop.run(loop.crew.push_weights(loop.version))
    assert loop.run(loop.crew.rollouts._each(30, "answer", "loads_in_place")) == [True]
