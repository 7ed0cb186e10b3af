"""Where one kind of grading waits for its processes: a bound on what is in flight, equal work done once."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class GradingQueue:
    """One kind of grading: threads that wait for its processes, and a bound on what is in flight."""

    def __init__(self, name: str, threads: int, in_flight: int) -> None:
        self.name, self.in_flight = name, in_flight
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=f"grade-{name}")
        self.loop: asyncio.AbstractEventLoop | None = None
        self.slots: asyncio.Semaphore
        self.running: dict[Hashable, asyncio.Future[Any]] = {}
        self.depth = 0

    async def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """`work()` in a thread; calls with an equal `key` that overlap share one result (None: never)."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.slots, self.running = loop, asyncio.Semaphore(self.in_flight), {}
        if key is not None and key in self.running:
            return await asyncio.shield(self.running[key])
        future: asyncio.Future[T] = asyncio.ensure_future(self._run(work))
        if key is not None:
            self.running[key] = future
            future.add_done_callback(lambda _: self.running.pop(key, None))
        return await asyncio.shield(future)

    async def _run(self, work: Callable[[], T]) -> T:
        self.depth += 1
        try:
            async with self.slots:
                return await asyncio.get_running_loop().run_in_executor(self.threads, work)
        finally:
            self.depth -= 1

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
