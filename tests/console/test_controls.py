"""Rows, names and error texts are anybody's: a terminal shows their control characters and obeys none."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console import output
from srm_ray.console.bars import one_line_of
from srm_ray.console.command import within
from srm_ray.console.progress import echo, phase
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
            [sys.executable, str(script), kind], capture_output=True, text=True, timeout=120, env=env
        )
        assert ended.returncode == 1
        assert "RuntimeError" in ended.stderr and harmless(ended.stdout + ended.stderr)
