"""Grading shows as progress: a step for each graded completion, within limits that follow what is graded."""

import asyncio
import types

import numpy as np
import pytest

from actors.reward.spec import RewardSpec
from actors.reward.worker import SLOWEST_GRADE, RewardWorker
from actors.runtime.liveness import Progress
from actors.runtime.replies import ProgressReport
from rewards.verdict import Reward
from srm_ray.rl.types import Completion, Group, Prompt

IDS = np.zeros(4, np.int32)
GROUP = Group(
    Prompt(1, (1,), "1+1?", answer="2"), (Completion(IDS, np.zeros(4, np.float32), IDS, "stop", 0, "", ""),) * 3
)


class Waiting(RewardWorker):
    """Grades when it is told to, without processes."""

    def __init__(self, function=None):
        self.spec = RewardSpec(code_timeout=10.0, function_timeout=20.0)
        self.function, self.progress = function, Progress()
        self.groups = self.outstanding = 0
        self.grading, self.loop = None, None
        self.go_on = asyncio.Semaphore(0)

    def own_of(self, group):
        return [None for _ in group.completions]

    async def reward(self, prompt, completion, own=None):
        await self.go_on.acquire()
        return Reward(1.0, True, "correct", 0.0, {})


def test_each_graded_completion_is_a_step():
    async def run():
        worker = Waiting()
        scoring = asyncio.ensure_future(worker.score(GROUP))
        seen = []
        for _ in range(3):
            await asyncio.sleep(0.01)
            [grading] = worker.progress.report().doing
            seen.append((grading.kind, grading.steps))
            worker.go_on.release()
        await scoring
        return seen, worker.progress.report()

    seen, after = asyncio.run(run())
    assert seen == [("grading", 0), ("grading", 1), ("grading", 2)]
    assert after == ProgressReport(done=("grading",))


@pytest.mark.parametrize(("function", "limit"), [(None, 20.0), (types.SimpleNamespace(group=True), 60.0)])
def test_a_function_of_whole_groups_is_given_the_time_of_all(function, limit):
    async def run():
        worker = Waiting(function)
        scoring = asyncio.ensure_future(worker.score(GROUP))
        await asyncio.sleep(0.01)
        [grading] = worker.progress.report().doing
        scoring.cancel()
        return grading.allowance

    assert asyncio.run(run()) == SLOWEST_GRADE * limit
