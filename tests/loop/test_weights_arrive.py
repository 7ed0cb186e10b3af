"""After a push the engine's log-probabilities are the learner's, and anything else stops the run."""

import asyncio
import os
from dataclasses import replace

import numpy as np
import pytest

from rewards.verdict import Reward
from srm_ray.errors import RunError
from srm_ray.rl.advantages import with_advantages
from srm_ray.rl.types import TrainBatch
from tests.same import same_completions

pytestmark = pytest.mark.integration


async def scored_batch(loop, first, count=4):
    """Groups from the current weights, with made-up grades (a random model is never right)."""
    groups = await asyncio.gather(*(loop.workers.sample(loop.stream[first + i]) for i in range(count)))
    rewards = tuple(Reward(float(i % 2), i % 2 == 1, "made_up") for i in range(loop.config.rollout.group_size))
    return TrainBatch(tuple(with_advantages(replace(g, rewards=rewards), normalise_std=True) for g in groups), 0)


def step(loop, first, lr=1e-3):
    return loop.run(loop.workers.learner.step(loop.run(scored_batch(loop, first)), lr)).metrics


def synchronise(loop):
    """Bring engine and learner together, whatever an earlier test did."""
    loop.version = getattr(loop, "version", 0) + 1
    return loop.run(loop.workers.push_weights(loop.version))


def test_log_probabilities_agree_after_every_push(loop):
    synchronise(loop)
    for number in range(3):
        metrics = step(loop, 10 * number, lr=3e-3)
        assert metrics["policy/mismatch_abs"] < 1e-4
        assert metrics["policy/mismatch_max"] < 1e-2
        synchronise(loop)


def test_the_update_changed_what_the_engine_says(loop):
    """The agreement above is not that of weights which never move."""
    synchronise(loop)
    before = loop.run(loop.workers.sample(loop.stream[500]))
    step(loop, 40, lr=3e-3)
    synchronise(loop)
    after = loop.run(loop.workers.sample(loop.stream[500]))
    assert any(
        not np.array_equal(a.token_ids, b.token_ids) for a, b in zip(before.completions, after.completions, strict=True)
    )


def test_a_dropped_push_stops_the_run_and_names_the_worker(loop):
    synchronise(loop)
    step(loop, 60, lr=3e-3)  # the learner moves on, the engine is not told
    before = loop.run(loop.workers.learner.publish(900))
    with pytest.raises(RunError, match=f"{loop.worker()} samples from other weights"):
        step(loop, 70)
    after = loop.run(loop.workers.learner.publish(902))
    assert before.digest == after.digest, "a refused batch must not change the weights"


def test_a_corrupt_buffer_stops_the_push_and_names_the_worker(loop):
    update = loop.run(loop.workers.learner.publish(904))
    spec = update.specs[3]
    with open(update.path, "r+b") as buffer:
        buffer.seek(spec.offset)
        byte = buffer.read(1)
        buffer.seek(spec.offset)
        buffer.write(bytes([byte[0] ^ 0x40]))
    with pytest.raises(RunError, match=rf"{loop.worker()} could not load weights of version 904.*corrupt"):
        loop.run(loop.workers.rollouts.push(update))
    synchronise(loop)
    assert step(loop, 80)["policy/mismatch_abs"] < 1e-4  # a good push afterwards heals the worker
    synchronise(loop)


def test_completions_carry_versions_and_seeds(loop):
    synchronise(loop)
    group = loop.run(loop.workers.sample(loop.stream[3]))
    assert len(group.completions) == 8
    assert len({completion.seed for completion in group.completions}) == 8
    for completion in group.completions:
        assert len(completion.token_ids) == len(completion.logprobs) == len(completion.versions)
        assert set(completion.versions.tolist()) == {loop.version}
        assert (completion.logprobs <= 0).all()
        assert completion.worker == loop.worker()


def test_same_seeds_same_tokens_whatever_else_is_in_flight(loop):
    synchronise(loop)
    alone = loop.run(loop.workers.sample(loop.stream[7]))

    async def crowded():
        crowd = [loop.workers.sample(loop.stream[100 + i]) for i in range(20)]
        return (await asyncio.gather(*crowd[:10], loop.workers.sample(loop.stream[7]), *crowd[10:]))[10]

    busy = loop.run(crowded())
    same_completions(busy.completions, alone.completions, ["token_ids", "logprobs"])


def test_a_push_in_mid_generation_marks_each_token_with_its_version(loop):
    """Requests in flight wait for the new weights and go on; versions change within a completion."""
    synchronise(loop)
    old = loop.version

    async def push_while_sampling():
        sampling = [asyncio.ensure_future(loop.workers.sample(loop.stream[200 + i])) for i in range(8)]
        await asyncio.sleep(0.05)
        loop.version += 1
        await loop.workers.push_weights(loop.version)
        return await asyncio.gather(*sampling)

    groups = loop.run(push_while_sampling())
    seen = {version for group in groups for c in group.completions for version in c.versions.tolist()}
    assert seen <= {old, old + 1}
    for group in groups:
        for completion in group.completions:
            assert (np.diff(completion.versions) >= 0).all()


def test_worker_says_role_index_version_and_state(loop):
    synchronise(loop)
    info = loop.run(loop.workers.rollouts.ping())[0].info
    assert (info.worker, info.version, info.state) == (loop.worker(), loop.version, "ready")


def test_published_weights_leave_no_file(loop):
    update = loop.run(loop.workers.learner.publish(908))
    assert update.path.startswith("/proc/")
    assert not [name for name in os.listdir("/dev/shm") if "srm_ray" in name]


def test_new_weights_compute_a_prompt_anew_though_old_requests_still_hold_it(loop):
    """The prefix cache must not serve keys of older weights: requests in flight keep it from being emptied."""
    synchronise(loop)

    async def push_while_sampling():
        holding = asyncio.ensure_future(loop.workers.sample(loop.stream[600]))
        await asyncio.sleep(0.03)
        loop.version += 1
        await loop.workers.push_weights(loop.version)
        fresh = await loop.workers.sample(loop.stream[600], draw=1)
        await holding
        return fresh

    step(loop, 90, lr=3e-3)
    fresh = loop.run(push_while_sampling())
    alone = loop.run(loop.workers.sample(loop.stream[600], draw=1))
    same_completions(fresh.completions, alone.completions, ["logprobs"])
