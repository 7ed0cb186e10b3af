"""The real command, killed and continued: the remaining steps are those of an undisturbed run, bit for bit."""

import json

import pytest

from srm_ray.runs import checkpoints
from srm_ray.runs.metrics import read, without_times
from tests.loop.command_run import Run, run_here, small_run
from tests.same import same_files, same_steps, same_weights

pytestmark = pytest.mark.integration

STEPS = 6


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    return small_run(tiny_model, tmp_path_factory.mktemp("data") / "prompts.jsonl", steps=str(STEPS))


def steps_of(folder):
    return [without_times(line) for line in read(folder / "metrics.jsonl")]


@pytest.mark.timeout(2400)
def test_killed_in_a_checkpoint_a_run_ends_as_if_undisturbed(ray_session, command, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_here(command, whole)
    expected = steps_of(whole)
    assert [line["step"] for line in expected] == list(range(1, STEPS + 1))
    assert all(line["policy/grad_norm"] > 0 for line in expected)

    # In the middle of writing a checkpoint, two steps after the one before. Others kill at any moment: test_chaos, and
    # tests/loop_in_process/test_resume.py.
    run = Run(command, broken)
    run.until((broken / "checkpoints" / ".step_4.partial").is_dir, every=0.0005)
    run.kill()
    assert checkpoints.newest(broken / "checkpoints")[0] == 2
    assert (broken / "checkpoints" / ".step_4.partial").is_dir()

    run_here(command, broken)
    same_steps(steps_of(broken), expected)
    same_files(broken / "rollouts", whole / "rollouts", "*.jsonl")
    same_weights(broken / "final", whole / "final")
    assert json.loads((broken / "summary.json").read_text())["restarts"] == 1
