"""A step recomputed from a run's folder has the bits that the run logged, whichever checkpoint it starts from."""

import asyncio
import json
import re

import pytest

from actors.learner.group import LearnerGroup
from actors.worker_groups import learner_spec
from srm_ray import replay
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import UserError
from srm_ray.rl.types import TrainBatch
from srm_ray.runs import checkpoints, rollout_log
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from tests.rl.random_groups import tiny_qwen3, uneven_groups

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(1500)]

STEPS = 5
SAVED = 3
CONFIG = GRPOConfig.model_validate(
    {
        "loss": {"importance_cap": 1.5},
        "learner": {"precision": "float32", "lr": 3e-3, "micro_batch_tokens": 70, "cpus": 0.1, "threads": 1},
        "rollout": {"temperature": 0.8, "max_new_tokens": 64},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """What a run leaves behind, made by a real learner on made-up groups."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "r", stage="grpo")
    folder.create()
    folder.save_config(CONFIG)
    model = folder.path.parent / "model"
    tiny_qwen3().save_pretrained(model)
    asyncio.run(make(folder, str(model)))
    return folder


async def make(folder: RunFolder, model: str) -> None:
    log = MetricsLog(folder.metrics)
    learner = LearnerGroup(1, learner_spec(CONFIG, model), max_new_tokens=64, mismatch_limit=10.0)
    await learner.start()
    folder.record_event("started", step=0, model=model, learner=learner.numerics)
    for step in range(1, STEPS + 1):
        groups = uneven_groups(step)
        learned = await learner.step(TrainBatch(groups, step - 1), 3e-3 * min(1.0, step / 3))
        proofs = zip(groups, learned.logprobs, strict=True)
        rollout_log.write(folder.rollouts, step, groups, {(group.prompt.index, group.draw) for group in groups}, proofs)
        log.write({"step": step, "weights/version": step, **learned.metrics})
        if step == SAVED:
            with checkpoints.writing(folder.checkpoints, step, keep=2) as path:
                await learner.save(path.absolute())
    await learner.close()


def told(folder: RunFolder, step: int, capsys: pytest.CaptureFixture[str]) -> str:
    asyncio.run(replay.replay(folder, replay.make_plan(folder, step), step))
    return capsys.readouterr().out


def test_from_a_checkpoint(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(run, 5, capsys)
    assert "step_3, 1 steps done again" in text
    logged = json.loads(run.metrics.read_text().splitlines()[4])
    for name in ("policy/loss", "policy/grad_norm"):
        assert re.search(rf"^{name} +{re.escape(repr(logged[name]))} +{re.escape(repr(logged[name]))} +0$", text, re.M)
    assert text.splitlines()[-1] == "the same bits"


def test_from_the_model_that_the_run_began_with(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(run, 3, capsys)
    assert "which the run began with, 2 steps done again" in text
    assert text.splitlines()[-1] == "the same bits"


def test_what_was_changed_since_shows(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    path = rollout_log.path_of(run.rollouts, 4)
    before = path.read_text()
    lines = [json.loads(line) for line in before.splitlines()]
    lines[1]["advantage"] *= 2
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        text = told(run, 5, capsys)
    finally:
        path.write_text(before)
    assert "step 4, done again, already differs from the log in policy/loss, policy/grad_norm" in text
    assert text.splitlines()[-1] == "not the same bits"


def test_what_is_missing_is_said(run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"--step 9: .* has no such step \(it has steps 1 to 5\)"):
        replay.make_plan(run, 9)
    path = rollout_log.path_of(run.rollouts, 4)
    before = path.read_text()
    path.unlink()
    try:
        with pytest.raises(UserError, match="step 5 needs the completions of step 4"):
            replay.make_plan(run, 5)
        assert replay.make_plan(run, 3).checkpoint is None
    finally:
        path.write_text(before)
