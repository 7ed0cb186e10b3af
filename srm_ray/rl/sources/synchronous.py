"""Dynamic sampling: draw prompts until a step has the groups it wants.

Prompts are drawn in the order of the stream and graded in that order, whichever finishes first: the
batch is the first `want` groups with signal by prompt index. What was launched beyond the last of them
is cancelled and drawn again in the next step, with the same seeds. So the batch depends on the seed and
the weights alone, not on timing, nor on how many prompts were in flight.
"""

import asyncio
import time
from collections import deque

from srm_ray.rl.sources.common import Calls, Collected, KeepRate, SourceState
from srm_ray.rl.types import Group


class SyncSource:
    """The groups of a deterministic run: each step samples under its own weights, from the cursor on.

    want: groups of a step. limit: groups that a step may draw; what it has by then is its batch.
    """

    def __init__(
        self,
        state: SourceState,
        calls: Calls,
        *,
        want: int,
        limit: int,
        keep_rate: KeepRate,
    ):
        self.cursor, self.calls, self.keep_rate = state.cursor, calls, keep_rate
        self.want, self.limit = want, limit

    async def take(self) -> Collected:
        """The next step's groups."""
        began = time.perf_counter()
        sampled_at = began

        async def one(index: int) -> Group:
            nonlocal sampled_at
            group = await self.calls.sample(self.calls.prompt(index))
            sampled_at = time.perf_counter()
            return await self.calls.grade(group)

        in_flight: deque[asyncio.Task[Group]] = deque()
        graded: list[Group] = []
        kept: list[Group] = []
        try:
            while len(kept) < self.want and len(graded) < self.limit:
                ahead = min(self.keep_rate.to_launch(self.want - len(kept)), self.limit - len(graded))
                while len(in_flight) < ahead:
                    in_flight.append(asyncio.create_task(one(self.cursor + len(graded) + len(in_flight))))
                group = await in_flight.popleft()
                graded.append(group)
                if self.calls.choice(group):
                    kept.append(group)
            done = time.perf_counter()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)
        self.keep_rate.update(len(kept), len(graded))
        self.cursor += len(graded)
        sampled_at = min(sampled_at, done)
        return Collected(tuple(kept), tuple(graded), sampled_at - began, done - sampled_at, sampled_at - began)

    def advance(self, version: int) -> None:
        """Nothing is in flight between two steps."""

    def state(self) -> SourceState:
        return SourceState(self.cursor)

    def describe(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        """Nothing is in flight between two steps."""
