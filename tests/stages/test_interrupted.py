"""Ctrl-C while Ray Train trains: Ray would take it over, and end with status 0."""

import sys

import pytest

from tests.loop.command_run import PATIENCE, Marked, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


def test_ctrl_c_ends_training_in_order(tiny_model, tmp_path):
    folder = tmp_path / "run"
    options = {"model": str(tiny_model), "data.generator": "arithmetic", "data.limit": "2000", "steps": "400"}
    options |= {"epochs": "100", "data.row_length": "128", "optim.batch": "8", "eval.share": "0"}
    options |= {"checkpoint.every": "3", "run_dir": str(folder)}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    run = Marked([sys.executable, "-m", "srm_ray.sft", *words], tmp_path / "sft.log", cluster="local", foreground=True)
    try:
        until((folder / "checkpoints" / "step_3").is_dir, why=run.text)
        run.press_ctrl_c()
        assert run.process.wait(PATIENCE) == 130, run.text()
    finally:
        run.process.kill()
    run.expect_nothing_left()
    assert run.text().splitlines()[-1].startswith("interrupted; the same command goes on after step ")
    assert "Traceback" not in run.text()
    assert not (folder / "final").exists()
