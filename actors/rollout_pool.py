"""The rollout workers as the driver sees them: sample a group, push weights, name who failed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import ray

from actors.calls import cause, close_actors, named
from actors.naming import identity, task_name
from actors.rollout import EngineSpec, RolloutWorker, Sampling
from srm_ray.errors import RunError
from srm_ray.rl.types import Completion
from srm_ray.weights.flat import WeightUpdate

SLEEP_TIMEOUT = 120.0  # seconds, to move an engine's weights between GPU and CPU memory


class RolloutPool:
    """N rollout actors. A group goes to the worker with the fewest completions outstanding."""

    def __init__(self, count: int, spec: EngineSpec, *, cpus: float, worker_class: Callable[..., Any] = RolloutWorker):
        self.spec = spec
        remote = ray.remote(worker_class)
        self.names = [f"rollout-{index}" for index in range(count)]
        self.actors = [
            remote.options(num_cpus=cpus, num_gpus=spec.gpus, max_concurrency=4096, **identity(name)).remote(
                index, spec
            )
            for index, name in enumerate(self.names)
        ]
        self.outstanding = [0] * count
        self.version = 0

    async def start(self, timeout: float) -> list[dict[str, Any]]:
        return await self._each(timeout, "start", "start")

    async def generate(
        self, prompt_ids: tuple[int, ...], seeds: tuple[int, ...], sampling: Sampling
    ) -> tuple[Completion, ...]:
        """One completion per seed, from one worker. Cancelling this cancels the requests."""
        index = min(range(len(self.actors)), key=lambda i: (self.outstanding[i], i))
        self.outstanding[index] += len(seeds)
        name = task_name(self.names[index], self.version, "generate")
        call = self.actors[index].generate.options(name=name).remote(prompt_ids, seeds, sampling)
        try:
            return tuple(await call)
        except asyncio.CancelledError:
            ray.cancel(call)
            raise
        except ray.exceptions.RayError as error:
            raise RunError(f"{self.names[index]} failed while generating: {cause(error)}") from error
        finally:
            self.outstanding[index] -= len(seeds)

    async def push(self, update: WeightUpdate, timeout: float) -> float:
        """Load `update` into every worker at once. Returns the slowest one's seconds."""
        began = time.perf_counter()
        await self._each(timeout, f"load weights of version {update.version}", "load_weights", update)
        self.version = update.version
        return time.perf_counter() - began

    async def sleep(self) -> None:
        """Every engine gives its GPU memory back until `wake_up`."""
        await self._each(SLEEP_TIMEOUT, "go to sleep", "sleep")

    async def wake_up(self) -> None:
        await self._each(SLEEP_TIMEOUT, "wake up", "wake_up")

    async def ping(self) -> list[dict[str, Any]]:
        return await self._each(30, "answer", "ping")

    async def close(self) -> None:
        """End engines, then actors."""
        await close_actors(self.actors, seconds=30)

    async def _each(self, timeout: float, what: str, method: str, *args: Any) -> list[Any]:
        """Call a method of every worker; a failure or a missed time limit names the worker."""
        calls = [
            named(
                getattr(actor, method).options(name=task_name(name, self.version, what)).remote(*args),
                who=name,
                what=what,
                timeout=timeout,
            )
            for name, actor in zip(self.names, self.actors, strict=True)
        ]
        return list(await asyncio.gather(*calls))
