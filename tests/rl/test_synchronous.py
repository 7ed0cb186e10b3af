"""Dynamic sampling with in-process coroutines for workers: timing never changes the batch."""

import asyncio
import random

import numpy as np
import pytest

from rewards.verdict import Reward
from srm_ray.errors import RunError
from srm_ray.rl.advantages import with_advantages
from srm_ray.rl.sources import Calls, Collected, KeepRate, SourceState, SyncSource
from srm_ray.rl.types import Completion, Group, Prompt

SIGNAL = frozenset({5, 6, 9, 12, 13, 14, 20, 21})  # prompts whose two completions differ in correctness


class Workers:
    """Sample and score after random pauses; remembers what was begun, finished and cancelled."""

    def __init__(self, seed: int, *, uniform: bool | None = False):
        self.random = random.Random(seed)
        self.uniform = uniform
        self.begun: list[int] = []
        self.finished: list[int] = []
        self.cancelled: list[int] = []
        self.failing: int | None = None

    async def sample(self, prompt: Prompt) -> Group:
        self.begun.append(prompt.index)
        try:
            for _ in range(self.random.randrange(20) + 200 * (prompt.index > 15)):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(prompt.index)
            raise
        if prompt.index == self.failing:
            raise RunError("rollout-0 is gone")
        self.finished.append(prompt.index)
        tokens, logprobs, versions = np.array([3], np.int32), np.zeros(1, np.float32), np.zeros(1, np.int32)
        completion = Completion(tokens, logprobs, versions, "stop", prompt.index, "", "rollout-0")
        return Group(prompt, (completion, completion))

    async def grade(self, group: Group) -> Group:
        for _ in range(self.random.randrange(5)):
            await asyncio.sleep(0)
        second = False if group.prompt.index in SIGNAL else self.uniform
        first = True if group.prompt.index in SIGNAL else self.uniform
        rewards = tuple(Reward(float(right is True), right, "correct") for right in (first, second))
        return with_advantages(Group(group.prompt, group.completions, rewards=rewards), normalise_std=True)

    def collect(self, cursor: int, want: int, *, limit: int = 100, keep_rate: KeepRate | None = None) -> Collected:
        source = SyncSource(
            SourceState(cursor),
            Calls(lambda index: Prompt(index, (1, 2), ""), self.sample, self.grade),
            want=want,
            limit=limit,
            keep_rate=keep_rate or KeepRate(),
        )
        collected = asyncio.run(source.take())
        assert source.state().cursor == found_end(collected)
        return collected


def found_end(found: Collected) -> int:
    return found.graded[-1].prompt.index + 1


def indices(groups: tuple[Group, ...]) -> list[int]:
    return [group.prompt.index for group in groups]


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("rate", [0.05, 0.7, 1.0])
def test_batch_depends_on_neither_completion_order_nor_prompts_in_flight(seed, rate):
    found = Workers(seed).collect(4, 4, keep_rate=KeepRate(rate))
    assert indices(found.groups) == [5, 6, 9, 12]
    assert indices(found.graded) == list(range(4, 13))
    assert found_end(found) == 13


def test_next_step_goes_on_where_this_one_ended():
    workers = Workers(0)
    first = workers.collect(4, 3)
    second = workers.collect(found_end(first), 4)
    assert indices(first.groups) + indices(second.groups) == [5, 6, 9, 12, 13, 14, 20]
    assert indices(first.graded) + indices(second.graded) == list(range(4, 21))


@pytest.mark.parametrize("seed", range(5))
def test_what_was_launched_beyond_the_batch_is_cancelled(seed):
    workers = Workers(seed)
    found = workers.collect(4, 4, keep_rate=KeepRate(0.05))
    beyond = [index for index in workers.begun if index >= found_end(found)]
    assert beyond, "with so low a rate, prompts are launched far ahead"
    assert set(beyond) == set(workers.cancelled) | {index for index in workers.finished if index >= found_end(found)}
    assert workers.cancelled


def test_groups_carry_their_advantages():
    found = Workers(0).collect(4, 2)
    for group in found.groups:
        assert group.advantages == pytest.approx([1, -1], rel=1e-5)


@pytest.mark.parametrize("uniform", [True, False, None])
def test_refill_is_capped(uniform):
    workers = Workers(0, uniform=uniform)
    found = workers.collect(0, 3, limit=2)
    assert found.groups == ()
    assert indices(found.graded) == [0, 1]
    assert sorted(workers.begun) == [0, 1], "never more prompts than the limit"


@pytest.mark.parametrize("seed", range(10))
def test_past_the_limit_the_batch_is_what_there_is(seed):
    assert indices(Workers(seed).collect(4, 2, limit=3).groups) == [5, 6], "the last prompt may fill the batch"
    found = Workers(seed).collect(4, 2, limit=2)
    assert (indices(found.groups), indices(found.graded)) == ([5], [4, 5])
    assert indices(Workers(seed).collect(4, 8, limit=7).groups) == [5, 6, 9]


def test_a_failure_ends_the_collection_and_the_prompts_in_flight():
    workers = Workers(3)
    workers.failing = 7
    with pytest.raises(RunError, match="rollout-0 is gone"):
        workers.collect(4, 4, keep_rate=KeepRate(0.05))
    left = set(workers.begun) - set(workers.finished) - set(workers.cancelled) - {7}
    assert not left


def test_keep_rate_follows_what_is_kept_and_launches_enough():
    rate = KeepRate(0.5)
    rate.update(10, 10)
    assert rate.value == pytest.approx(0.6)
    for _ in range(100):
        rate.update(0, 10)
    assert rate.value == 0.05
    assert KeepRate(1.0).to_launch(8) == 8
    assert KeepRate(0.5).to_launch(8) == math_launch(8, 0.5)


def math_launch(want: int, rate: float) -> int:
    """Mean plus one standard deviation of a negative binomial."""
    return int(np.ceil(want / rate + np.sqrt(want * (1 - rate)) / rate))
