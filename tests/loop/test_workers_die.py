"""Real workers die, hang, join and leave, and the groups are those of an undisturbed run."""

import asyncio
import contextlib
import os
import re
import signal
from dataclasses import replace

import numpy as np
import psutil
import pytest

from actors.rollout.completions import join, nothing_yet
from srm_ray.errors import LearnerLost
from srm_ray.inference.completers import Sampling
from tests.loop.test_weights_arrive import step, synchronise
from tests.same import same_completions

pytestmark = pytest.mark.integration
# The limit follows the answers seen so far: 10 s where none was slow.
SILENT = r"did not answer for \d+ s.*\(limit \d+ s; recovery\.hung_after raises it\)"
UNREACHABLE = r"(could not|failed in) [\w ]+: The actor \w+ is unavailable: .*"  # Ray's watchdog, where it is sooner


def expect_same(found, expected):
    """Groups of the same prompts have the same completions, bit for bit."""
    for one, other in zip(found, expected, strict=True):
        where = f"prompt {other.prompt.index}"
        same_completions(one.completions, other.completions, ("token_ids", "logprobs"), where)


def the_worker(loop):
    return loop.workers.rollouts.pool.serving()[0]


def expect_gone(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=120)


def undisturbed(loop, indices):
    async def sample():
        return await asyncio.gather(*(loop.workers.sample(loop.stream[i]) for i in indices))

    return loop.run(sample())


def disturbed(loop, indices, blow):
    """Sample, and strike the worker while it does."""
    pool = loop.workers.rollouts.pool
    pool.pace.longest = pool.pace.slowest = 0.0  # however slow the machine has been so far

    async def sample():
        sampling = [asyncio.ensure_future(loop.workers.sample(loop.stream[i])) for i in indices]
        await asyncio.sleep(0.05)
        blow()
        _, waiting = await asyncio.wait(sampling, timeout=800)
        assert not waiting, f"{len(waiting)} groups wait; {pool.pace}, {loop.told}"
        return [each.result() for each in sampling]

    return loop.run(sample())


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_same_groups_at_the_current_weights(loop, how):
    synchronise(loop)
    step(loop, 300, lr=3e-3)
    synchronise(loop)
    indices = range(700, 724)
    expected = undisturbed(loop, indices)
    worker = the_worker(loop)
    victim = worker.info.pid
    loop.told.clear()
    found = disturbed(loop, indices, lambda: os.kill(victim, how))
    expect_same(found, expected)
    assert {version for group in found for c in group.completions for version in c.versions} == {loop.version}
    assert the_worker(loop).name != worker.name
    assert [told["event"] for told in loop.told] == ["restarted", "joined", "first_group"]
    assert loop.told[0]["worker"] == worker.name
    assert "kill" not in loop.told[0]["cause"]
    expect_gone(victim)  # stopped or not


@pytest.mark.timeout(1500)
def test_scaling_up_and_down_loses_nothing(loop):
    """From one worker to two and back while groups are sampled; the one that leaves hands back its own."""
    synchronise(loop)
    indices = range(800, 840)
    expected = undisturbed(loop, indices)
    pool = loop.workers.rollouts.pool

    async def scale_and_sample():
        await loop.workers.scale(rollouts=2)
        while len(pool.serving()) < 2:
            await asyncio.sleep(0.1)
        both = [await ping() for ping in [member.actor.ping.remote for member in pool.serving()]]
        sampling = [asyncio.ensure_future(loop.workers.sample(loop.stream[i])) for i in indices]
        await asyncio.sleep(0.05)
        leaving = pool.serving()[1]
        given = leaving.load
        await loop.workers.scale(rollouts=1)
        groups = await asyncio.gather(*sampling)
        while len(pool.members) > 1:
            await asyncio.sleep(0.05)
        return both, given, groups, leaving

    both, given, groups, leaving = loop.run(scale_and_sample())
    assert [reply.info.version for reply in both] == [loop.version] * 2
    assert given > 0, "the worker that left had work"
    expect_same(groups, expected)
    expect_gone(leaving.info.pid)


@pytest.mark.timeout(900)
def test_a_completion_handed_back_is_continued_with_its_tokens_kept(loop):
    """Asynchronous runs keep what a leaving worker had sampled: tokens, log-probabilities, versions."""
    synchronise(loop)
    actor = the_worker(loop).actor
    prompt = loop.stream[900].token_ids
    whole = Sampling(1.0, 20, ignore_stop=True)

    async def two_parts():
        first = (await actor.generate.remote(prompt, (77,), Sampling(1.0, 8, ignore_stop=True)))[0]
        begun = replace(first, finish_reason="abort")
        return first, (await actor.generate.remote(prompt, (77,), whole, (begun,)))[0]

    first, joined = loop.run(two_parts())
    assert np.array_equal(joined.token_ids[:8], first.token_ids)
    assert np.array_equal(joined.logprobs[:8], first.logprobs)
    assert len(joined.token_ids) == len(joined.logprobs) == len(joined.versions) == 20
    assert joined.finish_reason == "length"
    empty = join(nothing_yet(77, "rollout-9"), first)
    assert np.array_equal(empty.token_ids, first.token_ids)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("how", "why"), [(signal.SIGKILL, "learner-0 "), (signal.SIGSTOP, f"{SILENT}|{UNREACHABLE}")])
def test_a_learner_that_dies_or_hangs_is_started_again(loop, how, why):
    synchronise(loop)
    victim = loop.workers.learner.info[0].pid
    os.kill(victim, how)
    with pytest.raises(LearnerLost, match=why) as lost:
        step(loop, 310)
    loop.run(loop.workers.restart_learner(lost.value))
    synchronise(loop)
    assert step(loop, 320)["policy/mismatch_abs"] < 1e-4
    expect_gone(victim)


@pytest.mark.timeout(900)
def test_who_joins_on_a_node_without_weights_is_given_those_of_now(loop):
    """As a replacement on another node than the learner's, while the learner waits for its completions."""
    synchronise(loop)
    loop.told.clear()
    expected = undisturbed(loop, range(1100, 1104))
    worker = the_worker(loop)
    assert loop.workers.rollouts.current.data is None, "published for the learner's own node alone"
    loop.workers.rollouts.current = replace(loop.workers.rollouts.current, node="elsewhere")
    os.kill(worker.info.pid, signal.SIGKILL)
    found = undisturbed(loop, range(1100, 1104))
    assert loop.workers.rollouts.current.data is not None
    assert the_worker(loop).name != worker.name
    expect_same(found, expected)
    synchronise(loop)


@pytest.mark.timeout(900)
def test_a_push_to_a_worker_that_hangs_costs_it_its_place(loop):
    synchronise(loop)
    worker = the_worker(loop)
    os.kill(worker.info.pid, signal.SIGSTOP)
    update = loop.run(loop.workers.learner.publish(loop.version + 1))
    loop.version += 1
    loop.told.clear()
    loop.run(loop.workers.rollouts.push(update))
    assert [(told["event"], told["worker"]) for told in loop.told[:1]] == [("restarted", worker.name)]
    assert re.fullmatch(rf"{SILENT}|{UNREACHABLE}", loop.told[0]["cause"], re.DOTALL)
    group = loop.run(loop.workers.sample(loop.stream[1000]))
    assert {version for c in group.completions for version in c.versions} == {loop.version}
    expect_gone(worker.info.pid)
