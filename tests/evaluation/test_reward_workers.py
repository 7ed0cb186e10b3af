"""Reward workers that grade an evaluation: the verdicts of graders in this process, whoever dies over them."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from actors.reward.grading import Grading, LazyGrader
from actors.reward.pool import RewardPool
from actors.runtime.placement import Places
from rewards.dispatch import Graders
from srm_ray.config.evaluate import GradingConfig, PromptConfig
from srm_ray.errors import UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.evaluator import Evaluator
from srm_ray.evaluation.grading import Grader, check_tier
from srm_ray.evaluation.results import SuiteResult
from srm_ray.inference.completers import ChatCompletion, Sampling

pytestmark = pytest.mark.integration

SUITE, COUNT = suites.SUITES["arithmetic"], 12
ITEMS = suites.load(SUITE, "", COUNT)


class Half:
    """A model that knows two answers of four: as a number, as a decimal, one wrong and one cut short."""

    def __init__(self) -> None:
        self.gold = {item.question: item.answer for item in ITEMS}

    async def prepare(self) -> None:
        """Nothing to prepare."""

    async def answer(self, messages, seeds, sampling) -> list[ChatCompletion]:
        gold = self.gold[messages[-1]["content"]]
        said = [gold, f"{gold}.0", f"1{gold}", gold]
        texts = [rf"a</think>\boxed{{{one}}}" for one in said]
        return [
            ChatCompletion("<think>\n", text, 3, number == 3, seed)
            for number, (text, seed) in enumerate(zip(texts, seeds, strict=True))
        ]


def evaluated(grader: Grader, folder: Path):
    evaluator = Evaluator(grader, Sampling(1.0), seed=3, samples=4, prompt=PromptConfig(instruction=""), in_flight=16)
    return evaluator.run(SUITE, ITEMS, Half(), folder, "1/1", {})


def test_a_worker_that_dies_in_the_middle_changes_no_verdict(ray_session, tmp_path: Path, capsys) -> None:
    graders = Graders(1)
    try:
        here = asyncio.run(evaluated(graders, tmp_path / "here"))
    finally:
        graders.close()
    grading = Grading(GradingConfig(processes=1, allow_unsafe=True), ("mbpp",))

    async def on_workers() -> tuple[SuiteResult, list[str]]:
        pool = grading.pool(Places(grading.need.each))
        ready = asyncio.ensure_future(grading.start(pool))
        asked = 0

        async def started() -> RewardPool:
            nonlocal asked
            await ready
            asked += 1
            if asked == 20:
                pid = pool.members[0].info.pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
            return pool

        try:
            result = await evaluated(LazyGrader(started), tmp_path / "workers")
            return result, [member.name for member in pool.members]
        finally:
            await pool.close()

    there, members = asyncio.run(on_workers())
    assert members == ["reward-1"]  # the first was replaced
    assert "code runs in sandbox tier " in capsys.readouterr().out  # as the workers say
    assert there == here
    assert here.score.value == 0.5
    name = f"{SUITE.name}.jsonl"
    assert (tmp_path / "workers" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_code_without_a_sandbox_is_refused_and_says_of_which_suites(capsys) -> None:
    with pytest.raises(UserError, match=r"no sandbox works here, so humaneval and mbpp cannot be graded"):
        check_tier("", ("humaneval", "mbpp"))
    check_tier("landlock", ("mbpp",))
    assert "code runs in sandbox tier landlock" in capsys.readouterr().out


def test_workers_without_cpus_of_their_own_ask_for_nothing() -> None:
    assert (Grading(GradingConfig()).need.count, Grading(GradingConfig()).need.each) == (1, {})
    assert Grading(GradingConfig(workers=3, cpus=0.5)).need.each == {"CPU": 0.5}
