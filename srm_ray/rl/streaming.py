"""Asynchronous rollouts: groups are sampled all the time, and a step takes those that are ready.

    cursor, again --launch--> flying --score--> ready --take(version)--> batch
                     ^                            |
                     +------ drawn again <--------+ older than max_staleness

A group's staleness is the learner's version less that of the group's oldest token. Two rules keep the
bound k without ever stalling: no more groups are under way than `k + 1` batches (so that what is launched is
trained on in time), and what is too old all the same is dropped, counted, and its prompt drawn again,
under the weights of now. While the learner waits, versions stand still, so what is launched then is fresh.

A straggler holds nothing up: a step takes the first groups that are ready, whatever their order.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from srm_ray.errors import RunError
from srm_ray.rl.advantages import has_signal
from srm_ray.rl.collection import Collected, KeepRate, Queue, starved, with_advantages
from srm_ray.rl.types import Group, Prompt

Sample = Callable[[Prompt, int], Awaitable[Group]]
Score = Callable[[Group], Awaitable[Group]]


@dataclass(frozen=True, slots=True)
class Draw:
    """A prompt that is to be sampled, or is being sampled since `version`."""

    index: int
    draw: int
    version: int = 0


class Stream:
    """The groups of an asynchronous run. `take` once a step, `advance` after each push, `close` at the end.

    want: groups of a step. limit: groups a step may draw. capacity: completions that the engines decode at once
    (asked anew each time: workers come and go). group_size: completions of a group.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        version: int,
        want: int,
        limit: int,
        max_staleness: int,
        group_size: int,
        capacity: Callable[[], int],
        prompt: Callable[[int], Prompt],
        sample: Sample,
        score: Score,
        keep_rate: KeepRate,
        normalise_std: bool = True,
    ):
        self.want, self.limit, self.max_staleness = want, limit, max_staleness
        self.group_size, self.capacity = group_size, capacity
        self.prompt, self.sample, self.score = prompt, sample, score
        self.keep_rate, self.normalise_std = keep_rate, normalise_std
        self.version = version
        self.cursor = queue.cursor
        self.again = deque(Draw(index, draw) for index, draw in queue.again)
        self.ready, self.dull = list(queue.ready), list(queue.dull)
        self.stale = list(queue.stale)
        self.flying: dict[asyncio.Task[Group], Draw] = {}
        self.waiting = False
        self.finished = asyncio.Event()
        self.taken_at = time.perf_counter()
        self.failure: BaseException | None = None

    async def take(self) -> Collected:
        """The next batch: the first `want` groups with signal that are fresh enough, ordered by prompt index."""
        began = time.perf_counter()
        self.waiting = True
        try:
            while True:
                self._drop_stale()
                if len(self.ready) >= self.want:
                    return self._hand_out(time.perf_counter() - began)
                if len(self.dull) >= self.limit:
                    raise RunError(starved(len(self.ready), self.want, self.dull))
                self._launch()
                self.finished.clear()
                await self.finished.wait()
                if self.failure is not None:
                    raise self.failure
        finally:
            self.waiting = False
            self._launch()

    def advance(self, version: int) -> None:
        """The workers have loaded `version`. Groups that would be too old when they finish are begun anew."""
        self.version = version
        for task, draw in list(self.flying.items()):
            if version - draw.version > self.max_staleness:
                task.cancel()
                del self.flying[task]
                self.again.append(Draw(draw.index, draw.draw + 1))
        self._drop_stale()
        self._launch()

    def queue(self) -> Queue:
        """A copy to save. What is under way is sampled again after a restart, with the same seeds."""
        again = [*self.flying.values(), *self.again]
        pairs = sorted((each.index, each.draw) for each in again)
        return Queue(self.cursor, pairs, list(self.ready), list(self.dull), list(self.stale))

    def describe(self) -> dict[str, float]:
        return {"queue/groups_ready": len(self.ready), "queue/groups_in_flight": len(self.flying)}

    async def close(self) -> None:
        tasks, self.flying = list(self.flying), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _room(self) -> int:
        """Groups that may be launched now: the batches in which they would still be fresh, less what is ahead."""
        batches = self.max_staleness + self.waiting
        ahead = self.keep_rate.value * len(self.flying)
        missing = self.want * batches - len(self.ready) - ahead
        fresh = math.ceil(missing / self.keep_rate.value)
        full = max(self.want, math.ceil(1.25 * self.capacity() / self.group_size))
        return min(fresh, full - len(self.flying))

    def _launch(self) -> None:
        if self.failure is not None:
            return
        for _ in range(self._room()):
            if self.again:
                index, number = self.again[0].index, self.again[0].draw
                self.again.popleft()
            else:
                index, number = self.cursor, 0
                self.cursor += 1
            task = asyncio.ensure_future(self._one(self.prompt(index), number))
            self.flying[task] = Draw(index, number, self.version)
            task.add_done_callback(self._landed)

    async def _one(self, prompt: Prompt, draw: int) -> Group:
        group = await self.score(await self.sample(prompt, draw))
        return with_advantages(group, normalise_std=self.normalise_std)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        if self.flying.pop(task, None) is None or task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.failure = error
        else:
            group = task.result()
            (self.ready if has_signal(group.rewards) else self.dull).append(group)
            if not self.waiting:
                self._launch()
        self.finished.set()

    def _drop_stale(self) -> None:
        fresh = []
        for group in self.ready:
            if self.version - group.oldest_version > self.max_staleness:
                self.stale.append(group)
                self.again.append(Draw(group.prompt.index, group.draw + 1))
            else:
                fresh.append(group)
        self.ready = fresh

    def _hand_out(self, seconds: float) -> Collected:
        chosen, self.ready = self.ready[: self.want], self.ready[self.want :]
        dull, self.dull = self.dull, []
        stale, self.stale = self.stale, []
        self.keep_rate.update(len(chosen), len(chosen) + len(dull))
        now = time.perf_counter()
        sampling, self.taken_at = now - self.taken_at, now
        return Collected(
            groups=tuple(sorted(chosen, key=_order)),
            judged=tuple(sorted([*chosen, *dull], key=_order)),
            stale=tuple(sorted(stale, key=_order)),
            seconds_rollout=seconds,
            seconds_reward=0.0,
            seconds_sampling=sampling,
        )


def _order(group: Group) -> tuple[int, int]:
    return group.prompt.index, group.draw
