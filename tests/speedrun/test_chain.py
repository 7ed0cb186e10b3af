"""Stages in a row: done ones are skipped, killed ones continue, changed ones start over, failed ones stop the chain."""

import json
from pathlib import Path

import pytest

from srm_ray.errors import UserError
from srm_ray.speedrun import chain


class Work:
    """Counts its calls, leaves a product, and ends with `status`."""

    def __init__(self, folder: Path, status: int = 0):
        self.folder, self.status, self.calls, self.found = folder, status, 0, False

    def __call__(self) -> int:
        self.calls += 1
        self.found = (self.folder / "part").is_file()
        (self.folder / "part").write_text("x")
        if self.status == 0:
            (self.folder / "summary.json").write_text("{}")
        return self.status


def test_a_stage_that_is_done_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "sft"
    work = Work(folder)
    first = chain.run_stage("sft", folder, {"model": "a"}, work)
    again = chain.run_stage("sft", folder, {"model": "a"}, work)
    assert work.calls == 1
    assert first == again and again.done and again.tries == 1
    assert "sft: done already" in capsys.readouterr().out


def test_without_its_summary_a_stage_is_not_done(tmp_path: Path) -> None:
    work = Work(tmp_path / "sft")
    chain.run_stage("sft", work.folder, {"model": "a"}, work)
    (work.folder / "summary.json").unlink()
    chain.run_stage("sft", work.folder, {"model": "a"}, work)
    assert work.calls == 2


def test_changed_inputs_start_a_stage_over_and_say_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(tmp_path / "sft")
    chain.run_stage("sft", work.folder, {"model": "a", "options": "1"}, work)
    record = chain.run_stage("sft", work.folder, {"model": "b", "options": "1", "data": "d"}, work)
    assert work.calls == 2 and not work.found
    assert record.tries == 1
    assert "data, model changed since it was made" in capsys.readouterr().out


def test_a_failed_stage_stops_with_its_status_and_is_continued(tmp_path: Path) -> None:
    work = Work(tmp_path / "sft", status=2)
    with pytest.raises(chain.StageEnded) as ended:
        chain.run_stage("sft", work.folder, {"model": "a"}, work)
    assert (ended.value.name, ended.value.status) == ("sft", 2)
    assert not chain.read(work.folder).done  # type: ignore[union-attr]
    work.status = 0
    record = chain.run_stage("sft", work.folder, {"model": "a"}, work)
    assert work.found, "what the first try left must be there to continue from"
    assert record.done and record.tries == 2


def test_time_of_a_killed_try_counts_until_its_last_file(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    work = Work(folder)
    chain.run_stage("sft", folder, {"model": "a"}, work)
    record = chain.Record({"model": "a"}, started=(folder / "part").stat().st_mtime - 100, seconds=7, tries=1)
    chain.write(folder, record)
    continued = chain.run_stage("sft", folder, {"model": "a"}, work)
    assert 107 <= continued.seconds < 120


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    work = Work(tmp_path)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds files that are no stage of this run"):
        chain.run_stage("sft", tmp_path, {"model": "a"}, work)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    assert work.calls == 0


def test_a_product_is_known_by_content_not_by_where_it_came_from(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "lineage.json").write_text(json.dumps({"parent": name}))
    one, two = (chain.product_fingerprint(tmp_path / name) for name in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weighty")
    assert chain.product_fingerprint(tmp_path / "two") != one
