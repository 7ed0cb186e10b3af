"""A run folder is data, whatever is in it: what reads one ends in one line, or reads it."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewards.code import forms
from srm_ray import replay
from srm_ray.data import formats
from srm_ray.data.mapping import ABSENT, within
from srm_ray.environments.talk import row_of
from srm_ray.errors import UserError, one_line
from srm_ray.model.lineage import read_lineage
from srm_ray.report.evaluation_files import read_evaluation
from srm_ray.report.page import write_report
from srm_ray.rl import state
from srm_ray.runs import checkpoints, rollout_log
from srm_ray.runs.folder import RunFolder
from tests.report import example_run

DEEP = "[" * 100_000 + "]" * 100_000
NUMBERS = ["policy/loss", "policy/grad_norm", "policy/entropy", "policy/mismatch_kl", "policy/lr", "weights/version"]
VALUES: list[Any] = [
    None, [], {}, True, -1, 10**30, 10**400, float("inf"), float("nan"), "", "\x1b]52;c;aGk=\x07", "²", [[[]]],
    {"a": {"b": 1}}, [None], 2**63, "../../etc/passwd",
]  # fmt: skip


def made(path: Path) -> RunFolder:
    folder = example_run.make(path, steps=2)
    example_run.add_episode(folder, 1)
    folder.record_event("started", step=0, model="m", learner={"threads": 1})
    lines = [json.loads(line) | dict.fromkeys(NUMBERS, 1) for line in folder.metrics.read_text().splitlines()]
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder.path / "lineage.json").write_text(json.dumps({"stage": "grpo", "data": {"a": "b"}, "commit": "c"}))
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    suite = {"suite": "s", "metric": "exact", "score": score, "parent": score, "model": score, "delta": 0.1}
    (folder.path / "results.json").write_text(json.dumps({"model": "m", "suites": {"s": suite}}))
    (folder.path / "tax.json").write_text(json.dumps({"model": "m", "parent": "p", "suites": [suite]}))
    saved = checkpoints.folder_of(folder.checkpoints, 1)
    saved.mkdir(parents=True)
    (saved / checkpoints.MARKER).touch()
    state.write(saved, state.State(step=1))
    return folder


def spoil(path: Path, draw: random.Random) -> None:
    """One value of a file changed or taken out, or its bytes."""
    content = path.read_bytes()
    kinds: list[Callable[[], bytes]] = [
        lambda: DEEP.encode(),
        lambda: content[: draw.randrange(len(content))],
        lambda: b"\xff\xfe\x00" + content,
        lambda: content.replace(b"1", b"9" * 6000, 1),
        lambda: json.dumps(draw.choice(VALUES)).encode(),
        lambda: b"",
    ]
    if path.suffix == ".yaml" or draw.random() < 0.3:
        path.write_bytes(draw.choice(kinds)())
        return
    lines = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
    number = draw.randrange(len(lines))
    row = json.loads(lines[number])
    places = list(places_of(row))
    node, name = draw.choice(places)
    node[name] = draw.choice(VALUES)
    if draw.random() < 0.3:
        del node[name]
    path.write_text("\n".join([*lines[:number], json.dumps(row), *lines[number + 1 :], ""]))


def places_of(node: Any) -> Any:
    for name in node if isinstance(node, dict) else range(len(node)):
        yield node, name
        if isinstance(node[name], dict | list):
            yield from places_of(node[name])


READERS: list[Callable[[RunFolder], Any]] = [
    write_report,
    lambda folder: replay.make_plan(folder, 2),
    lambda folder: rollout_log.read_all(folder.rollouts, 1),
    lambda folder: state.read(checkpoints.folder_of(folder.checkpoints, 1)),
    lambda folder: read_evaluation(folder.path),
    lambda folder: read_lineage(folder.path),
]


@pytest.mark.parametrize("part", range(4))
def test_a_spoiled_folder_is_read_or_refused_in_one_line(tmp_path: Path, part: int) -> None:
    folder = made(tmp_path / "r")
    files = {path: path.read_bytes() for path in folder.path.rglob("*") if path.suffix in (".json", ".jsonl", ".yaml")}
    assert len(files) == 12 and all(map(is_read, READERS, [folder] * len(READERS)))
    for seed in range(part, 4 * len(files) * 2, 4):
        draw = random.Random(seed)
        path = sorted(files)[seed // 4 % len(files)]
        spoil(path, draw)
        for reader in READERS:
            is_read(reader, folder)
        path.write_bytes(files[path])


def is_read(reader: Callable[[RunFolder], Any], folder: RunFolder) -> bool:
    try:
        reader(folder)
    except UserError as error:
        assert len(one_line(error)) < 2100
        return False
    return True


STARTS: list[dict[str, Any]] = [
    {"step": [1]}, {"step": 0}, {"step": 0, "model": 1, "learner": {}}, {"step": 0, "model": "m", "learner": 5}
]  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_a_start_that_says_too_little_is_none_to_replay_from(tmp_path: Path, start: dict[str, Any]) -> None:
    folder = made(tmp_path / "r")
    folder.events.write_text(json.dumps({"event": "started", **start}) + "\n")
    with pytest.raises(UserError, match="does not say how it was started"):
        replay.make_plan(folder, 2)


def test_a_step_logged_without_its_numbers_is_not_replayed(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    assert replay.make_plan(folder, 2).first == 1
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    folder.metrics.write_text("".join(json.dumps(line | {"policy/lr": "x"}) + "\n" for line in lines))
    with pytest.raises(UserError, match="has no number for policy/lr in step 2"):
        replay.make_plan(folder, 2)


def test_names_of_steps_that_are_none_are_passed_over(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    for name in ("²", "x", "9" * 200):
        (folder.rollouts / f"step_{name}.jsonl").touch()
        (folder.checkpoints / f"step_{name}").mkdir()
        (folder.checkpoints / f"step_{name}" / checkpoints.MARKER).touch()
    assert [step for step, _ in checkpoints.complete(folder.checkpoints)] == [1]
    rollout_log.discard_after(folder.rollouts, 1)
    assert not rollout_log.path_of(folder.rollouts, 2).exists()
    assert write_report(folder).is_file()


def test_numbers_of_an_evaluation_that_are_none_are_left_out(tmp_path: Path) -> None:
    for value in (10**400, float("inf"), float("nan"), True, "x"):
        suite = {"suite": "s", "score": {"value": value, "low": value, "high": 1}, "delta": value}
        for name in ("results", "tax"):
            (tmp_path / f"{name}.json").write_text(json.dumps({"suites": [suite]}))
        found = read_evaluation(tmp_path)
        assert (found.scores[0][2:4], found.tax[0][3]) == (["–", "–"], "–")


def test_deep_json_within_a_row_is_text() -> None:
    assert within({"a": DEEP}, "a.0") is ABSENT
    assert within({"a": [1]}, "a.²") is ABSENT
    assert forms.plain(DEEP) == DEEP
    with pytest.raises(UserError):
        row_of('{"a": ' + DEEP + "}")


@pytest.mark.parametrize("content", [DEEP, '[{"a": ' + "9" * 5000 + "}]", '{\n"a": ' + DEEP + "}"])
def test_a_json_file_of_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content + "\n" + content)
    with pytest.raises(UserError, match=r"rows\.json:\d"):
        list(formats.rows(path))
