"""A worker whose event loop is busy for long still tells of its progress, and is ended when there is none."""

import asyncio
import os
import time

import pytest
import ray

from actors.runtime.labels import identity, node_id
from actors.runtime.liveness import WATCH, Progress, Rules
from actors.runtime.placement import Places
from actors.runtime.pool import Pool, PoolOptions
from actors.runtime.replies import PingReply, WorkerInfo
from srm_ray.errors import RunError

pytestmark = pytest.mark.integration
HUNG_AFTER = 4.0  # seconds; before the first step ten times as long


class Blocking:
    """Its calls hold up its event loop, as long native ones do."""

    def __init__(self):
        self.progress = Progress()

    async def start(self):
        return WorkerInfo("blocking", os.getpid(), node_id())

    async def work(self, steps, seconds):
        for _ in range(steps):
            with self.progress.doing("computing"):
                time.sleep(seconds)

    def ping(self):
        return PingReply(WorkerInfo("blocking", os.getpid(), node_id()), self.progress.report())

    async def close(self):
        """Nothing."""


def test_a_busy_event_loop_is_no_silence(ray_session):
    told = []

    async def run():
        remote = ray.remote(concurrency_groups={WATCH: 1})(Blocking)

        async def prepare(member):
            return await pool.ask(member, member.actor.start.remote(), "start")

        pool = Pool(
            "blocking",
            PoolOptions(Places({"CPU": 0.1}), on_event=lambda event, **known: told.append((event, known))),
            spawn=lambda number, name, place: remote.options(num_cpus=0.1, **identity(name)).remote(),
            prepare=prepare,
            rules=Rules(HUNG_AFTER, 0.5),
        )
        await pool.start()
        try:
            async with pool.acquire(1) as member:
                await pool.ask(member, member.actor.work.remote(1, 2 * HUNG_AFTER), "work")
                await pool.ask(member, member.actor.work.remote(6, 0.4 * HUNG_AFTER), "work")
                assert told == []
                await pool.ask(member, member.actor.work.remote(1, 1000.0), "work")
        except RunError as error:
            return str(error)
        finally:
            await pool.close(seconds=1)

    said = asyncio.run(asyncio.wait_for(run(), 500))
    assert said.startswith("blocking-0 made no progress for ")
    assert "while computing (limit " in said
    assert told[0][0] == "restarted"
