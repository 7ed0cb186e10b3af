"""Ray's own processes killed under the real command: one line that says so and how to go on, and nothing left."""

import os
import signal

import pytest

from srm_ray.runs import checkpoints
from tests.loop.command_run import PATIENCE, Run, small_run, steps_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_the_command_says_that_ray_has_died_and_goes_on_afterwards(tiny_model, tmp_path, name):
    command, folder = small_run(tiny_model, tmp_path / "prompts.jsonl", steps="1000"), tmp_path / "run"
    run = Run(command, folder)
    run.until(lambda: len(steps_of(folder)) >= 3)
    (pid,) = [int(pid) for pid, words in run.processes() if words.split(b"\0")[0].endswith(b"/" + name.encode())]
    os.kill(pid, signal.SIGKILL)
    assert run.process.wait(PATIENCE) == 1, run.text()[-3000:]
    step, _ = checkpoints.newest(folder / "checkpoints")
    last = run.text().splitlines()[-1]
    assert last.startswith(f"run failed: Ray's {name} on this machine (process {pid}) has died")
    said = int(last.rpartition("the same command goes on after step ")[2])
    assert step - 2 <= said <= step, "of two, the last checkpoint may have been written when it was said"
    run.expect_nothing_left()
    assert "Traceback" not in run.text()
