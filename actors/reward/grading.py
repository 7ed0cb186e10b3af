"""Reward workers of a command that measures a model: what they are, and the `Grader` that they make.

Grading (options) --pool, start--> RewardPool, with a sandbox where code is graded
LazyGrader        --grade, same--> the pool, once engines and workers are there
started(Grading)  ---------------> the pool alone, for a model in the caller's own process

"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from actors.reward.metrics import UNAVAILABLE
from actors.reward.pool import RewardPool
from actors.reward.spec import RewardSpec
from actors.runtime.placement import Need, Places, reserve, resources
from actors.runtime.pool import PoolOptions, report_deaths
from rewards.problem import Problem
from rewards.verdict import Verdict
from srm_ray.config.evaluate import GradingConfig
from srm_ray.evaluation.grading import check_tier


@dataclass(frozen=True, slots=True)
class Grading:
    """What the workers are. with_code: the suites whose answers are run, which takes a sandbox."""

    options: GradingConfig
    with_code: tuple[str, ...] = ()

    @property
    def need(self) -> Need:
        return Need(self.options.workers, resources(self.options.cpus))

    def pool(self, places: Places) -> RewardPool:
        options = self.options
        spec = RewardSpec(
            weights={"math": 1.0, "code": 1.0},
            math_timeout=options.timeout,
            code_timeout=options.timeout,
            function_timeout=options.timeout,
            allow_unsafe=options.allow_unsafe,
            processes=options.processes,
        )
        return RewardPool(PoolOptions(places, (options.workers, options.workers), on_event=report_deaths), spec)

    async def start(self, pool: RewardPool) -> None:
        """Raises `UserError` where code is graded and a worker has no sandbox."""
        await pool.start()
        if self.with_code:
            tiers = sorted({stats.sandbox for stats in await pool.stats()})
            check_tier("" if UNAVAILABLE in tiers else " and ".join(tiers), self.with_code)


class LazyGrader:
    """A `Grader` (`srm_ray.evaluation.grading`) on the reward workers. ready: starts them first, with the engines."""

    def __init__(self, ready: Callable[[], Awaitable[RewardPool]]) -> None:
        self.ready = ready

    async def grade(
        self, problem: Problem, question: str | None, text: str, *, truncated: bool = False, last_number: bool = False
    ) -> Verdict:
        pool = await self.ready()
        return await pool.grade(problem, question, text, truncated=truncated, last_number=last_number)

    async def same(self, one: str, other: str) -> bool:
        return await (await self.ready()).same(one, other)


@asynccontextmanager
async def started(grading: Grading) -> AsyncIterator[RewardPool]:
    """A `Grader`: reward workers that end with the block. Ray must be initialised.

    Raises `UserError` where the cluster cannot hold them, or code is graded and a worker has no sandbox.
    """
    reservation = reserve({"reward": grading.need}, lower="grading.workers or grading.cpus")
    pool = grading.pool(reservation.places["reward"])
    try:
        await grading.start(pool)
        yield pool
    finally:
        await pool.close()
        reservation.release()
