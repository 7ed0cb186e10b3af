"""Rows, names and error texts are anybody's: a terminal shows their control characters and obeys none."""

import io

import pytest

from srm_ray.console import output
from srm_ray.console.bars import one_line_of
from srm_ray.console.command import within
from srm_ray.console.progress import phase, say
from srm_ray.errors import RunError, UserError

CLIPBOARD = "\x1b]52;c;b3duZWQ=\x07"
HOSTILE = f"name{CLIPBOARD}\x9b2J\r\u202egnp.exe\x00"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    both = io.StringIO()
    monkeypatch.setattr(output, "_routed", output.Routed(both, both))
    return both


def harmless(text: str) -> bool:
    return not any((ord(one) < 32 and one not in "\n\t") or 127 <= ord(one) < 160 or one == "\u202e" for one in text)


def test_what_is_said(terminal) -> None:
    say(f"row: {HOSTILE}\nand\tmore")
    with phase(HOSTILE):
        output.complain(HOSTILE)
    assert harmless(terminal.getvalue())
    assert r"name\x1b]52;c;b3duZWQ=\x07" in terminal.getvalue()
    assert "\nand\tmore\n" in terminal.getvalue()


@pytest.mark.parametrize("error", [UserError, RunError])
def test_errors(terminal, error) -> None:
    def main() -> int:
        raise error(f"--model {HOSTILE}: no such folder")

    assert within(main) in (1, 2)
    assert harmless(terminal.getvalue()) and terminal.getvalue().count("\n") == 1


def test_the_texts_of_bars() -> None:
    assert harmless(one_line_of(HOSTILE + "\nsecond")) and "\n" not in one_line_of(HOSTILE + "\nsecond")
