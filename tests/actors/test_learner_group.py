"""The learner's ranks over scripted ones: slow steps, a rank that hangs, and a learner that is started again."""

import asyncio
from dataclasses import dataclass, field

import pytest
import ray

from actors.learner.group import LearnerGroup
from actors.learner.spec import LearnerSpec, Started
from actors.runtime.liveness import STARTING, Progress
from srm_ray.config.algorithm import LossConfig
from srm_ray.config.grpo import LearnerConfig
from srm_ray.errors import LearnerLost
from tests.actors.in_process import InProcess, alive, run

pytestmark = pytest.mark.integration
SPEC = LearnerSpec(model="", learner=LearnerConfig(workers=2), loss=LossConfig(), temperature=1.0, seed=1, threads=1)
FOREVER = 1e9


@dataclass
class Rank:
    """start_takes: seconds. steps: seconds of each part of `save`."""

    start_takes: float = 10.0
    steps: tuple[float, ...] = (1.0,)
    progress: Progress = field(default_factory=Progress)

    def address(self):
        return ("here", 1)

    async def start(self, master):
        with self.progress.doing(STARTING):
            await asyncio.sleep(self.start_takes)
        return Started(None, None, {})  # type: ignore[arg-type]  # nothing to end

    async def save(self, folder):
        for number, seconds in enumerate(self.steps):
            with self.progress.doing("saving", f"part {number}"):
                await asyncio.sleep(seconds)

    def ping(self):
        return alive(self.progress)

    def close(self):
        """Nothing."""


def play(monkeypatch, ranks, work):
    """`work` on a group of the ranks; what comes after them starts well."""
    waiting = list(ranks)

    class Remote:
        def options(self, **_):
            return self

        def remote(self, rank, count, spec):
            return InProcess(waiting.pop(0) if waiting else Rank())

    monkeypatch.setattr(ray, "remote", lambda **_: lambda cls: Remote())
    monkeypatch.setattr(ray, "kill", lambda actor: actor.end())

    async def whole():
        group = LearnerGroup(2, SPEC, max_new_tokens=8, mismatch_limit=1.0)
        try:
            await group.start()
            return await work(group)
        finally:
            await group.close()

    return run(whole())


def test_a_learner_that_makes_progress_has_all_the_time_it_needs(monkeypatch, tmp_path):
    """A start of almost half an hour and a checkpoint of hours; `learner.step_timeout` is half an hour."""
    slow = (1700.0, 5000.0, 3000.0)
    play(monkeypatch, [Rank(1700.0, slow), Rank(1700.0, slow)], lambda group: group.save(tmp_path))


def test_a_rank_that_hangs_is_named_with_what_it_did(monkeypatch, tmp_path):
    hung = r"^learner-1 made no progress for 18\d\d s while saving part 1 \(limit 1800 s; learner\.step_timeout raises"
    with pytest.raises(LearnerLost, match=hung):
        play(monkeypatch, [Rank(steps=(1.0, 1.0)), Rank(steps=(1.0, FOREVER))], lambda group: group.save(tmp_path))


def test_a_start_that_hangs_is_named(monkeypatch):
    with pytest.raises(LearnerLost, match=r"learner-0 made no progress for 18\d\d s while starting"):
        play(monkeypatch, [Rank(start_takes=FOREVER), Rank()], lambda group: group.ping())


def test_a_learner_that_hung_is_started_again(monkeypatch, tmp_path):
    async def work(group):
        with pytest.raises(LearnerLost) as lost:
            await group.save(tmp_path)
        await group.restart(lost.value)
        await group.save(tmp_path)
        await group.check()
        return group.budget.total

    assert play(monkeypatch, [Rank(steps=(FOREVER,)), Rank()], work) == 1
