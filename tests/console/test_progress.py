"""What is told of work that goes on, and when."""

import os
import pty

import pytest

from srm_ray.console import progress
from srm_ray.console.progress import Console, Phase, duration, phase
from tests.console.scripts import start


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock.monotonic)
    return clock


def test_durations() -> None:
    assert [duration(s) for s in (0, 59.6, 185, 7800)] == ["0s", "1m00s", "3m05s", "2h10m"]


def test_time_left_comes_from_the_items_done(clock) -> None:
    one = Phase("evaluation", total=1000, done=200)
    assert one.left() is None
    clock.now += 10
    one.advance(100)
    assert one.left() == pytest.approx(70)
    assert one.state() == "300 of 1,000, 10s so far, about 1m10s left"


def test_time_left_comes_from_the_last_time(clock) -> None:
    one = Phase("start", usual=40, status=lambda: "1 of 2 engines ready")
    clock.now += 30
    assert one.state() == "1 of 2 engines ready, 30s so far, about 10s left"
    clock.now += 30
    assert one.state() == "1 of 2 engines ready, 1m00s so far, usually 40s"


def lines_of(clock, one: Phase, seconds: int, capsys) -> list[int]:
    """The seconds at which something is told."""
    console, told = Console(), []
    for second in range(1, seconds + 1):
        clock.now += 1
        console.report_if_silent(one)
        if capsys.readouterr().out:
            told.append(second)
    return told


def test_a_line_soon_and_then_whenever_it_was_silent(clock, capsys) -> None:
    assert lines_of(clock, Phase("work"), 60, capsys) == [5, 26, 47]


def test_work_that_says_its_own_lines_is_told_in_silence_only(clock, capsys) -> None:
    assert lines_of(clock, Phase("training", kind="talking"), 60, capsys) == [21, 42]


def test_what_took_long_is_remembered(monkeypatch, tmp_path, clock, capsys) -> None:
    monkeypatch.setenv("SRM_RAY_CACHE", str(tmp_path))
    with phase("starting", remember=True, usual=45) as first:
        assert first.usual == 45
        clock.now += 30
    with phase("starting", remember=True, usual=45) as second:
        assert second.usual == 30
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "starting: takes about 45s"
    assert "starting: took 30s" in out
    assert "starting: takes about 30s" in out


def test_what_fails_is_not_remembered(monkeypatch, tmp_path, clock) -> None:
    monkeypatch.setenv("SRM_RAY_CACHE", str(tmp_path))
    with pytest.raises(ValueError), phase("starting", remember=True):
        clock.now += 30
        raise ValueError
    assert progress.seconds_of("starting") == 0


def test_a_cache_that_cannot_be_read_costs_the_estimate_alone(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SRM_RAY_CACHE", str(tmp_path))
    (tmp_path / progress.DURATIONS).write_text("{")
    with phase("starting", remember=True) as one:
        assert one.usual == 0
    assert progress.seconds_of("starting") >= 0


@pytest.mark.integration
def test_a_terminal_has_bars_below_the_lines(tmp_path) -> None:
    ours, theirs = pty.openpty()
    process = start(
        tmp_path,
        """
        with phase("counting", total=4) as counted:
            for number in range(4):
                time.sleep(0.6)
                counted.advance()
            echo("[a line]")
        """,
        stdout=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    assert process.wait(300) == 0
    text = shown.decode()
    assert "counting" in text and "3 of 4" in text and "[a line]" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"
