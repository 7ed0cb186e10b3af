"""A writer that is killed at any moment leaves the old or the new, and the same work afterwards gives the new."""

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from srm_ray import export
from srm_ray.evaluation.samples import SampleFile
from srm_ray.files.atomic import append, discard, replacing, write_atomically
from srm_ray.files.journal import Journal
from srm_ray.runs import checkpoints, final
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog, read
from srm_ray.speedrun import chain
from tests.files.faults import content, kill_everywhere


def tree(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / name).write_text(text)


def test_a_file(tmp_path) -> None:
    def work(folder: Path) -> None:
        write_atomically(folder / "file", "new")

    for folder in kill_everywhere(tmp_path, lambda folder: write_atomically(folder / "file", "old"), work):
        assert (folder / "file").read_text() in ("old", "new")
        work(folder)
        assert content(folder) == {"file": b"new"}


def test_a_file_that_others_write_too(tmp_path) -> None:
    left = tmp_path / ".file.4711.partial"
    left.write_text("half")
    write_atomically(tmp_path / "file", "new", shared=True)
    assert content(tmp_path) == {"file": b"new", left.name: b"half"}  # whose writer may be at it
    os.utime(left, (0, 0))
    write_atomically(tmp_path / "file", "newer", shared=True)
    assert content(tmp_path) == {"file": b"newer"}


def test_a_folder(tmp_path) -> None:
    def work(folder: Path) -> None:
        with replacing(folder / "model") as partial:
            tree(partial, "new")

    whole = [{name: text for name in "abc"} for text in (b"old", b"new")]
    for folder in kill_everywhere(tmp_path, lambda folder: tree(folder / "model", "old"), work):
        assert not (folder / "model").exists() or content(folder / "model") in whole
        work(folder)
        assert content(folder) == {f"model/{name}": b"new" for name in "abc"}


def test_a_folder_that_is_removed(tmp_path) -> None:
    for folder in kill_everywhere(
        tmp_path, lambda folder: tree(folder / "model", "old"), lambda folder: discard(folder / "model")
    ):
        assert not (folder / "model").exists() or len(content(folder / "model")) == 3
        discard(folder / "model")
        assert content(folder) == {}


def checkpoint(root: Path, step: int) -> None:
    with checkpoints.writing(root, step, keep=1) as partial:
        tree(partial / "state", str(step))


@pytest.mark.parametrize("again", [False, True], ids=["a new one", "the same step again"])
def test_a_checkpoint(tmp_path, again) -> None:
    step = 1 if again else 2
    for folder in kill_everywhere(tmp_path, lambda root: checkpoint(root, 1), lambda root: checkpoint(root, step)):
        for number, path in checkpoints.complete(folder):
            assert content(path / "state") == {name: str(number).encode() for name in "abc"}
        assert again or checkpoints.newest(folder) is not None
        checkpoint(folder, step)
        assert [path.name for path in folder.iterdir()] == [f"step_{step}"]


def test_checkpoints_that_a_run_started_over_removes(tmp_path) -> None:
    def before(folder: Path) -> None:
        checkpoint(folder / "checkpoints", 1)
        tree(folder / "final", "old")
        (folder / "config.yaml").write_text("steps: 1\n")

    def work(folder: Path) -> None:
        RunFolder(folder, stage="grpo").clear()

    for folder in kill_everywhere(tmp_path, before, work):
        for _, path in checkpoints.complete(folder / "checkpoints"):
            assert len(content(path / "state")) == 3
        assert not (folder / "final").exists() or len(content(folder / "final")) == 3
        work(folder)
        assert content(folder) == {}


def test_the_final_model(tmp_path) -> None:
    async def export(path: Path, step: int) -> None:
        for name in "abc":
            (path / name).write_text(f"step {step}")

    def work(folder: Path, step: int = 2) -> None:
        asyncio.run(final.write_final(RunFolder(folder, stage="grpo"), export, step, None))

    for folder in kill_everywhere(tmp_path, lambda folder: work(folder, 1), work):
        made = content(folder / "final")
        assert made in ({}, *({name: f"step {step}".encode() for name in "abc"} for step in (1, 2)))
        work(folder)
        assert content(folder) == {f"final/{name}": b"step 2" for name in "abc"}


def item(index: int) -> Any:
    """A problem, as far as its samples need one."""
    return SimpleNamespace(index=index)


def said(text: str) -> Any:
    return [text]


def lines_of(index: int, text: str) -> list[dict[str, object]]:
    return [{"prompt_index": index, "sample": number, "completion": text} for number in range(2)]


