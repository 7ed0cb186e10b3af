"""Awaiting Ray calls: with a time limit, and with the actor's name in every failure."""

import asyncio
from collections.abc import Sequence
from typing import Any

import ray

from srm_ray.errors import RunError


async def wait(call: Any) -> Any:
    """A Ray reference as a coroutine (asyncio's combinators take coroutines and futures alone)."""
    return await call


async def named(call: Any, *, who: str, what: str, timeout: float) -> Any:
    """The call's result; RunError naming `who` where it fails or misses `timeout` seconds."""
    try:
        return await asyncio.wait_for(wait(call), timeout)
    except TimeoutError:
        raise RunError(f"{who} did not {what} within {timeout:g} s") from None
    except ray.exceptions.RayError as error:
        raise RunError(f"{who} could not {what}: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """What happened in the actor: the last line of a Ray error."""
    inner = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return lines[-1] if lines else type(inner).__name__


async def close_actors(actors: Sequence[Any], *, seconds: float = 15) -> None:
    """Ask actors to end what they own, then end them."""
    closing = [asyncio.ensure_future(wait(actor.close.remote())) for actor in actors]
    if closing:
        await asyncio.wait(closing, timeout=seconds)
    for task in closing:
        task.cancel()
    for actor in actors:
        ray.kill(actor)
