"""Temporary folders go with their process, killed ones' too."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from srm_ray.process import scratch

OWN = """
import sys, tempfile
from srm_ray.process import scratch
folder = scratch.own()
assert scratch.own() == folder == __import__("pathlib").Path(tempfile.gettempdir())
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start() -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen([sys.executable, "-c", OWN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


@pytest.mark.integration
def test_a_killed_processs_folder_is_swept_a_living_ones_stays(temporary: Path) -> None:
    (killed, left), (living, used) = start(), start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.parent == used.parent == temporary and left.exists()
    scratch.sweep()
    assert [path.name for path in temporary.iterdir()] == [used.name]
    living.communicate("")
    assert living.returncode == 0 and not list(temporary.iterdir())


def test_release_gives_back_what_was_before(temporary: Path) -> None:
    other = temporary / "of somebody else"
    other.mkdir()
    folder = scratch.own()
    (folder / "socket").touch()
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(folder)
    scratch.release()
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(temporary)
    assert list(temporary.iterdir()) == [other]


def test_a_folder_that_is_just_being_made_is_left_alone(temporary: Path) -> None:
    made = temporary / f"{scratch.PREFIX}new"
    made.mkdir()
    scratch.sweep()
    assert made.exists()
    os.utime(made, (1, 1))
    scratch.sweep()
    assert not made.exists()
