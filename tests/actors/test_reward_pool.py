"""A reward actor that dies while it grades costs time, not samples; one that starts holds up nobody who ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import numpy as np
import pytest

from actors.reward.pool import RewardPool
from actors.reward.spec import RewardSpec
from actors.reward.worker import RewardWorker
from actors.runtime.placement import Places
from actors.runtime.pool import PoolOptions
from actors.runtime.replies import PingReply, ProgressReport
from srm_ray.evaluation.grading import Sample, grade
from srm_ray.evaluation.suites import Item
from srm_ray.inference.completers import ChatCompletion
from srm_ray.rl.types import Completion, Group, Prompt
from tests.actors.in_process import InProcess

pytestmark = pytest.mark.integration

SQUARE = [{"fn": "f", "args": [7], "expected": 49}]


def group(index: int, code: str) -> Group:
    text = f"</think>\n```python\n{code}\n```"
    ids = np.zeros(4, np.int32)
    completion = Completion(ids, np.zeros(4, np.float32), ids, "stop", 0, text, "rollout-0")
    return Group(Prompt(index, (1, 2), "<think>", tests=SQUARE), (completion,))


def test_groups_in_flight_when_the_actor_dies_are_graded_once(ray_session) -> None:
    async def run() -> list[Group]:
        pool = RewardPool(PoolOptions(Places({"CPU": 0.1})), RewardSpec(code_timeout=3.0))
        await pool.start()
        codes = ["def f(x): return x * x", "while True: pass", "def f(x): return x"]
        scoring = [asyncio.ensure_future(pool.score(group(index, code))) for index, code in enumerate(codes)]
        await asyncio.sleep(1.0)
        ray_session.kill(pool.members[0].actor)
        try:
            return await asyncio.wait_for(asyncio.gather(*scoring), 400)
        finally:
            await pool.close()

    scored = asyncio.run(run())
    assert [each.prompt.index for each in scored] == [0, 1, 2]
    assert [each.rewards[0].correct for each in scored] == [True, False, False]
    assert [each.rewards[0].reason for each in scored] == ["correct", "timeout", "wrong"]


class One:
    """A pool of one actor that lives in this process."""

    def __init__(self, actor: InProcess) -> None:
        self.member = SimpleNamespace(name="reward-0", actor=actor)

    @contextlib.asynccontextmanager
    async def acquire(self, load: int) -> AsyncIterator[SimpleNamespace]:
        yield self.member


def test_an_evaluation_is_graded_on_the_reward_workers() -> None:
    """By the built-in graders, with the suite's own rules, whatever the run is rewarded for; it shows as progress."""
    worker = RewardWorker(RewardSpec(weights={}, function="tests.actors.own_rewards:moods"))
    pool = RewardPool(PoolOptions(Places({"CPU": 0.1})), worker.spec)
    pool.pool = One(InProcess(worker))  # type: ignore[assignment]
    item = Item(0, "What is a half?", answer="1/2")
    texts = ["</think>0.5", r"</think>\boxed{\frac{2}{4}}", r"</think>\boxed{2}"]
    made = [ChatCompletion("<think>", text, 3, False, 0) for text in texts]

    async def graded(last_number: bool) -> list[Sample]:
        return await grade(pool, item, item.question, made, last_number=last_number)

    try:
        with_last, without = asyncio.run(graded(True)), asyncio.run(graded(False))
    finally:
        worker.close()
    assert [one.verdict.correct for one in with_last] == [True, True, False]
    assert [one.group for one in with_last] == [0, 0, 1]
    assert [one.verdict.reason for one in without] == ["no_answer", "correct", "wrong"]
    assert {one.verdict.kind for one in with_last} == {"math"}
    assert worker.progress.report() == ProgressReport(done=("grading",))


class Starting(RewardWorker):
    def ping(self) -> PingReply:
        time.sleep(100)
        return super().ping()


def test_a_pool_that_ends_does_not_wait_for_a_worker_that_starts(ray_session) -> None:
    async def run() -> None:
        pool = RewardPool(PoolOptions(Places({"CPU": 0.1})), RewardSpec(), worker_class=Starting)
        starting = asyncio.ensure_future(pool.start())
        await asyncio.sleep(5)
        assert not starting.done()
        await asyncio.wait_for(pool.close(), 60)
        starting.cancel()

    asyncio.run(run())
