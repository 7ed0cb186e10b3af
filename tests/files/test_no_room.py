"""A disk without room, a folder that may not be written, too many open files: one line with the file, nothing half."""

import errno
import fcntl
import itertools
import os
import re
from pathlib import Path

import numpy as np
import pytest

from srm_ray.console import output
from srm_ray.console.command import within
from srm_ray.data import arithmetic
from srm_ray.data.generated import write_lines
from srm_ray.data.packing import pack, save_rows
from srm_ray.errors import RunError, UserError, one_line
from srm_ray.files import lock
from srm_ray.files.atomic import append, replacing, replacing_file, write_atomically
from srm_ray.files.faults import line_of, refused
from srm_ray.files.journal import Journal
from srm_ray.runs import checkpoints
from srm_ray.runs.folder import RunFolder
from tests.files.faults import content, no_descriptors, no_room

LONG = "x" * 100_000


def atomic(folder: Path) -> None:
    write_atomically(folder / "file", LONG)


def appended(folder: Path) -> None:
    append(folder / "file", LONG + "\n")


def journal(folder: Path) -> None:
    Journal(folder / "file").add({"text": LONG})


def generated(folder: Path) -> None:
    write_lines(folder / "file", ({"text": "some words"} for _ in range(10_000)))


def rows(folder: Path) -> None:
    save_rows(pack([(list(range(64)), [True] * 64)] * 500, 64), folder / "rows")


def tokenizer(folder: Path) -> None:
    """By a library in Rust."""
    from srm_ray.model import tokenization

    with replacing(folder / "tokenizer") as partial:
        made = tokenization.train(itertools.islice(arithmetic.tokenizer_texts(0), 2000), 384)
        tokenization.save(tokenization.wrap(made), partial)


def safetensors(folder: Path) -> None:
    """By another one."""
    from safetensors.numpy import save_file

    with replacing(folder / "model") as partial:
        partial.mkdir()
        save_file({"weight": np.zeros(100_000, np.float32)}, partial / "model.safetensors")


def torch_state(folder: Path) -> None:
    import torch

    with checkpoints.writing(folder / "checkpoints", 1, keep=1) as partial:
        torch.save(torch.zeros(100_000), partial / "state")


def array(folder: Path) -> None:
    with replacing_file(folder / "reference.npy") as partial, partial.open("wb") as file:
        np.save(file, np.zeros(100_000))


WRITERS = [atomic, appended, journal, generated, rows, tokenizer, safetensors, torch_state, array]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_full_disk_is_one_line_that_names_the_file_and_leaves_nothing_half(tmp_path, write) -> None:
    with no_room(), pytest.raises(RunError) as raised:
        write(tmp_path)
    assert re.search(rf"{re.escape(str(tmp_path))}.*{os.strerror(errno.EFBIG)}|No space left", one_line(raised.value))
    if write is not rows:  # of which the run folder says when they are whole
        assert b"".join(content(tmp_path).values()) == b""
    write(tmp_path)
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    write(undisturbed)
    made = {name: text for name, text in content(tmp_path).items() if not name.startswith("undisturbed")}
    assert made == content(undisturbed)


def test_a_line_that_did_not_fit_leaves_those_before(tmp_path) -> None:
    journal = Journal(tmp_path / "log")
    for write in (lambda: append(tmp_path / "log", LONG + "\n"), lambda: journal.add({"text": LONG})):
        append(tmp_path / "log", '"first"\n')
        with no_room(), pytest.raises(RunError):
            write()
        assert (tmp_path / "log").read_text() == '"first"\n'
        (tmp_path / "log").unlink()


def test_a_device_without_space_is_named(tmp_path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"log could not be written: No space left on device; free some space"):
        append(tmp_path / "log", "x")


def test_too_many_open_files_is_one_line(tmp_path) -> None:
    with no_descriptors(), pytest.raises(RunError, match=r"file could not be written: Too many open.*ulimit -n"):
        write_atomically(tmp_path / "file", "x")
    write_atomically(tmp_path / "file", "x")
    assert content(tmp_path) == {"file": b"x"}


@pytest.mark.parametrize("name", ["ro/file", "missing"])
def test_a_defect_stays_a_defect(tmp_path, name) -> None:
    """A folder that is not there, and what is no fault of the machine."""
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "not there" / name, "x")
    with pytest.raises(ZeroDivisionError), replacing_file(tmp_path / name):
        1 / 0  # noqa: B018
    assert content(tmp_path) == {}


class FromRay(Exception):
    """As an error of another process arrives: its text alone."""


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/runs/a"), errno.ENOSPC),
        (FromRay("ray::train() OSError: [Errno 28] No space left on device: '/runs/a'"), errno.ENOSPC),
        (Exception("No space left on device (os error 28)"), errno.ENOSPC),
        (Exception("Error while serializing: I/O error: Os { code: 30, kind: ReadOnlyFilesystem }"), errno.EROFS),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), errno.ENOSPC),
        (OSError(errno.ENOENT, "No such file or directory"), None),
        (OSError("unsloth/model is not a local folder"), None),
        (ValueError("28"), None),
    ],
    ids=str,
)
def test_what_the_machine_refuses_is_known_whoever_reports_it(error, number) -> None:
    assert refused(error) == number
    assert bool(line_of(error)) == (number is not None)


def test_a_command_says_it_in_one_line(capsys, monkeypatch) -> None:
    monkeypatch.setattr(output, "_routed", None)

    def main() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/runs/a/metrics.jsonl")

    assert within(main) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("run failed: /runs/a/metrics.jsonl: No space left on device; free some space")


# Two commands


def taken(folder: Path) -> int:
    """As another process would take it: by a descriptor of its own."""
    descriptor = os.open(folder / lock.NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, b"4711\n")
    return descriptor


def test_a_run_folder_takes_one_command_at_a_time(tmp_path) -> None:
    other = taken(tmp_path)
    with pytest.raises(UserError, match=r"--run_dir .*another command \(process 4711\) works in it"):
        RunFolder(tmp_path, stage="grpo").create()
    os.close(other)  # it ended, in whatever way
    RunFolder(tmp_path, stage="grpo").create()
    RunFolder(tmp_path, stage="grpo").create()  # commands of one process call each other
    with pytest.raises(BlockingIOError):
        fcntl.flock(os.open(tmp_path / lock.NAME, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release(tmp_path / lock.NAME)


def test_a_folder_that_was_removed_meanwhile_is_locked_anew(tmp_path) -> None:
    folder = RunFolder(tmp_path / "run", stage="grpo")
    folder.create()
    (folder.path / lock.NAME).unlink()
    folder.path.rmdir()
    folder.create()
    with pytest.raises(BlockingIOError):
        fcntl.flock(os.open(folder.path / lock.NAME, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release(folder.path / lock.NAME)


def test_what_is_made_once_waits_for_who_makes_it(tmp_path) -> None:
    said: list[str] = []
    other = taken(tmp_path)

    def waiting() -> None:
        said.append("waits")
        os.close(other)

    with lock.alone(tmp_path / lock.NAME, waiting, poll=0.01):
        assert said == ["waits"]
    with lock.alone(tmp_path / lock.NAME, waiting, poll=0.01):
        assert said == ["waits"]
