"""The real command as a process of its own, with everything that it starts marked so that it can be found."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import read

ROOT = Path(__file__).parents[2]
PATIENCE = 900  # seconds for a run to come to the point wanted of it


def small_run(model: Path, data: Path, **options: str) -> list[str]:
    """The command line of a small run that a random model earns rewards in, less its run folder.

    data: file to write its problems to; they have no answers, so the reward function says what is right.
    """
    data.write_text("".join(json.dumps({"prompt": f"What is {n} + {n + 1}?"}) + "\n" for n in range(50)))
    given = {
        "config": "grpo/tiny",
        "model": str(model),
        "data.path": str(data),
        "reward": "tests.loop.parity_reward:reward",
        "prompts_per_step": "4",
        "max_refill": "40",
        "eval.problems": "0",
        "rollout.workers": "1",
        "checkpoint.every": "2",
        "rollout.max_new_tokens": "48",
        "rollout.kv_cache_gb": "0.25",
        "learner.lr": "1e-3",
        **options,
    }
    words = (word for key, value in given.items() for word in (f"--{key}", value))
    return [sys.executable, "-m", "srm_ray.grpo", *words]


class Marked:
    """A command, with all processes that it starts marked so that what is left of them can be found.

    cluster: address of the Ray that it is to join; "local": one of its own. foreground: it has a process group of its
    own, as a command in a terminal has.
    """

    def __init__(self, command, log, *, cluster="", foreground=False):
        self.mark = f"SRM_RAY_TEST={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.log = log.open("a")
        environment = os.environ | {name: value, "RAY_ADDRESS": cluster}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=self.log,
            stderr=self.log,
            process_group=0 if foreground else None,
        )

    def press_ctrl_c(self):
        """What a terminal does: the signal goes to all processes of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def text(self):
        return Path(self.log.name).read_text()

    def expect_nothing_left(self, but=()):
        deadline = time.monotonic() + 180
        while left := [found for found in self.processes() if not found[1].startswith(but)]:
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.5)

    def processes(self):
        """(pid, command line) of all that this command started."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append((path.parent.name, (path.parent / "cmdline").read_bytes()))
            except (OSError, ProcessLookupError):
                continue
        return found


class Run(Marked):
    """One start of the GRPO command."""

    def __init__(self, command, folder, *, cluster="local", foreground=False):
        words = [*command, "--run_dir", str(folder)]
        super().__init__(words, folder.with_suffix(".log"), cluster=cluster, foreground=foreground)

    def until(self, reached, every=0.05):
        """Wait for `reached()`, which is looked at every so many seconds: some moments are short."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert self.process.poll() is None, self.text()[-3000:]
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(every)

    def kill(self):
        """SIGKILL the driver; its actors and engines must go by themselves (Ray's agents take a minute)."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.expect_nothing_left(but=(b"ray::DashboardAgent", b"ray::RuntimeEnvAgent"))

    def finish(self):
        assert self.process.wait(timeout=PATIENCE) == 0, self.text()[-3000:]
        self.expect_nothing_left()


def run_here(command, folder):
    """The command that `small_run` makes, in this process and on its Ray (`ray_session`): a driver and a Ray less."""
    from srm_ray import grpo

    module = command.index("srm_ray.grpo")
    assert grpo.main([*command[module + 1 :], "--run_dir", str(folder)]) == 0


def until(reached, seconds=PATIENCE, why=lambda: ""):
    """Wait for `reached()`, which is looked at often. Returns it; why: said when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)
    return found


def completions(folder, names=()):
    """Every completion in the record of a run, in order. names: of some of its files."""
    for path in sorted((folder / "rollouts").glob("*.jsonl")):
        if not names or path.name in names:
            yield from map(json.loads, path.read_text().splitlines())


def events(folder):
    return RunFolder(folder, stage="grpo").read_events()


def steps_of(folder):
    """The lines of a run's log; none before there is one."""
    path = folder / "metrics.jsonl"
    return read(path) if path.is_file() else []
