"""Asynchronous groups with in-process coroutines for workers: the bound holds, nothing is lost or repeated."""

import asyncio
import random
from collections import Counter

import numpy as np
import pytest

from rewards.verdict import Reward
from srm_ray.errors import RunError
from srm_ray.rl.advantages import with_advantages
from srm_ray.rl.sources import AsyncSource, Calls, Collected, Flight, KeepRate, SourceState
from srm_ray.rl.types import Completion, Group, Prompt


class Workers:
    """Groups take a random number of turns; the first token is of the version at the start, the last at the end."""

    def __init__(self, seed: int, *, longest: int = 60, dull: float = 0.3, stragglers: int = 0):
        self.random = random.Random(seed)
        self.longest, self.dull, self.stragglers = longest, dull, stragglers
        self.version = 0
        self.begun: Counter[tuple[int, int]] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.failing: int | None = None

    async def sample(self, prompt: Prompt, draw: int) -> Group:
        self.begun[prompt.index, draw] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            versions = [self.version]
            slow = self.stragglers and prompt.index % self.stragglers == 0 and draw == 0
            for _ in range(10_000 if slow else self.random.randrange(self.longest)):
                await asyncio.sleep(0)
            if prompt.index == self.failing:
                raise RunError("rollout-0 is gone")
            versions.append(self.version)
        finally:
            self.in_flight -= 1
        of_tokens = np.array(versions, np.int32)
        completion = Completion(np.zeros(2, np.int32), np.zeros(2, np.float32), of_tokens, "stop", 0, "", "rollout-0")
        return Group(prompt, (completion, completion), draw)

    async def grade(self, group: Group) -> Group:
        await asyncio.sleep(0)
        second = random.Random(group.prompt.index).random() < self.dull
        rewards = (Reward(1.0, True, "correct"), Reward(float(second), second, "made_up"))
        graded = Group(group.prompt, group.completions, group.draw, rewards)
        return with_advantages(graded, normalise_std=True)

    def stream(
        self, state: SourceState, *, version: int = 0, max_staleness: int = 1, want: int = 4, capacity: int = 64
    ) -> AsyncSource:
        self.version = version
        return AsyncSource(
            state,
            Calls(lambda index: Prompt(index, (1, 2), ""), self.sample, self.grade),
            Flight(max_staleness, 2, lambda: capacity),
            version=version,
            want=want,
            limit=200,
            keep_rate=KeepRate(),
        )

    async def steps(self, stream: AsyncSource, count: int, *, learning: int = 30) -> list[tuple[int, Collected]]:
        """(version, batch) of `count` steps; the learner takes `learning` turns."""
        done = []
        for _ in range(count):
            collected = await asyncio.wait_for(stream.take(), 60)
            done.append((stream.version, collected))
            for _ in range(learning):
                await asyncio.sleep(0)
            self.version += 1
            stream.advance(self.version)
        return done


def run(workers: Workers, count: int, *, learning: int = 30, **options) -> list[tuple[int, Collected]]:
    async def main() -> list[tuple[int, Collected]]:
        stream = workers.stream(SourceState(), **options)
        done = await workers.steps(stream, count, learning=learning)
        await stream.close()
        return done

    return asyncio.run(main())


def keys(done: list[tuple[int, Collected]], part: str) -> list[tuple[int, int]]:
    return [(group.prompt.index, group.draw) for _, each in done for group in getattr(each, part)]


