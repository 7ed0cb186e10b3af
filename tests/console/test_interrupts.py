"""Ctrl-C, as a terminal sends it: to every process of the group, whatever they do at that moment."""

import os
import signal
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.console.scripts import finished, start

pytestmark = pytest.mark.integration

SWALLOWED = """
try:
    (HERE / "ready").touch()
    time.sleep(60)
except BaseException:
    pass
"""
BUSY = {
    "a call": "(HERE / 'ready').touch(); time.sleep(60)",
    "an event loop": """
        async def work():
            try:
                (HERE / "ready").touch()
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.1)
                (HERE / "cleaned").touch()
        interrupts.run(work())
        """,
    "a call in an event loop": """
        async def work():
            try:
                (HERE / "ready").touch()
                time.sleep(60)
            finally:
                await asyncio.sleep(0.1)
                (HERE / "cleaned").touch()
        interrupts.run(work())
        """,
    "a library that is long in its own code": """
        (HERE / "ready").touch()
        interrupts.in_thread(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000_000))
        """,
    "a library that swallows it": SWALLOWED + "interrupts.in_thread(lambda: time.sleep(60))",
    "a library that swallows it, before an event loop": SWALLOWED + "interrupts.run(asyncio.sleep(60))",
    "work that fails when it is cut off": """
        try:
            (HERE / "ready").touch()
            time.sleep(60)
        finally:
            raise RunError("a worker is gone")
        """,
}


def press(process, folder: Path) -> None:
    """Ctrl-C, once the command says that it is there."""
    until(lambda: (folder / "ready").exists())
    os.killpg(process.pid, signal.SIGINT)


def until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("body", BUSY.values(), ids=BUSY)
def test_the_first_ends_in_order_and_says_how_to_go_on(tmp_path, body) -> None:
    process = start(tmp_path, body)
    press(process, tmp_path)
    status, out, err = finished(process)
    first, last = err.splitlines()
    assert (status, out) == (130, "")
    assert first.startswith("interrupted: ")
    assert last == "interrupted; nothing was saved yet: the same command starts again"
    assert (tmp_path / "cleaned").exists() == ("cleaned" in body)


@pytest.mark.parametrize("body", [BUSY["a call"], BUSY["an event loop"], BUSY["a call in an event loop"]])
def test_sigterm_ends_in_order_too(tmp_path, body) -> None:
    """As schedulers, `ray job stop` and `docker stop` send it; a library that took it for itself has it no longer."""
    taken = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); interrupts.hold()\n"
    process = start(tmp_path, f"{taken}{textwrap.dedent(body)}")
    until(lambda: (tmp_path / "ready").exists())
    process.terminate()
    status, out, err = finished(process)
    assert (status, out) == (143, "")
    first, last = err.splitlines()
    assert first == "terminated: what runs is ended in order (again: at once)"
    assert last == "terminated; nothing was saved yet: the same command starts again"
    assert (tmp_path / "cleaned").exists() == ("cleaned" in body)


@pytest.mark.parametrize("body", [BUSY["a call"], BUSY["an event loop"]])
def test_a_terminal_that_goes_away_ends_in_order_too(tmp_path, body) -> None:
    """The kernel sends SIGHUP, and every write to the terminal fails; what is said then is in the log."""
    terminal, ours = os.openpty()
    speaking = textwrap.dedent(body).replace("(HERE / 'ready')", "output.log_to(HERE / 'logs'); (HERE / 'ready')")
    speaking = speaking.replace('(HERE / "ready")', 'output.log_to(HERE / "logs"); (HERE / "ready")')
    speaking = speaking.replace("await asyncio.sleep(0.1)", "await asyncio.sleep(0.1); echo('still here')")
    streams = {"stdin": ours, "stdout": ours, "stderr": ours}
    process = start(tmp_path, speaking, **streams)
    os.close(ours)
    until(lambda: (tmp_path / "ready").exists())
    os.close(terminal)
    process.send_signal(signal.SIGHUP)
    assert process.wait(300) == 129
    log = (tmp_path / "logs" / "driver.log").read_text()
    assert "hung up: what runs is ended in order (again: at once)" in log
    assert "hung up; nothing was saved yet" in log
    assert ("still here" in log) == ("cleaned" in body)
    assert (tmp_path / "cleaned").exists() == ("cleaned" in body)


