"""Asynchronous rollouts: groups are sampled all the time, and a step takes those that are ready.

    cursor, pending --launch--> in flight --grade--> ready --take(version)--> batch
               ^                                       |
               +------------- drawn again <------------+ older than max_staleness

A group's staleness is the learner's version less that of the group's oldest token. Two rules keep the
bound k without ever stalling: no more groups are in flight than `k + 1` batches (so that what is launched is
trained on in time), and what is too old all the same is dropped, counted, and its prompt drawn again,
under the weights of now. While the learner waits, versions stand still, so what is launched then is fresh.

A straggler holds nothing up: a step takes the first groups that are ready, whatever their order.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from srm_ray.rl.sources.common import Calls, Collected, Draw, KeepRate, SourceState, by_prompt
from srm_ray.rl.types import Group, Prompt


@dataclass(frozen=True, slots=True)
class Flight:
    """What may be in flight. capacity: completions that the engines decode at once (asked anew each time: workers come
    and go). group_size: completions of a group."""

    max_staleness: int
    group_size: int
    capacity: Callable[[], int]


class AsyncSource:
    """The groups of an asynchronous run. `take` once a step, `advance` after each push, `close` at the end.

    want: groups of a step. limit: groups without signal after which a step takes what is ready.
    """

    def __init__(
        self,
        state: SourceState,
        calls: Calls,
        flight: Flight,
        *,
        version: int,
        want: int,
        limit: int,
        keep_rate: KeepRate,
    ):
        self.want, self.limit = want, limit
        self.calls, self.flight, self.keep_rate = calls, flight, keep_rate
        self.version = version
        self.cursor = state.cursor
        self.pending = deque(Draw(index, draw) for index, draw in state.pending)
        self.ready, self.no_signal = list(state.ready), list(state.no_signal)
        self.stale = list(state.stale)
        self.in_flight: dict[asyncio.Task[Group], Draw] = {}
        self.waiting = False
        self.finished = asyncio.Event()
        self.taken_at = time.perf_counter()
        self.failure: BaseException | None = None

    async def take(self) -> Collected:
        """The next batch: the first `want` groups with signal that are fresh enough, ordered by prompt index.

        Fewer, or none, where `limit` groups without signal have come since the batch before.
        """
        began = time.perf_counter()
        self.waiting = True
        try:
            while True:
                self._drop_stale()
                if len(self.ready) >= self.want or len(self.no_signal) >= self.limit:
                    return self._hand_out(time.perf_counter() - began)
                if self.failure is not None:  # perhaps since before this call: nothing is launched any more
                    raise self.failure
                self._launch()
                self.finished.clear()
                await self.finished.wait()
        finally:
            self.waiting = False
            self._launch()

    def advance(self, version: int) -> None:
        """The workers have loaded `version`. Groups that would be too old when they finish are begun anew."""
        self.version = version
        for task, draw in list(self.in_flight.items()):
            if version - draw.version > self.flight.max_staleness:
                task.cancel()
                del self.in_flight[task]
                self.pending.append(Draw(draw.index, draw.draw + 1))
        self._drop_stale()
        self._launch()

    def state(self) -> SourceState:
        """A copy to save. What is in flight is sampled again after a restart, with the same seeds."""
        pairs = sorted((each.index, each.draw) for each in (*self.in_flight.values(), *self.pending))
        return SourceState(self.cursor, pairs, list(self.ready), list(self.no_signal), list(self.stale))

    def describe(self) -> dict[str, float]:
        return {"queue/groups_ready": len(self.ready), "queue/groups_in_flight": len(self.in_flight)}

    async def close(self) -> None:
        tasks, self.in_flight = list(self.in_flight), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _launchable(self) -> int:
        """Groups that may be launched now: the batches in which they would still be fresh, less what is ahead."""
        if len(self.no_signal) >= self.limit:
            return 0  # the next step has drawn what it may
        batches = self.flight.max_staleness + self.waiting
        ahead = self.keep_rate.value * len(self.in_flight)
        missing = self.want * batches - len(self.ready) - ahead
        fresh = math.ceil(missing / self.keep_rate.value)
        full = max(self.want, math.ceil(1.25 * self.flight.capacity() / self.flight.group_size))
        return min(fresh, full - len(self.in_flight))

    def _launch(self) -> None:
        if self.failure is not None:
            return
        for _ in range(self._launchable()):
            if self.pending:
                index, number = self.pending[0].index, self.pending[0].draw
                self.pending.popleft()
            else:
                index, number = self.cursor, 0
                self.cursor += 1
            task = asyncio.ensure_future(self._one(self.calls.prompt(index), number))
            self.in_flight[task] = Draw(index, number, self.version)
            task.add_done_callback(self._landed)

    async def _one(self, prompt: Prompt, draw: int) -> Group:
        return await self.calls.grade(await self.calls.sample(prompt, draw))

    def _landed(self, task: asyncio.Task[Any]) -> None:
        if self.in_flight.pop(task, None) is None or task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.failure = error
        else:
            group = task.result()
            (self.ready if self.calls.choice(group) else self.no_signal).append(group)
            if not self.waiting:
                self._launch()
        self.finished.set()

    def _drop_stale(self) -> None:
        fresh = []
        for group in self.ready:
            if self.version - group.oldest_version > self.flight.max_staleness:
                self.stale.append(group)
                self.pending.append(Draw(group.prompt.index, group.draw + 1))
            else:
                fresh.append(group)
        self.ready = fresh

    def _hand_out(self, seconds: float) -> Collected:
        chosen, self.ready = self.ready[: self.want], self.ready[self.want :]
        no_signal, self.no_signal = self.no_signal, []
        stale, self.stale = self.stale, []
        self.keep_rate.update(len(chosen), len(chosen) + len(no_signal))
        now = time.perf_counter()
        sampling, self.taken_at = now - self.taken_at, now
        return Collected(
            groups=tuple(sorted(chosen, key=by_prompt)),
            graded=tuple(sorted([*chosen, *no_signal], key=by_prompt)),
            stale=tuple(sorted(stale, key=by_prompt)),
            seconds_rollout=seconds,
            seconds_reward=0.0,
            seconds_sampling=sampling,
        )
