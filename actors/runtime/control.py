"""How a running run is changed: a named actor between its driver and `srm_ray.scale`.

srm_ray.scale --ask--> Control <--next (waits)---- driver --scale--> pools
              <-status-        <--report, refuse--
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.runtime.pool import OnEvent
from actors.runtime.replies import ScaleRequest, ScaleStatus, Ticketed, WorkerCounts
from actors.runtime.rpc import cause
from srm_ray.errors import UserError

NAMESPACE = "srm_ray"


class Control:
    """Requests one way, status the other."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Ticketed] = asyncio.Queue()
        self.tickets = itertools.count()
        self.workers: WorkerCounts | None = None
        self.refused: dict[int, str] = {}

    async def ask(self, request: ScaleRequest) -> int:
        """Returns the request's ticket, by which its sender finds the answer."""
        ticket = next(self.tickets)
        await self.requests.put(Ticketed(ticket, request))
        return ticket

    async def next(self) -> Ticketed:
        """The next request; waits for one."""
        return await self.requests.get()

    async def report(self, workers: WorkerCounts) -> None:
        self.workers = workers

    async def refuse(self, ticket: int, why: str) -> None:
        self.refused[ticket] = why

    async def status(self) -> ScaleStatus:
        return ScaleStatus(self.workers, dict(self.refused))


def name_of(run: Path) -> str:
    return f"run {run.absolute()}"


def open_control(run: Path) -> ActorHandle:
    """The actor of a run that starts. UserError where another driver is at work in the same folder."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Control).options(
        num_cpus=0,
        name=name_of(run),
        namespace=NAMESPACE,
        max_concurrency=64,
        scheduling_strategy=here,  # another node may die, and the run go on
        max_restarts=-1,
        max_task_retries=-1,
    )
    for _ in range(20):
        with contextlib.suppress(ValueError):
            return actor.remote()
        time.sleep(0.5)  # a driver that has just ended takes a moment to be gone
    raise UserError(f"{run} is being run by another process on this cluster: give another --run_dir, or end that one")


def find_control(run: Path) -> ActorHandle:
    try:
        return ray.get_actor(name_of(run), namespace=NAMESPACE)
    except ValueError:
        raise UserError(f"{run} is not being run on this cluster") from None


@contextlib.asynccontextmanager
async def followed(
    control: ActorHandle,
    act: Callable[[int | None, int | None], Awaitable[None]],
    workers: Callable[[], WorkerCounts],
    on_event: OnEvent,
) -> AsyncIterator[None]:
    """The driver's side: carry requests out as they come, and report twice a second.

    act: takes the numbers of rollout and of reward workers that are asked for, None for as many as there are.
    A request that cannot be carried out is an event, reported to its sender; the run and later requests go on.
    """

    async def report() -> None:
        while True:
            await control.report.remote(workers())
            await asyncio.sleep(0.5)

    async def obey() -> None:
        while True:
            asked: Ticketed = await control.next.remote()
            request = asked.request
            try:
                await act(request.rollouts, request.rewards)
            except Exception as error:
                on_event("not_scaled", **request.asked(), cause=f"{type(error).__name__}: {error}")
                await control.refuse.remote(asked.ticket, str(error) or type(error).__name__)

    async def until_gone(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ray.exceptions.RayError as error:
            on_event("cannot_be_scaled", cause=cause(error))

    tasks = [asyncio.ensure_future(report()), asyncio.ensure_future(until_gone(obey()))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
