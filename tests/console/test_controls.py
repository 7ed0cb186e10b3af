"""Rows, names and error texts are anybody's: a terminal shows their control characters and obeys none."""

import io
import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewards import jsonl_server
from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console import output
from srm_ray.console.bars import one_line_of
from srm_ray.console.command import interactive, within
from srm_ray.console.progress import echo, phase
from srm_ray.errors import RunError, UserError, printable

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
    echo(f"row: {HOSTILE}\nand\tmore")
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


def test_the_message_of_a_defect(terminal) -> None:
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        output.show_defect(type(error), error, error.__traceback__)
    assert harmless(terminal.getvalue())
    assert "Traceback" in terminal.getvalue() and "RuntimeError" in terminal.getvalue()


def test_values_of_a_config_in_the_help(terminal, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"run_dir": HOSTILE.replace("\x00", ""), "reward": {"function": HOSTILE[:-1]}}))
    with pytest.raises(SystemExit):
        parse(GRPOConfig, ["--config", str(file), "--help"], stage="grpo")
    assert harmless(terminal.getvalue()) and r"\x1b" in terminal.getvalue()


@pytest.mark.integration
def test_a_defect_in_a_command_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "defect.py"
    script.write_text(
        "from srm_ray.console.command import command, interactive\n"
        f"def main() -> int:\n    raise RuntimeError({HOSTILE!r})\n"
        "import sys\n(command if sys.argv[1] == 'command' else interactive)(main)()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for kind in ("command", "interactive"):
        ended = subprocess.run(
            [sys.executable, str(script), kind], capture_output=True, text=True, timeout=500, env=env
        )
        assert ended.returncode == 1
        assert "RuntimeError" in ended.stderr and harmless(ended.stdout + ended.stderr)


@pytest.mark.parametrize("one", ["\u061c", "\u2028", "\u2029", "\u206a", "\ufff9", "\U000e0041"], ids=ascii)
def test_marks_that_turn_end_or_hide_text_are_shown(one: str) -> None:
    assert printable(f"a{one}b") == f"a{ascii(one)[1:-1]}b"
    assert printable("é\n\t日本 \u200d") == "é\n\t日本 \u200d"


def test_what_libraries_print_beside_an_interactive_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no log: warnings, log records and tracebacks go to the person."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def main() -> int:
        logger = logging.Logger("library")
        logger.addHandler(logging.StreamHandler())
        logger.error(HOSTILE)
        traceback.print_exception(RuntimeError(HOSTILE))
        sys.stderr.writelines([HOSTILE, "\n"])
        assert not sys.stderr.isatty()
        return 0

    main.__module__ = "__main__"
    assert interactive(main)() == 0
    assert err.getvalue().count(r"\x1b]52") == 3 and harmless(err.getvalue())


def test_a_defect_of_a_grader_at_a_hostile_line(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)

    def grade(record: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(record["code"])

    line = json.dumps({"code": HOSTILE}).encode()
    assert jsonl_server.answer(line, 1, grade)["reason"] == "grader_error"
    assert "RuntimeError" in err.getvalue() and harmless(err.getvalue())
