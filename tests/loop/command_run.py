"""The real command as a process of its own, with everything that it starts marked so that it can be found."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds for a run to come to the point wanted of it


def small_run(model: Path, data: Path, **options: str) -> list[str]:
    """The command line of a small run that a random model earns rewards in, less its run folder.

    data: file to write its problems to; they have no answers, so the reward function says what is right.
    """
    data.write_text("".join(json.dumps({"prompt": f"What is {n} + {n + 1}?"}) + "\n" for n in range(50)))
    given = {
        "model": str(model),
        "data.path": str(data),
        "reward": "tests.loop.parity_reward:reward",
        "prompts_per_step": "4",
        "max_refill": "40",
        "eval.problems": "0",
        "checkpoint.every": "2",
        "rollout.max_new_tokens": "48",
        "rollout.kv_cache_gb": "0.25",
        "learner.lr": "1e-3",
        **options,
    }
    words = (word for key, value in given.items() for word in (f"--{key}", value))
    return [sys.executable, "-m", "srm_ray.grpo", *words]


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

    def text(self):
        return Path(self.log.name).read_text()

    def finish(self):
        assert self.process.wait(timeout=PATIENCE) == 0, Path(self.log.name).read_text()[-3000:]
        self.expect_nothing_left()

    def expect_nothing_left(self, but=()):
        deadline = time.monotonic() + 60
        while left := [found for found in self.processes() if not found[1].startswith(but)]:
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.5)

    def processes(self):
        """(pid, start of the command line) of all that this run started."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append((path.parent.name, (path.parent / "cmdline").read_bytes()[:80]))
            except (OSError, ProcessLookupError):
                continue
        return found
