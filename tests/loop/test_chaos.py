"""An asynchronous run whose parts are killed at random ends with the steps asked for, and its record repeats it."""

import contextlib
import random
import signal
import subprocess
import time

import psutil
import pytest

from srm_ray.runs.metrics import read
from tests.loop.command_run import PATIENCE, Run, completions, events, run_here, small_run, steps_of
from tests.same import same_steps, same_weights

pytestmark = pytest.mark.integration

STEPS = 16
EVERY = 8.0, 3  # seconds or steps between two deaths, whatever comes first
KINDS = {"driver", "rollout actor", "reward actor", "grading process", "learner rank"}  # one of each dies


@pytest.fixture(scope="module")
def command(tiny_model, tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "prompts.jsonl"
    options = {"max_staleness": "1", "checkpoint.every": "1", "recovery.restarts": "100", "recovery.backoff": "0"}
    return small_run(tiny_model, data, steps=str(STEPS), **options)


def victims(run):
    """Processes of each part of the run, by what they are."""
    found = {"driver": [psutil.Process(run.process.pid)]}
    for pid, _ in run.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid))
            title, parent = " ".join(process.cmdline()), process.parent()
            owner = " ".join(parent.cmdline()) if parent else ""
            if title.startswith("ray::rollout-"):
                found.setdefault("rollout actor", []).append(process)
            elif title.startswith(("ray::reward-", "ray::RewardWorker")):
                found.setdefault("reward actor", []).append(process)
            elif owner.startswith(("ray::reward-", "ray::RewardWorker")):
                found.setdefault("grading process", []).append(process)
            elif title.startswith("ray::learner-"):
                found.setdefault("learner rank", []).append(process)
    return found


def strike(run, draw, struck):
    """Kill one of a kind that was not struck so far. Returns what it was; "" where none of them is there just now."""
    there = victims(run)
    if not (left := sorted(there.keys() - set(struck))):
        return ""
    kind = draw.choice(left)
    with contextlib.suppress(psutil.NoSuchProcess):
        draw.choice(there[kind]).send_signal(signal.SIGKILL)
        struck.append(kind)
        return kind
    return ""  # it had just ended


def at_work(folder, before):
    """Whether the driver that started after so many events has done a step: what cannot start is an error, no death."""
    started = [event["step"] for event in events(folder)[before:] if event["event"] == "started"]
    return started and any(line["step"] > started[0] for line in steps_of(folder))


@pytest.mark.timeout(2400)
def test_random_deaths_every_few_seconds(ray_session, command, tmp_path):
    folder, draw, struck = tmp_path / "run", random.Random(7), []
    run = Run(command, folder)
    before, due, deadline = 0, (0.0, 0), time.monotonic() + 3 * PATIENCE
    while run.process.poll() is None:
        assert time.monotonic() < deadline, run.text()[-3000:]
        now = time.monotonic(), len(steps_of(folder))
        if set(struck) < KINDS and at_work(folder, before) and (now[0] >= due[0] or now[1] >= due[1]):
            died = strike(run, draw, struck)
            due = (now[0] + EVERY[0], now[1] + EVERY[1]) if died else due
            if died == "driver":
                run.kill()
                before, run = len(events(folder)), Run(command, folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(0.2)
    assert run.process.returncode == 0, f"after {struck}: {run.text()[-3000:]}"
    run.expect_nothing_left()
    assert set(struck) == KINDS, struck

    steps = read(folder / "metrics.jsonl")
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    keys = [(line["prompt_index"], line["draw"], line["sample"]) for line in completions(folder)]
    assert len(set(keys)) == len(keys), "none is recorded twice"
    missing = set(range(max(index for index, _, _ in keys) + 1)) - {index for index, _, _ in keys}
    assert len(missing) <= 16, "only those under way at the end"
    trained = [(line["prompt_index"], line["sample"]) for line in completions(folder) if line["kept"]]
    assert len(set(trained)) == len(trained) == STEPS * 4 * 8, "each group is trained on once"
    assert all(line["staleness/max"] <= 1 for line in steps)
    restarted = {event["role"] for event in events(folder) if event["event"] == "restarted"}
    assert restarted == {"rollout", "reward", "learner"}

    repeated = tmp_path / "repeated"
    run_here([*command, "--replay", str(folder)], repeated)
    names = (
        "policy/loss",
        "policy/grad_norm",
        "policy/entropy",
        "reward/mean",
        "staleness/mean",
        "groups/dropped_stale",
    )
    same_steps(read(repeated / "metrics.jsonl"), steps, names)
    same_weights(repeated / "final", folder / "final")
