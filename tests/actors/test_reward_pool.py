"""A reward actor that dies while it grades costs time, not samples; one that starts holds up nobody who ends."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from actors.reward.pool import RewardPool
from actors.reward.spec import RewardSpec
from actors.reward.worker import RewardWorker
from srm_ray.rl.types import Completion, Group, Prompt

pytestmark = pytest.mark.integration

SQUARE = [{"fn": "f", "args": [7], "expected": 49}]


def group(index: int, code: str) -> Group:
    text = f"</think>\n```python\n{code}\n```"
    ids = np.zeros(4, np.int32)
    completion = Completion(ids, np.zeros(4, np.float32), ids, "stop", 0, text, "rollout-0")
    return Group(Prompt(index, (1, 2), "<think>", tests=SQUARE), (completion,))


def test_groups_in_flight_when_the_actor_dies_are_graded_once(ray_session) -> None:
    async def run() -> list[Group]:
        pool = RewardPool((1, 1), RewardSpec(code_timeout=3.0), cpus=0.1)
        await pool.start()
        codes = ["def f(x): return x * x", "while True: pass", "def f(x): return x"]
        scoring = [asyncio.ensure_future(pool.score(group(index, code))) for index, code in enumerate(codes)]
        await asyncio.sleep(1.0)
        ray_session.kill(pool.members[0].actor)
        try:
            return await asyncio.wait_for(asyncio.gather(*scoring), 120)
        finally:
            await pool.close()

    scored = asyncio.run(run())
    assert [each.prompt.index for each in scored] == [0, 1, 2]
    assert [each.rewards[0].correct for each in scored] == [True, False, False]
    assert [each.rewards[0].reason for each in scored] == ["correct", "timeout", "wrong"]


class Starting(RewardWorker):
    def ping(self) -> dict[str, Any]:
        time.sleep(100)
        return super().ping()


def test_a_pool_that_ends_does_not_wait_for_a_worker_that_starts(ray_session) -> None:
    async def run() -> None:
        pool = RewardPool((1, 1), RewardSpec(), cpus=0.1, worker_class=Starting)
        starting = asyncio.ensure_future(pool.start())
        await asyncio.sleep(5)
        assert not starting.done()
        await asyncio.wait_for(pool.close(), 10)
        starting.cancel()

    asyncio.run(run())
