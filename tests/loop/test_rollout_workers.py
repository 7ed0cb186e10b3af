"""Rollout workers on their own terms: how many there are does not show, and who leaves does not disturb."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from actors.rollout.engine_spec import engine_args
from actors.rollout.pool import RolloutPool
from actors.rollout.worker import RolloutWorker
from actors.runtime.placement import Places
from actors.runtime.pool import PoolOptions
from srm_ray.errors import RunError
from srm_ray.inference.completers import Sampling
from srm_ray.rl.seeds import completion_seed
from tests.same import same_completions

pytestmark = pytest.mark.integration

PROMPTS = range(300, 312)


def sample(loop, pool, blow=lambda: None):
    """Groups of 8 for some prompts, all at once. blow: called while they are sampled."""

    def seeds(prompt):
        return tuple(completion_seed(loop.config.seed, prompt.index, 0, i) for i in range(8))

    async def all_at_once():
        prompts = [loop.stream[index] for index in PROMPTS]
        sampling = asyncio.gather(
            *(pool.generate(prompt.token_ids, seeds(prompt), loop.workers.sampling) for prompt in prompts)
        )
        await asyncio.sleep(0.05)
        blow()
        return await asyncio.wait_for(sampling, 800)

    return loop.run(all_at_once())


class EitherWorker(RolloutWorker):
    """All but the first run AsyncLLM, as workers with GPUs do: their engine is a process of its own."""

    def start_engine(self):
        if self.name == "rollout-0":
            return super().start_engine()
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(engine_args(self.spec))


@pytest.fixture(scope="module")
def pair(loop):
    """Two workers with half the threads each and weights that were pushed; the run's own worker has them too."""
    loop.version = getattr(loop, "version", 0) + 1
    update = loop.run(loop.workers.learner.publish(loop.version))
    told = []
    pool = RolloutPool(
        PoolOptions(
            Places({"CPU": 0.5}), (2, 2), loop.config.recovery, on_event=lambda event, **known: told.append(event)
        ),
        replace(loop.workers.rollouts.spec, threads=1),
        worker_class=EitherWorker,
    )
    try:
        loop.run(pool.start())
        loop.run(loop.workers.rollouts.push(update))
        loop.run(pool.push(update))
        yield pool, told
    finally:
        loop.run(pool.close())


def expect_same(one, two):
    for index, group, other in zip(PROMPTS, one, two, strict=True):
        same_completions(group, other, ("token_ids", "logprobs", "versions"), f"prompt {index}")


@pytest.mark.timeout(1500)
def test_two_workers_sample_what_one_samples_bit_for_bit(loop, pair):
    """With pushed weights, with half the threads each, and whatever steps the engine."""
    one, two = sample(loop, loop.workers.rollouts), sample(loop, pair[0])
    assert {completion.worker for group in two for completion in group} == {"rollout-0", "rollout-1"}
    expect_same(one, two)


def engine_process(worker):
    """The process that the worker's engine computes in: the one that multiprocessing spawned. It gives itself a
    title, but may find no room for one in its arguments."""
    children = psutil.Process(worker.info.pid).children(recursive=True)
    commands = {child: f"{child.name()} {' '.join(child.cmdline())}" for child in children}
    [engine] = [child for child, command in commands.items() if "EngineCor" in command or "spawn_main" in command]
    return engine


@pytest.mark.timeout(1500)
def test_an_engine_process_that_dies_or_hangs_costs_its_worker_its_place(loop, pair):
    pool, told = pair
    expected = sample(loop, pool)

    async def replaced():
        while len(pool.pool.serving()) < 2:
            await asyncio.sleep(0.1)

    def strike(name, how):
        [worker] = [member for member in pool.pool.serving() if member.name == name]
        victim = engine_process(worker).pid
        expect_same(expected, sample(loop, pool, lambda: os.kill(victim, how)))
        assert not list(Path("/dev/shm").glob(f"sem.*-{victim}-*"))

    strike("rollout-1", signal.SIGKILL)
    loop.run(asyncio.wait_for(replaced(), 600))
    again = sample(loop, pool)
    assert {completion.worker for group in again for completion in group} == {"rollout-0", "rollout-2"}
    expect_same(expected, again)
    strike("rollout-2", signal.SIGSTOP)
    assert told == ["restarted", "joined", "first_group", "restarted"]


def test_who_is_cancelled_frees_the_engine_and_disturbs_nobody(loop):
    alone = loop.run(loop.workers.sample(loop.stream[7]))

    async def leave_midway():
        leaving = [asyncio.ensure_future(loop.workers.sample(loop.stream[400 + i])) for i in range(6)]
        staying = asyncio.ensure_future(loop.workers.sample(loop.stream[7]))
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        return await staying

    stayed = loop.run(leave_midway())
    same_completions(stayed.completions, alone.completions, ["token_ids"])

    async def idle():
        while (await loop.workers.rollouts.ping())[0].info.in_flight:
            await asyncio.sleep(0.05)

    loop.run(asyncio.wait_for(idle(), 120))


def test_a_call_that_is_abandoned_ends_like_any_other(loop):
    """Ray would show one that it cancels as failed."""
    actor = loop.workers.rollouts.pool.serving()[0].actor
    long = Sampling(1.0, 130, ignore_stop=True)

    async def abandon():
        call = actor.generate.remote(loop.stream[9].token_ids[:8], (1, 2), long, (), 12345)
        while not (await actor.ping.remote()).info.in_flight:  # Ray may begin calls in another order
            await asyncio.sleep(0.005)
        await actor.abandon.remote(12345)
        return await call

    assert loop.run(asyncio.wait_for(abandon(), 300)) == []


def test_a_request_that_the_engine_refuses_fails_alone(loop):
    too_long = tuple([5] * 500)  # the context has 160 tokens
    with pytest.raises(RunError, match=f"{loop.worker()} failed while generating"):
        loop.run(loop.workers.rollouts.generate(too_long, (1,), loop.workers.sampling))
    assert len(loop.run(loop.workers.sample(loop.stream[8])).completions) == 8


def test_the_second_push_goes_straight_into_the_layers(loop):
    for _ in range(2):
        loop.version = getattr(loop, "version", 0) + 1
        loop.run(loop.workers.push_weights(loop.version))
    assert loop.run(loop.workers.rollouts._each(30, "answer", "loads_directly")) == [True]
