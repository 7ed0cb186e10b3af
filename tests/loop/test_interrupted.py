"""Ctrl-C in each phase of the real command: status 130, how to go on, no process and nothing half-written."""

import pytest

from srm_ray.runs import checkpoints
from tests.loop.command_run import PATIENCE, Run, small_run, steps_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

PHASES = {
    "Ray starts": lambda run, folder: any(b"gcs_server" in command for _, command in run.processes()),
    "workers start": lambda run, folder: "run folder" in run.text(),
    "a step": lambda run, folder: len(steps_of(folder)) >= 3,
    "a checkpoint is written": lambda run, folder: (folder / "checkpoints" / ".step_2.partial").is_dir(),
}


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    return small_run(tiny_model, tmp_path_factory.mktemp("data") / "prompts.jsonl", steps="1000")


@pytest.mark.parametrize("phase", PHASES)
def test_the_first_ends_in_order(command, tmp_path, phase):
    folder = tmp_path / "run"
    run = Run(command, folder, foreground=True)
    run.until(lambda: PHASES[phase](run, folder), every=0.005)
    run.press_ctrl_c()
    assert run.process.wait(PATIENCE) == 130, run.text()[-3000:]
    run.expect_nothing_left()
    found = checkpoints.newest(folder / "checkpoints")
    step = f"the same command goes on after step {found[0]}" if found else "nothing was saved yet"
    assert run.text().splitlines()[-1].startswith(f"interrupted; {step}")
    assert (found is None) == (phase in ("Ray starts", "workers start"))
    assert not [path for path in folder.rglob("*") if path.name.endswith(".partial")]
    assert not (folder / "final").exists()
    assert "Traceback" not in run.text()


def test_the_second_ends_at_once(command, tmp_path):
    folder = tmp_path / "run"
    run = Run(command, folder, foreground=True)
    run.until(lambda: steps_of(folder))
    run.press_ctrl_c()
    run.until(lambda: "interrupted: " in run.text())
    run.press_ctrl_c()
    assert run.process.wait(PATIENCE) == 130
    run.expect_nothing_left()
    assert "Traceback" not in run.text()
