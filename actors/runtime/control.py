"""How a run that is going on is told to change: a named actor between its driver and `srm_ray.scale`.

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
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.runtime.pool import Events
from actors.runtime.rpc import cause
from srm_ray.errors import UserError

NAMESPACE = "srm_ray"


class Control:
    """Requests one way, status the other."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[int, dict[str, int]]] = asyncio.Queue()
        self.tickets = itertools.count()
        self.known: dict[str, Any] = {}
        self.refused: dict[int, str] = {}

    async def ask(self, request: dict[str, int]) -> int:
        """Returns the request's ticket, by which its asker hears of it."""
        ticket = next(self.tickets)
        await self.requests.put((ticket, request))
        return ticket

    async def next(self) -> tuple[int, dict[str, int]]:
        """The next request and its ticket; waits for one."""
        return await self.requests.get()

    async def report(self, status: dict[str, Any]) -> None:
        self.known = status

    async def refuse(self, ticket: int, why: str) -> None:
        self.refused[ticket] = why

    async def status(self) -> dict[str, Any]:
        return {**self.known, "refused": self.refused}


def name_of(run: Path) -> str:
    return f"run {run.absolute()}"


def open_control(run: Path) -> Any:
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


def find_control(run: Path) -> Any:
    try:
        return ray.get_actor(name_of(run), namespace=NAMESPACE)
    except ValueError:
        raise UserError(f"{run} is not being run on this cluster") from None


@contextlib.asynccontextmanager
async def followed(
    control: Any, act: Callable[..., Awaitable[None]], status: Callable[[], dict[str, Any]], events: Events
) -> AsyncIterator[None]:
    """The driver's side: carry requests out as they come, and report twice a second.

    A request that cannot be carried out is an event, told to who asked; the run and later requests go on.
    """

    async def report() -> None:
        while True:
            await control.report.remote(status())
            await asyncio.sleep(0.5)

    async def obey() -> None:
        while True:
            ticket, request = await control.next.remote()
            try:
                await act(**request)
            except Exception as error:
                events("not_scaled", **request, cause=f"{type(error).__name__}: {error}")
                await control.refuse.remote(ticket, str(error) or type(error).__name__)

    async def until_gone(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ray.exceptions.RayError as error:
            events("cannot_be_scaled", cause=cause(error))

    tasks = [asyncio.ensure_future(report()), asyncio.ensure_future(until_gone(obey()))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
