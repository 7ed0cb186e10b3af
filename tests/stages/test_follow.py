"""What the first rank of a training run tells is shown by the driver: lines, and how far it is."""

import json

from actors.train.follow import Follow
from srm_ray.console.progress import Phase


def record(job: str, step: int, line: str = "", status: str = "") -> str:
    return json.dumps({"job": job, "step": step, "steps": 100, "status": status, "line": line}) + "\n"


def test_lines_are_said_and_the_bar_turns_to_each_job(tmp_path) -> None:
    path, bar, said = tmp_path / "progress.log", Phase("starting"), []
    path.write_text(record("pretrain", 99, "of an earlier try"))
    with Follow(path, bar, said.append, every=0.01), path.open("a") as file:
        file.write(record("pretrain", 40))  # continued: these steps say nothing about the speed
        file.write(record("pretrain", 50, "pretrain 50/100"))
        file.write(record("sft", 0, status="step 1: micro-batch 2 of 8"))
        file.write('{"job": "half a li')
    assert said == ["pretrain 50/100"]
    assert (bar.what, bar.total, bar.done, bar.before) == ("sft", 100, 0, 0)
    assert bar.state().startswith("0 of 100, step 1: micro-batch 2 of 8")


def test_steps_done_before_do_not_count_for_the_time_left(tmp_path) -> None:
    path, bar = tmp_path / "progress.log", Phase("starting")
    with Follow(path, bar, print, every=0.01), path.open("a") as file:
        file.write(record("sft", 40))
    assert bar.before == bar.done == 40
    assert bar.left() is None