def test_samples_of_an_evaluation(tmp_path) -> None:
    def before(folder: Path) -> None:
        one = SampleFile(folder / "samples" / "suite.jsonl", 2)
        one.add(1, lines_of(1, "one"))
        with one.path.open("a") as file:
            file.write(json.dumps(lines_of(0, "nought")[0]) + '\n{"prompt_')

    def work(folder: Path) -> None:
        one = SampleFile(folder / "samples" / "suite.jsonl", 2)
        for index, text in ((0, "nought"), (1, "one")):
            if index not in one.done:
                one.add(index, lines_of(index, text))
        one.finish([0, 1])

    whole = [lines_of(0, "nought"), lines_of(1, "one")]
    for folder in kill_everywhere(tmp_path, before, work):
        assert SampleFile(folder / "samples" / "suite.jsonl", 2).done[1] == whole[1]
        work(folder)
        made = (folder / "samples" / "suite.jsonl").read_text()
        assert made == "".join(json.dumps(line) + "\n" for lines in whole for line in lines)
        assert list(content(folder)) == ["samples/suite.jsonl"]


def stage(folder: Path, inputs: dict[str, str]) -> None:
    def work() -> int:
        for name in "abc":
            write_atomically(folder / "stage" / name, inputs["text"])
        write_atomically(folder / "stage" / "summary.json", "{}")
        return 0

    chain.run_stage("stage", folder / "stage", inputs, work)


def test_a_stage_of_a_chain_that_is_made_again(tmp_path) -> None:
    """Killed while the old one is removed, the old inputs do not find what is left of it."""
    old, new = {"text": "old"}, {"text": "new"}
    for folder in kill_everywhere(tmp_path, lambda folder: stage(folder, old), lambda folder: stage(folder, new)):
        for inputs in (old, new):
            stage(folder, inputs)
            assert [(folder / "stage" / name).read_text() for name in "abc"] == [inputs["text"]] * 3


def test_an_export(tmp_path) -> None:
    def made(folder: Path, text: str) -> None:
        for part in ("final", "gguf"):
            tree(folder / ".partial" / part, text)
        run = RunFolder(folder, stage="export")
        export.put_in_place(folder / ".partial", run)
        (folder / ".partial").rmdir()
        run.write_summary({"made": text})

    def work(folder: Path, text: str = "new") -> None:
        discard(folder / ".partial")
        made(folder, text)

    for folder in kill_everywhere(tmp_path, lambda folder: made(folder, "old"), work):
        found = RunFolder(folder, stage="export").read_summary()
        if found:  # then all of it is there
            for part in ("final", "gguf"):
                assert content(folder / part) == {name: found["made"].encode() for name in "abc"}
        work(folder)
        assert content(folder / "final") == content(folder / "gguf") == {name: b"new" for name in "abc"}


def test_metrics_of_a_continued_run(tmp_path) -> None:
    def log(folder: Path) -> MetricsLog:
        return MetricsLog(folder / "metrics.jsonl")

    def before(folder: Path) -> None:
        for step in range(1, 5):
            log(folder).write({"step": step, "policy/loss": 0.5})
        (folder / "metrics.jsonl").open("a").write('{"step": 5, "poli')

    def work(folder: Path) -> None:
        one = log(folder)
        one.after(3)
        one.write({"step": 4, "policy/loss": 0.25})

    for folder in kill_everywhere(tmp_path, before, work):
        assert [line["step"] for line in read(folder / "metrics.jsonl")][:3] == [1, 2, 3]
        work(folder)
        assert [line["step"] for line in read(folder / "metrics.jsonl")] == [1, 2, 3, 4]


def test_events_go_on_after_half_a_line(tmp_path) -> None:
    folder = RunFolder(tmp_path, stage="grpo")
    folder.record_event("started", step=0)
    with folder.events.open("a") as file:
        file.write('{"event": "sto')
    folder.record_event("continued", step=3)
    assert [event["event"] for event in folder.read_events()] == ["started", "continued"]


def test_a_journal_goes_on_after_half_a_line(tmp_path) -> None:
    path = tmp_path / "answers.jsonl"
    first = Journal(path)
    first.add({"index": 0})
    first.close()
    for half in ('{"ind', '{"index": "' + "long " * 50_000):
        with path.open("a") as file:
            file.write(half)
        again = Journal(path)
        assert again.lines() == [{"index": 0}]
        again.add({"index": 1})
        again.close()
        assert Journal(path).lines() == [{"index": 0}, {"index": 1}]
        path.write_text(path.read_text().splitlines(keepends=True)[0])


def test_a_text_that_utf8_cannot_hold_is_a_line_all_the_same(tmp_path) -> None:
    text = json.loads('"half a pair: \\ud800, and ž"')
    journal = Journal(tmp_path / "answers.jsonl")
    journal.add({"text": text})
    journal.close()
    assert Journal(tmp_path / "answers.jsonl").lines() == [{"text": text}]


def test_lines_appended_to_a_file_of_half_a_line_alone(tmp_path) -> None:
    (tmp_path / "log").write_text("half")
    append(tmp_path / "log", "whole\n")
    assert (tmp_path / "log").read_text() == "whole\n"
