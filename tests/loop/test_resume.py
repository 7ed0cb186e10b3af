"""The real command, killed and continued: the remaining steps are those of an undisturbed run, bit for bit."""

import json

import pytest

from srm_ray.runs import checkpoints
from srm_ray.runs.metrics import read, without_times
from tests.loop.command_run import Run, small_run

pytestmark = pytest.mark.integration

STEPS = 7


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    return small_run(tiny_model, tmp_path_factory.mktemp("data") / "prompts.jsonl", steps=str(STEPS))


def steps_of(folder):
    return [without_times(line) for line in read(folder / "metrics.jsonl")]


def rollouts_of(folder):
    return {path.name: path.read_text() for path in sorted((folder / "rollouts").glob("*.jsonl"))}


def weights_of(folder):
    return (folder / "final" / "model.safetensors").read_bytes()


@pytest.mark.timeout(1200)
def test_killed_at_three_points_a_run_ends_as_if_undisturbed(command, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    Run(command, whole).finish()
    expected = steps_of(whole)
    assert [line["step"] for line in expected] == list(range(1, STEPS + 1))
    assert all(line["policy/grad_norm"] > 0 for line in expected)

    # In mid-step, two steps after no checkpoint but the first.
    run = Run(command, broken)
    run.until(lambda: (broken / "metrics.jsonl").is_file() and len(read(broken / "metrics.jsonl")) >= 3)
    run.kill()
    assert checkpoints.newest(broken / "checkpoints")[0] == 2

    # In the middle of writing a checkpoint.
    run = Run(command, broken)
    run.until((broken / "checkpoints" / ".step_4.partial").is_dir, every=0.0005)
    run.kill()
    assert checkpoints.newest(broken / "checkpoints")[0] == 2
    assert (broken / "checkpoints" / ".step_4.partial").is_dir()

    # Right after a checkpoint was committed, while the next step samples.
    run = Run(command, broken)
    run.until((broken / "checkpoints" / "step_4" / checkpoints.MARKER).is_file)
    run.kill()

    Run(command, broken).finish()
    assert steps_of(broken) == expected
    assert rollouts_of(broken) == rollouts_of(whole)
    assert weights_of(broken) == weights_of(whole)
    assert json.loads((broken / "summary.json").read_text())["restarts"] == 3
