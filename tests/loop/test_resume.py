"""The real command, killed and continued: the remaining steps are those of an undisturbed run, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from srm_ray.runs import checkpoints
from srm_ray.runs.metrics import read, without_times

ROOT = Path(__file__).parents[2]
STEPS = 7
PATIENCE = 300  # seconds for a run to come to the point wanted of it


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    """The command line of a small deterministic run, less its run folder."""
    data = tmp_path_factory.mktemp("data") / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"What is {n} + {n + 1}?"}) + "\n" for n in range(50)))
    options = {
        "model": str(tiny_model),
        "data.path": str(data),
        "reward": "tests.loop.parity_reward:reward",
        "steps": str(STEPS),
        "prompts_per_step": "4",
        "max_refill": "40",
        "eval.problems": "0",
        "checkpoint.every": "2",
        "rollout.max_new_tokens": "48",
        "rollout.kv_cache_gb": "0.25",
        "learner.lr": "1e-3",
    }
    return [
        sys.executable,
        "-m",
        "srm_ray.grpo",
        *(word for key, value in options.items() for word in (f"--{key}", value)),
    ]


class Run:
    """One start of the command, its processes marked so that what is left of it can be found."""

    def __init__(self, command, folder):
        self.mark = f"SRM_RAY_TEST={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.log = folder.with_suffix(".log").open("a")
        environment = {key: text for key, text in os.environ.items() if key != "RAY_ADDRESS"} | {name: value}
        self.process = subprocess.Popen(
            [*command, "--run_dir", str(folder)], cwd=ROOT, env=environment, stdout=self.log, stderr=self.log
        )

    def until(self, reached):
        """Wait for `reached()`, looking often: some moments are short."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert self.process.poll() is None, Path(self.log.name).read_text()[-3000:]
            assert time.monotonic() < deadline, Path(self.log.name).read_text()[-3000:]
            time.sleep(0.0005)

    def kill(self):
        """SIGKILL the driver; its actors and engines must go by themselves (Ray's agents take a minute)."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.expect_nothing_left(but=(b"ray::DashboardAgent", b"ray::RuntimeEnvAgent"))

    def finish(self):
        assert self.process.wait(timeout=PATIENCE) == 0, Path(self.log.name).read_text()[-3000:]
        self.expect_nothing_left()

    def expect_nothing_left(self, but=()):
        deadline = time.monotonic() + 60
        while left := [found for found in self.processes() if not found[1].startswith(but)]:
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.5)

    def processes(self):
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append((path.parent.name, (path.parent / "cmdline").read_bytes()[:80]))
            except (OSError, ProcessLookupError):
                continue
        return found


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
    run.until((broken / "checkpoints" / ".step_4.partial").is_dir)
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