@pytest.mark.parametrize("bound", [1, 2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_no_group_is_older_than_the_bound_and_none_comes_twice(bound, seed):
    done = run(Workers(seed, longest=300), 30, max_staleness=bound)
    for version, collected in done:
        assert len(collected.groups) == 4
        assert all(0 <= version - group.oldest_version <= bound for group in collected.groups)
    trained = [index for index, _ in keys(done, "groups")]
    assert len(set(trained)) == len(trained), "a prompt is trained on once, whatever was dropped before"
    logged = keys(done, "graded") + keys(done, "stale")
    assert len(set(logged)) == len(logged), "a group is logged once"


def test_what_is_too_old_is_counted_and_its_prompt_drawn_again():
    workers = Workers(0, longest=400)
    done = run(workers, 40, max_staleness=1, want=8)
    stale = keys(done, "stale")
    assert stale, "with groups this slow some must be too old"
    again = {(index, draw + 1) for index, draw in stale}
    begun_again = [key for key in again if key in workers.begun]
    assert len(begun_again) >= 0.8 * len(again), "all but those dropped in the last steps"


@pytest.mark.parametrize("bound", [1, 2])
def test_rollouts_slower_than_the_bound_never_stall_the_run(bound):
    """Every group takes longer than k steps of the learner."""
    done = run(Workers(1, longest=3000), 6, max_staleness=bound)
    assert [len(collected.groups) for _, collected in done] == [4] * 6


def test_a_straggler_does_not_hold_the_batch():
    done = run(Workers(2, stragglers=7), 20)
    assert len(done) == 20
    assert all(index % 7 or draw for index, draw in keys(done, "groups"))


def test_no_more_is_under_way_than_can_be_trained_on_in_time():
    for bound in (1, 3):
        workers = Workers(3, dull=0.0)
        run(workers, 30, max_staleness=bound, capacity=10_000)
        assert workers.most_in_flight <= 4 * (bound + 1) / 0.7 + 1
    workers = Workers(3, dull=0.0)
    run(workers, 30, max_staleness=3, capacity=8)
    assert workers.most_in_flight <= 5, "nor than the engines have room for: 8 completions, 2 a group, a quarter more"


def test_rollouts_go_on_while_the_learner_works():
    """With a learner as slow as the rollouts a step after the first finds its groups ready."""

    async def main() -> list[int]:
        workers = Workers(4, longest=20, dull=0.0)
        stream = workers.stream(SourceState())
        ready = []
        for _ in range(10):
            await stream.take()
            for _ in range(100):
                await asyncio.sleep(0)
            ready.append(len(stream.ready))
            workers.version += 1
            stream.advance(workers.version)
        await stream.close()
        return ready

    assert min(asyncio.run(main())) >= 4


def test_a_continued_run_neither_loses_nor_repeats_a_group():
    workers = Workers(5, longest=100)

    async def first() -> tuple[list[tuple[int, Collected]], SourceState]:
        stream = workers.stream(SourceState())
        done = await workers.steps(stream, 7)
        saved = stream.state()
        await workers.steps(stream, 2)  # lost when the driver is killed
        await stream.close()
        return done, saved

    async def second(saved: SourceState) -> list[tuple[int, Collected]]:
        stream = workers.stream(saved, version=7)
        done = await workers.steps(stream, 12)
        await stream.close()
        return done

    done, saved = asyncio.run(first())
    assert saved.pending, "some were under way"
    done += asyncio.run(second(saved))
    logged = keys(done, "graded") + keys(done, "stale")
    assert len(set(logged)) == len(logged)
    seen = {index for index, _ in logged}
    assert set(range(saved.cursor)) - seen == set(), "each prompt drawn before the save comes to its turn"


def test_a_failure_of_the_workers_ends_the_wait():
    workers = Workers(6)
    workers.failing = 9
    with pytest.raises(RunError, match="rollout-0 is gone"):
        run(workers, 30)


def test_groups_without_signal_are_capped():
    """Past the limit a step has what is ready, possibly nothing, and the stream goes on."""
    done = run(Workers(7, dull=1.0), 3)
    assert [collected.groups for _, collected in done] == [(), (), ()]
    assert all(200 <= len(collected.graded) < 300 for _, collected in done)
    done = run(Workers(7, longest=1, dull=1.0), 3, learning=5000)
    assert all(200 <= len(collected.graded) < 300 for _, collected in done), "however long the learner takes"
    few = run(Workers(7, dull=0.99), 3)
    assert any(0 < len(collected.groups) < 4 for _, collected in few)
    logged = keys(few, "graded")
    assert len(set(logged)) == len(logged)


def test_a_failure_while_the_learner_works_is_heard_in_the_next_step():
    """When nothing else is in flight that could end the wait."""

    async def main() -> None:
        workers = Workers(6, longest=1)
        stream = workers.stream(SourceState())
        await stream.take()
        workers.failing = stream.cursor
        stream.ready.clear()
        stream._launch()
        for _ in range(50):
            await asyncio.sleep(0)
        assert stream.failure is not None and not stream.in_flight
        stream.ready.clear()
        with pytest.raises(RunError, match="rollout-0 is gone"):
            await asyncio.wait_for(stream.take(), 5)

    asyncio.run(main())