def test_a_reader_that_goes_away_ends_nothing(tmp_path) -> None:
    """As `command | head` does."""
    body = """
        output.log_to(HERE / "logs")
        for number in range(2000):
            echo(f"line {number}")
        (HERE / "done").touch()
        """
    process = start(tmp_path, body)
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.wait(300) == 0
    assert (tmp_path / "done").exists()
    assert "line 1999" in (tmp_path / "logs" / "driver.log").read_text()


@pytest.mark.parametrize("body", [BUSY["a call"], BUSY["an event loop"], BUSY["a call in an event loop"]])
def test_sigterm_ends_in_order_what_runs_in_the_background(tmp_path, body) -> None:
    """`nohup`, and a script's `&`, ignore Ctrl-C."""
    taken = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); interrupts.hold()\n"
    ignoring = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    process = start(tmp_path, f"{taken}{textwrap.dedent(body)}", preexec_fn=ignoring)
    until(lambda: (tmp_path / "ready").exists())
    os.killpg(process.pid, signal.SIGINT)
    process.terminate()
    status, _, err = finished(process)
    assert status == 143
    assert err.splitlines()[0] == "terminated: what runs is ended in order (again: at once)"
    assert (tmp_path / "cleaned").exists() == ("cleaned" in body)


def test_a_second_sigterm_ends_at_once(tmp_path) -> None:
    process = start(tmp_path, WITH_CHILD.replace("CLEANING", "60"))
    until(lambda: (tmp_path / "ready").exists())
    process.terminate()
    until(lambda: (tmp_path / "cleaning").exists())
    process.terminate()
    assert finished(process)[0] == 143


def test_advice_is_that_of_the_innermost_stage(tmp_path) -> None:
    process = start(
        tmp_path,
        """
        def inner():
            with interrupts.advising(lambda: "the same command goes on after step 40"):
                (HERE / "ready").touch()
                time.sleep(60)
        inner.__module__ = "srm_ray.sft"
        with interrupts.advising(lambda: "outer"):
            command(inner)()
        """,
    )
    press(process, tmp_path)
    status, _, err = finished(process)
    assert status == 130
    assert err.splitlines()[1:] == ["interrupted; the same command goes on after step 40"]


CHILD = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
WITH_CHILD = f"""
    child = subprocess.Popen([sys.executable, "-c", {CHILD!r}])
    (HERE / "child").write_text(str(child.pid))
    try:
        (HERE / "ready").touch()
        time.sleep(60)
    finally:
        (HERE / "cleaning").touch()
        time.sleep(CLEANING)
    """


@pytest.mark.parametrize("presses", [1, 2])
def test_no_process_is_left(tmp_path, presses) -> None:
    process = start(tmp_path, WITH_CHILD.replace("CLEANING", "0" if presses == 1 else "60"))
    press(process, tmp_path)
    if presses == 2:
        until(lambda: (tmp_path / "cleaning").exists())
        os.killpg(process.pid, signal.SIGINT)
    status, _, err = finished(process)
    assert status == 130
    assert "the same command starts again" in err.splitlines()[-1]
    child = int((tmp_path / "child").read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_library_that_hears_nothing_ends_with_the_second(tmp_path) -> None:
    body = "(HERE / 'ready').touch(); hashlib.pbkdf2_hmac('sha256', b'', b'', 400_000_000)"
    process = start(tmp_path, body)
    press(process, tmp_path)
    assert process.stderr.readline().startswith("interrupted: ")
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    status, _, err = finished(process)
    assert (status, err) == (130, "ended at once; nothing was saved yet: the same command starts again\n")
