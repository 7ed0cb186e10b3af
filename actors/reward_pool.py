"""The reward workers as the driver sees them: a group in, the same group with rewards out."""

import asyncio
from dataclasses import replace
from typing import Any

import ray

from actors.calls import close_actors, wait
from actors.naming import identity
from actors.reward import RewardSpec, RewardWorker
from srm_ray.errors import RunError
from srm_ray.rl.types import Group

RESTARTS = 4  # of one actor, and attempts at one group, before the run gives up


class RewardPool:
    """M reward actors, the least busy first.

    An actor that dies is started again by Ray, and what it was grading is graded again: scoring has no
    side effects, and the caller gets one answer.
    """

    def __init__(self, count: int, spec: RewardSpec, *, cpus: float):
        remote = ray.remote(RewardWorker)
        self.actors = [
            remote.options(
                num_cpus=cpus,
                max_concurrency=1024,
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
                **identity(f"reward-{index}"),
            ).remote(spec, index)
            for index in range(count)
        ]
        self.outstanding = [0] * count

    async def start(self) -> None:
        await asyncio.gather(*(wait(actor.ping.remote()) for actor in self.actors))

    async def score(self, group: Group) -> Group:
        index = min(range(len(self.actors)), key=lambda i: (self.outstanding[i], i))
        self.outstanding[index] += 1
        try:
            name = f"reward-{index} prompt {group.prompt.index} score"
            rewards = await self.actors[index].score.options(name=name).remote(group)
        except ray.exceptions.RayError as error:
            raise RunError(f"reward-{index} failed while grading prompt {group.prompt.index}: {error}") from error
        finally:
            self.outstanding[index] -= 1
        return replace(group, rewards=tuple(rewards))

    async def stats(self) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(wait(actor.stats.remote()) for actor in self.actors)))

    async def close(self) -> None:
        await close_actors(self.actors)
