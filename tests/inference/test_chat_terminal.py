"""`python -m srm_ray.chat` in a real terminal, and with its input piped."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srm_ray import chat

ROOT = Path(__file__).resolve().parents[2]
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Session:
    """The command behind a pseudo-terminal: what it shows, and keys pressed."""

    def __init__(self, *options: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "srm_ray.chat", *options],
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, start_new_session=True,
            preexec_fn=controlling_terminal, env=os.environ | {"TERM": "xterm", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def until(self, text: str, seconds: float = 120) -> str:
        """What is shown up to `text`, which is taken off."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.shown!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.master, 65536).decode(errors="replace")
                except OSError:  # the other side is closed
                    assert text in self.shown, f"it ended before {text!r}: {self.shown!r}"
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def press_until(self, key: str, text: str) -> None:
        """CPython's `input` does not see a signal that comes in the instant before it waits for a key: press again."""
        for _ in range(20):
            self.type(key)
            try:
                self.until(text, seconds=3)
                return
            except AssertionError:
                assert self.process.poll() is None, "the program ended"
        raise AssertionError(f"{text!r} did not come: {self.shown!r}")

    def ask(self, line: str) -> str:
        """Everything shown until the next prompt, the echo of the line left out."""
        self.type(line + "\n")
        self.until("\n")
        return self.until("\n> ").replace("\r", "")

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)


def controlling_terminal() -> None:
    """Make the terminal on stdin the process's own, so that Ctrl-C typed there is a signal to it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator:
    started: list[Session] = []

    def start(*options: str) -> Session:
        started.append(Session(*options))
        started[-1].until("> ")
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.integration
def test_a_conversation(session, trained_model: Path) -> None:
    talk = session("--model", str(trained_model), "--temperature", "0")
    first = talk.ask("What is 47+36+29?")
    thinking, answer = first.split(PLAIN, 1)
    assert thinking.startswith(DIM) and "=" in thinking, "thinking is dimmed"
    assert "\\boxed{" in answer and "\x1b" not in answer, "the answer is plain"
    assert "think>" not in first
    assert "thinking is off" in talk.ask("/think off")
    plain = talk.ask("What is 47+36+29?")
    assert plain.strip() and DIM not in plain, "what it says, which a model of some seconds may garble"
    assert "temperature is 0.5" in talk.ask("/temperature 0.5")
    assert "error: /temperature takes a number from 0 to 2" in talk.ask("/temperature hot")
    assert "error: no command /foo" in talk.ask("/foo")
    assert "/reset" in talk.ask("/help")
    talk.ask("/temperature 0")
    talk.ask("/think on")
    assert "forgotten" in talk.ask("/reset")
    assert talk.ask("What is 47+36+29?") == first, "after /reset the first answer comes again"
    talk.type("/quit\n")
    assert talk.process.wait(300) == 0


@pytest.mark.integration
def test_ctrl_c_stops_the_answer_and_not_the_program(session, tiny_model: Path) -> None:
    """A random model at temperature 2 draws from all 384 tokens alike, so its answers go on for long."""
    talk = session("--model", str(tiny_model), "--temperature", "2", "--max_new_tokens", "100000")
    stopped = 0
    for _ in range(4):
        talk.type("Go on.\n")
        talk.until(DIM)  # thinking has begun
        talk.type("\x03")  # may come after an answer that happened to be short; that must do no harm
        stopped += "(stopped)" in talk.until("\n> ")
        assert "forgotten" in talk.ask("/reset")
    assert stopped >= 2
    talk.type("half a line")
    talk.until("half a line")
    talk.press_until("\x03", "Ctrl-D ends")
    talk.until("\n> ")
    assert "temperature is 1" in talk.ask("/temperature 1"), "the line was dropped"
    talk.type("\x04")
    assert talk.process.wait(300) == 0


def piped(model: Path | str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "srm_ray.chat", "--model", str(model), "--temperature", "0"],
        input=text, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=560,
    )  # fmt: skip


@pytest.mark.integration
def test_lines_that_are_piped_in(trained_model: Path) -> None:
    done = piped(trained_model, "What is 47+36+29?\n/nonsense\n/think off\n\nWhat is 11+12+13?\n")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "> " not in done.stdout
    thinking, closed, rest = done.stdout.partition("</think>")
    assert thinking.startswith("<think>\n") and closed
    # What so small a model answers differs from one processor to the next.
    assert len(rest.strip().splitlines()) >= 2 and "<think>" not in rest, "an answer to each, the second at once"
    assert "no command /nonsense" in done.stderr


@pytest.mark.integration
def test_a_gguf_file_says_what_its_folder_says(trained_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="LLAMA.CPP IS NOT INSTALLED: chat with a GGUF file is not tested")
    from srm_ray.config.formats import FORMATS
    from srm_ray.gguf.writer import write_gguf

    path = write_gguf(trained_model, tmp_path / "m.gguf", FORMATS["f16"])
    questions = "What is 47+36+29?\nWhat is 20+30+40?\n"
    by_llama_cpp, by_transformers = piped(path, questions), piped(trained_model, questions)
    assert by_llama_cpp.returncode == 0, by_llama_cpp.stderr
    assert by_llama_cpp.stdout == by_transformers.stdout
    assert "llama.cpp" in by_llama_cpp.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--model is needed"),
        (["--model", "/nowhere"], "not a model folder"),
        (["--model", "none.gguf"], "no such file"),
        (["--model", "x", "--temperature", "3"], "--temperature"),
        (["--model", "x", "--tempperature", "1"], "did you mean temperature?"),
    ],
)
def test_wrong_input(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert chat.main(options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ") and message in lines[-1]
