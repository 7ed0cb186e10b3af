"""The environment workers as the driver sees them: one episode is played on one worker, from its beginning to its end.

A worker that dies takes its episodes with it: `WorkerLost`, after which they begin anew on another, with the same
seeds.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import ray
from ray.actor import ActorHandle

from actors.environment.episodes import WorkerLost
from actors.environment.worker import EnvironmentWorker, Failed
from actors.runtime import env
from actors.runtime.labels import identity
from actors.runtime.liveness import STARTING, WATCH, Rules
from actors.runtime.placement import Scheduling
from actors.runtime.pool import Pool, PoolOptions, WorkerHandle
from actors.runtime.replies import WorkerInfo
from actors.runtime.rpc import cause
from srm_ray.environments.sessions import EnvironmentSpec, EpisodeFailed, Outcome, Step
from srm_ray.errors import RunError
from srm_ray.rl.types import ToolCall

START_TIMEOUT = 600.0  # seconds


class RemotePlayer:
    """An episode on a worker; see `srm_ray.environments.episode.Player`."""

    def __init__(self, pool: Pool, member: WorkerHandle, ticket: int):
        self.pool, self.member, self.ticket = pool, member, ticket

    async def reset(self, row: dict[str, Any], seed: int) -> str | None:
        observation: str | None = await self._ask("open", row, seed)
        return observation

    async def call(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        made: tuple[ToolCall, ...] = await self._ask("call", tuple(calls))
        return made

    async def step(self, text: str) -> Step:
        step: Step = await self._ask("step", text)
        return step

    async def reward(self) -> Outcome:
        outcome: Outcome = await self._ask("reward")
        return outcome

    async def _ask(self, method: str, *arguments: object) -> Any:
        name = f"{self.member.name} episode {self.ticket} {method}"
        try:
            found = await getattr(self.member.actor, method).options(name=name).remote(self.ticket, *arguments)
        except ray.exceptions.RayError as error:
            why = f"failed in an episode: {cause(error)}"
            if not isinstance(error, ray.exceptions.RayActorError) and await self.pool.healthy(self.member):
                raise RunError(f"{self.member.name} {why}") from error
            raise WorkerLost(f"{self.member.name} {self.pool.mark_failed(self.member, why)}") from error
        if isinstance(found, Failed):
            raise EpisodeFailed(found.reason, found.detail)
        return found

    def end(self) -> None:
        """Returns at once."""
        with contextlib.suppress(ray.exceptions.RayError):
            self.member.actor.finish.options(num_returns=0).remote(self.ticket)


class EnvironmentPool:
    """Environment actors, the one with the fewest episodes first. spawn: makes the actor of a worker, in tests."""

    def __init__(
        self,
        options: PoolOptions,
        spec: EnvironmentSpec,
        *,
        spawn: Callable[[int, str, Scheduling], ActorHandle] | None = None,
    ):
        remote = ray.remote(concurrency_groups={WATCH: 4})(EnvironmentWorker)
        actors = {
            "num_cpus": options.places.each.get("CPU", 0),
            "max_concurrency": 4 * spec.at_once + 64,
            "runtime_env": {"env_vars": env.REWARD_WORKER},
        }

        def actor(number: int, name: str, place: Scheduling) -> ActorHandle:
            return remote.options(**actors, **identity(name), **place).remote(number, spec)

        self.pool = Pool(
            "environment",
            options,
            spawn=spawn or actor,
            prepare=self._prepare,
            rules=Rules(
                options.recovery.hung_after, options.recovery.ping_every, floors={STARTING: (START_TIMEOUT, "")}
            ),
        )
        self.tickets = itertools.count()

    async def start(self) -> None:
        await self.pool.start()

    async def close(self) -> None:
        await self.pool.close(seconds=15)

    async def _prepare(self, member: WorkerHandle) -> WorkerInfo:
        info: WorkerInfo = await self.pool.ask(member, member.actor.start.remote(), "start")
        return info

    @contextlib.asynccontextmanager
    async def player(self) -> AsyncIterator[RemotePlayer]:
        """For one episode, whose process ends with the context."""
        async with self.pool.acquire(1) as member:
            player = RemotePlayer(self.pool, member, next(self.tickets))
            try:
                yield player
            finally:
                player.end()
