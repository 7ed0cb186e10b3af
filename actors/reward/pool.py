"""The reward workers as the driver sees them: a group in, the same group with rewards out.

Evaluations of the run grade here, too, by the built-in graders alone. What a worker that dies was grading is graded
again by another: grading has no side effects, and the caller gets one answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.actor import ActorHandle

from actors.reward.metrics import GradingStats
from actors.reward.spec import RewardSpec
from actors.reward.worker import RewardWorker
from actors.runtime import env
from actors.runtime.labels import identity
from actors.runtime.liveness import STARTING, WATCH, Rules
from actors.runtime.pool import Pool, PoolOptions, WorkerHandle
from actors.runtime.replies import PingReply, WorkerInfo
from actors.runtime.rpc import cause, wait
from rewards.problem import Problem
from rewards.sandbox.processes import Failure
from rewards.user import Own
from rewards.verdict import Verdict
from srm_ray.errors import RunError
from srm_ray.rl.types import Group

ATTEMPTS = 4  # workers that may die over one call before the run gives up
START_TIMEOUT = 900.0  # seconds


class RewardPool:
    """Reward actors, the least busy first."""

    def __init__(
        self,
        options: PoolOptions,
        spec: RewardSpec,
        *,
        worker_class: type[RewardWorker] = RewardWorker,
    ):
        recovery = options.recovery
        remote = ray.remote(concurrency_groups={WATCH: 4})(worker_class)
        environment = {"env_vars": env.REWARD_WORKER}
        actors = {"num_cpus": options.places.each.get("CPU", 0), "max_concurrency": 1024, "runtime_env": environment}
        self.pool = Pool(
            "reward",
            options,
            spawn=lambda number, name, place: remote.options(**actors, **identity(name), **place).remote(spec, number),
            prepare=self._prepare,
            rules=Rules(recovery.hung_after, recovery.ping_every, floors={STARTING: (START_TIMEOUT, "")}),
        )

    @property
    def members(self) -> list[WorkerHandle]:
        return self.pool.members

    async def start(self) -> None:
        await self.pool.start()

    async def _prepare(self, member: WorkerHandle) -> WorkerInfo:
        reply: PingReply = await self.pool.ask(member, member.actor.ping.remote(), "start")
        return reply.info

    async def score(self, group: Group, verdicts: Sequence[Own | Failure] | None = None) -> Group:
        """With a reward for each completion. verdicts: a judge's, where there is one."""
        what = f"prompt {group.prompt.index}"
        rewards = await self._ask(what, "score", lambda actor: actor.score, group, verdicts)
        return replace(group, rewards=tuple(rewards))

    async def grade(
        self, problem: Problem, question: str | None, text: str, *, truncated: bool = False, last_number: bool = False
    ) -> Verdict:
        """As `rewards.dispatch.Graders.grade`, on a worker."""
        options = {"truncated": truncated, "last_number": last_number}
        return await self._ask("an answer", "grade", lambda actor: actor.grade, problem, question, text, **options)

    async def same(self, one: str, other: str) -> bool:
        """As `rewards.dispatch.Graders.same`, on a worker."""
        return await self._ask("two answers", "compare", lambda actor: actor.same, one, other)

    async def _ask(
        self, what: str, doing: str, method: Callable[[ActorHandle], Any], *args: object, **options: object
    ) -> Any:
        """A worker's answer, the next one's where it dies over it."""
        deaths: list[str] = []
        while True:
            async with self.pool.acquire(1) as member:
                try:
                    call = method(member.actor).options(name=f"{member.name} {what} {doing}")
                    return await call.remote(*args, **options)
                except ray.exceptions.RayError as error:
                    why = f"failed while grading {what}: {cause(error)}"
                    if not isinstance(error, ray.exceptions.RayActorError) and await self.pool.healthy(member):
                        raise RunError(f"{member.name} {why}") from error
                    deaths.append(f"{member.name} {self.pool.mark_failed(member, why)}")
                    if len(deaths) == ATTEMPTS:
                        raise RunError(f"{ATTEMPTS} reward workers died over {what}; the first: {deaths[0]}") from error

    async def stats(self) -> list[GradingStats]:
        return list(await asyncio.gather(*(wait(member.actor.stats.remote()) for member in self.pool.serving())))

    async def close(self) -> None:
        await self.pool.close(seconds=15)
