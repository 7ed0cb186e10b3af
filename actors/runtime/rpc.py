"""Awaiting Ray calls: with a time limit, and with the actor's name in every failure."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.actor import ActorHandle

from actors.runtime.low_memory import want_of_memory
from srm_ray.errors import RunError

T = TypeVar("T")
ADVICE = "For further information visit"  # pydantic's last line, which says nothing of what is wrong
PATIENCE = 3.0  # seconds that an actor has to end by itself


async def wait(call: Awaitable[T]) -> T:
    """A Ray reference as a coroutine (asyncio's combinators take coroutines and futures alone)."""
    return await call


async def named(call: Awaitable[T], *, who: str, what: str, timeout: float) -> T:
    """The call's result; RunError naming `who` where it fails or misses `timeout` seconds."""
    try:
        return await asyncio.wait_for(wait(call), timeout)
    except TimeoutError:
        raise RunError(f"{who} did not {what} within {timeout:g} s") from None
    except ray.exceptions.RayError as error:
        raise RunError(f"{who} could not {what}: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """What happened in the actor: the last line of a Ray error that says something."""
    inner = getattr(error, "cause", None) or error
    if short := want_of_memory(str(inner)):
        return short
    lines = [line.strip() for line in str(inner).splitlines() if line.strip() and not line.strip().startswith(ADVICE)]
    # Ray lists everything that may have killed a process; its first sentence is what is known.
    return lines[-1].partition(" Worker exit type:")[0].partition(" [type=")[0] if lines else type(inner).__name__


async def close_actors(actors: Sequence[ActorHandle], *, seconds: float = 15) -> None:
    """Ask actors to end what they own, then end them."""
    closing = [asyncio.ensure_future(wait(actor.close.remote())) for actor in actors]
    if closing:
        await asyncio.wait(closing, timeout=seconds)
    for task in closing:
        task.cancel()
    for actor in actors:
        ray.kill(actor)


async def end_process(pid: int | None, node: str | None) -> None:
    """See that an actor's process on a node ends, once Ray was asked to end it: a stopped one does not answer Ray."""
    if pid is not None:
        await on_node(node, kill_process, pid)


async def cpu_seconds(pid: int | None, node: str | None, *, tree: bool) -> float | None:
    """Processor time that a process on a node has used so far (tree: and all that it started); None if unknown."""
    return None if pid is None else await on_node(node, used_cpu, pid, tree)


async def on_node(node: str | None, function: Callable[..., Any], *args: Any) -> Any:
    """The function's result in a thread here or, for another node, in a process there; None where that one is gone."""
    if node is None or node == ray.get_runtime_context().get_node_id():
        return await asyncio.to_thread(function, *args)
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    remote = ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    try:
        return await asyncio.wait_for(wait(remote.remote(*args)), 30)
    except (ray.exceptions.RayError, TimeoutError):
        return None


def used_cpu(pid: int, tree: bool) -> float | None:
    """User and system time of a process, and of all that it started where `tree`, seconds."""
    import psutil

    used = 0.0
    try:
        process = psutil.Process(pid)
        found = [process, *(process.children(recursive=True) if tree else ())]
        used = sum(process.cpu_times()[: 4 if tree else 2])  # the latter two: of children that have ended
    except psutil.NoSuchProcess:
        return None
    for child in found[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(child.cpu_times()[:4])
    return used


def kill_process(pid: int) -> None:
    """SIGKILL a Ray worker process that does not end by itself within seconds.

    Its title distinguishes it from another process that has its number since.
    """
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.05)
