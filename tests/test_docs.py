"""What the documents show runs as printed."""

import argparse
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from srm_ray.config.command_line import keys
from srm_ray.console import output
from tests.doc_commands import ROOT, Command, commands, options

PRINTED = commands()


class Composed(BaseException):
    """A command has its options, and would begin: past every handler of errors."""

    def __init__(self, options: Any) -> None:
        self.options = options


def composed(command: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The options that a printed command begins with. AssertionError where it refuses them, with its message."""
    found = importlib.util.find_spec(command.module)
    assert found, f"{command.where}: there is no {command.module}"
    package = found.submodule_search_locations is not None
    module = importlib.import_module(f"{command.module}.__main__" if package else command.module)
    if command.words and not command.words[0].startswith("-"):
        assert callable(getattr(module, command.words[0], None)), f"{command.where}: {command}"
        return None
    complaints: list[str] = []
    monkeypatch.setattr(output, "complain", complaints.append)
    if hasattr(module, "parse"):
        parse = module.parse

        def parsed(*args: Any, **kwargs: Any) -> Any:
            raise Composed(parse(*args, **kwargs))

        monkeypatch.setattr(module, "parse", parsed)
    parse_args = argparse.ArgumentParser.parse_args

    def parsed_args(*args: Any, **kwargs: Any) -> Any:
        raise Composed(parse_args(*args, **kwargs))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed_args)
    try:
        status = module.main(list(command.words))
    except Composed as begun:
        return begun.options
    except SystemExit as ended:
        status = ended.code
    asks_for_help = "--help" in command.words and status in (0, None)
    assert asks_for_help, f"{command.where}: `{command}` is refused: {complaints}"
    return None


def test_documents_print_commands() -> None:
    assert {command.module.split(".")[1] for command in PRINTED} >= {"grpo", "sft", "prefer", "evaluate", "export"}


@pytest.mark.parametrize("command", [one for one in PRINTED if one.words], ids=str)
def test_printed_commands_compose(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    composed(command, monkeypatch)


@pytest.mark.parametrize("module", sorted({one.module for one in PRINTED}))
def test_printed_modules_are_there(module: str) -> None:
    assert importlib.util.find_spec(module)


def test_a_stale_option_in_a_document_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (("--no_such_option", "1"), ("--steps", "many"), ("--config", "grpo/none")):
        with pytest.raises(AssertionError, match="is refused"), monkeypatch.context() as patch:
            composed(Command("srm_ray.grpo", words, "README.md"), patch)


def test_every_option_that_documents_name_is_one_of_some_command() -> None:
    known = {"help", "config"} | of_parsers()
    for path in (ROOT / "srm_ray" / "config").glob("*.py"):
        module = importlib.import_module(f"srm_ray.config.{path.stem}")
        for section in vars(module).values():
            if isinstance(section, type) and issubclass(section, BaseModel):
                known |= {prefix for key in keys(section) for prefix in prefixes(key)}
    strange = [(name, where) for name, where in options() if name.replace("-", "_") not in known]
    assert not strange, strange


def prefixes(key: str) -> list[str]:
    """a.b.c: a, a.b, a.b.c."""
    parts = key.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]


def of_parsers() -> set[str]:
    """Options of the commands that have no config: theirs are in their sources."""
    sources = [ROOT / "rewards" / "math" / "__main__.py", ROOT / "rewards" / "code" / "__main__.py"]
    sources += (ROOT / "srm_ray" / "bench").glob("*.py")
    names = re.findall(r'add_argument\("--([\w-]+)"', "".join(path.read_text() for path in sources))
    return {name.replace("-", "_") for name in names}


def code_of(document: str) -> str:
    """The first Python block of a document."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
    assert found, document
    return found[1]


def test_the_loop_of_ones_own_is_short() -> None:
    assert len(code_of("library.md").splitlines()) <= 60


@pytest.mark.integration
def test_a_loop_of_ones_own(trained_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "my_loop.py"
    script.write_text(code_of("library.md"))
    made = tmp_path / "made"
    words = [sys.executable, str(script), str(trained_model), "2", str(made)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=580, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"step 2: \d+\.\d% right, \d groups with signal", done.stdout), done.stdout
    assert json.loads((made / "lineage.json").read_text())["parent"] == str(trained_model)
    assert (made / "model.safetensors").is_file() and (made / "tokenizer.json").is_file()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
