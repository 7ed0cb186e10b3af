"""A checkpoint is complete or not there, and a full disk leaves the one before."""

import os
import subprocess

import pytest
import torch

from srm_ray.errors import RunError
from srm_ray.runs import checkpoints


def write(root, step, keep=2, content=b"weights"):
    with checkpoints.writing(root, step, keep=keep) as folder:
        (folder / "state").write_bytes(content)


def test_newest_complete_checkpoint_and_no_more_than_keep(tmp_path):
    for step in (2, 4, 10):
        write(tmp_path, step)
    assert [step for step, _ in checkpoints.complete(tmp_path)] == [4, 10]
    assert checkpoints.newest(tmp_path) == (10, tmp_path / "step_10")


def test_a_folder_without_its_marker_is_never_loaded(tmp_path):
    write(tmp_path, 2)
    (tmp_path / "step_9").mkdir()
    (tmp_path / "step_9" / "state").write_bytes(b"half")
    assert checkpoints.newest(tmp_path)[0] == 2


def test_an_interrupted_write_leaves_the_one_before_and_is_cleared_by_the_next(tmp_path):
    write(tmp_path, 2)
    with pytest.raises(KeyboardInterrupt), checkpoints.writing(tmp_path, 4, keep=2) as folder:
        (folder / "state").write_bytes(b"half")
        raise KeyboardInterrupt
    assert checkpoints.newest(tmp_path)[0] == 2
    write(tmp_path, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_2", "step_6"]


def test_a_defect_while_saving_is_not_called_a_full_disk(tmp_path):
    with pytest.raises(ZeroDivisionError), checkpoints.writing(tmp_path, 2, keep=2):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    if os.geteuid():
        pytest.skip("NOT TESTED: a full disk needs root to mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.integration
@pytest.mark.parametrize("writer", ["plain", "torch"])
def test_a_full_disk_leaves_the_one_before_and_says_so(small_disk, writer):
    write(small_disk, 2, content=b"x" * 1_000_000)
    with (
        pytest.raises(RunError, match=r"step 4 could not be written.*No space left.*step_2 is complete and usable"),
        checkpoints.writing(small_disk, 4, keep=2) as folder,
    ):
        if writer == "plain":
            (folder / "state").write_bytes(b"x" * 5_000_000)
        else:
            torch.save(torch.zeros(1_500_000), folder / "state")
    assert checkpoints.newest(small_disk)[0] == 2
    assert (small_disk / "step_2" / "state").read_bytes() == b"x" * 1_000_000
    assert [path.name for path in small_disk.iterdir()] == ["step_2"]
