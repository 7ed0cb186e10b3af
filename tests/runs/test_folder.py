"""What a run folder says before any work begins."""

import os
from pathlib import Path

import pytest

from srm_ray.errors import UserError
from srm_ray.files.journal import Journal
from srm_ray.runs.folder import RunFolder


def test_a_folder_that_cannot_be_made_is_told_and_one_that_can_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--run_dir .*file/run: Not a directory"):
        RunFolder(tmp_path / "file" / "run", stage="sft").check_writable()
    RunFolder(tmp_path / "run", stage="sft").check_writable()
    assert not (tmp_path / "run").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("steps: 1")
    RunFolder(tmp_path / "old", stage="sft").check_writable()
    assert (tmp_path / "old" / "config.yaml").read_text() == "steps: 1"


def test_no_run_writes_through_a_link_or_into_a_pipe(tmp_path: Path) -> None:
    """A run folder from elsewhere may hold `metrics.jsonl -> ~/.bashrc`."""
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.write_text("mine")
    for name, make in (
        ("metrics.jsonl", lambda path: path.symlink_to(other)),
        ("events.jsonl", os.mkfifo),
        ("config.yaml", lambda path: path.symlink_to("/dev/zero")),
        ("trackers.json", lambda path: path.symlink_to(tmp_path / "nothing")),
    ):
        make(run / name)
        with pytest.raises(UserError, match=f"{name} is a link, a pipe or a device"):
            RunFolder(run, stage="sft").create()
        (run / name).unlink()
    RunFolder(run, stage="sft").create()
    assert other.read_text() == "mine"


def test_events_that_are_no_text_end_where_they_do(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, stage="grpo")
    folder.events.write_bytes(b'{"event": "started"}\n[1]\n\xff\xfe\n{"event": "later"}\n')
    assert folder.read_events() == [{"event": "started"}]


@pytest.mark.parametrize("line", [b"[" * 100_000, b"[1]", b"7", b"\xff", b"9" * 5000])
def test_a_journal_of_other_lines_is_told_in_one_line(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(UserError, match=r"journal\.jsonl:2 is not a line that this program wrote"):
        Journal(tmp_path / "journal.jsonl").lines()
