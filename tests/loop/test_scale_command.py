"""`python -m srm_ray.scale` against a run that is going on: from one rollout worker to two and back."""

import signal
import subprocess
import sys

import pytest

from tests.loop.command_run import PATIENCE, ROOT, Run, completions, events, small_run, steps_of

pytestmark = pytest.mark.integration


def scale(folder, count):
    command = [sys.executable, "-m", "srm_ray.scale", "--run", str(folder), "--rollouts", str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def workers_of(folder, steps):
    """Who sampled what was judged in these steps."""
    names = {f"step_{step:06d}.jsonl" for step in steps}
    assert all((folder / "rollouts" / name).is_file() for name in names)
    return {line["worker"] for line in completions(folder, names)}


@pytest.mark.timeout(1500)
def test_from_one_to_two_to_one(tiny_model, tmp_path):
    options = {"max_staleness": "1", "rollout.cpus": "0.5", "checkpoint.every": "1000", "steps": "100000"}
    command = small_run(tiny_model, tmp_path / "prompts.jsonl", **options)
    folder = tmp_path / "run"
    run = Run(command, folder)

    def now():
        return len(steps_of(folder))

    try:
        run.until(lambda: now() >= 2)
        scale(folder, 2)
        run.until(lambda: any(event["event"] == "first_group" for event in events(folder)))
        two = now()
        run.until(lambda: now() >= two + 4)
        scale(folder, 1)
        one = now()
        run.until(lambda: now() >= one + 6)
    finally:
        run.process.send_signal(signal.SIGKILL)
        run.kill()

    told = [event for event in events(folder) if event.get("role") == "rollout"]
    assert [event["event"] for event in told] == ["scaled", "joined", "first_group", "scaled", "left"]
    assert [event["workers"] for event in told if event["event"] == "scaled"] == [2, 1]
    assert {event["worker"] for event in told if "worker" in event} == {"rollout-1"}
    assert steps_of(folder)[two + 1]["rollout/workers"] == 2
    assert steps_of(folder)[one + 1]["rollout/workers"] == 1
    assert workers_of(folder, range(two + 1, two + 5)) == {"rollout-0", "rollout-1"}
    assert workers_of(folder, range(one + 4, one + 7)) == {"rollout-0"}

    keys = [(line["prompt_index"], line["draw"], line["sample"]) for line in completions(folder)]
    assert len(set(keys)) == len(keys), "nothing is sampled twice"
    kept = [(line["prompt_index"], line["sample"]) for line in completions(folder) if line["kept"]]
    assert len(set(kept)) == len(kept), "nothing is trained on twice"
    missing = set(range(max(index for index, _, _ in keys) + 1)) - {index for index, _, _ in keys}
    assert len(missing) <= 16, "only those under way at the end"
