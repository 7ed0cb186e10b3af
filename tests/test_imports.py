"""What import-linter (pyproject.toml, `make check`) cannot see: whether its list is whole, and what a command loads."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["accelerate", "datasets", "deepspeed", "peft", "ray", "torch", "transformers", "vllm"]


def modules_below(package: str) -> set[str]:
    """The modules and packages directly in `package`."""
    folder = ROOT.joinpath(*package.split("."))
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return {f"{package}.{name}" for name in packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}}


def is_command(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return file.is_file() and '__name__ == "__main__"' in file.read_text()


COMMANDS = {module for module in modules_below("srm_ray") if is_command(module)}


def test_every_module_has_its_place_in_the_order() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [set(layer.split(" | ")) for layer in linter["contracts"][0]["layers"]]
    assert layers[0] | layers[1] == COMMANDS
    assert set().union(*layers) == modules_below("srm_ray") | {"actors", "rewards"}


@pytest.mark.integration
def test_importing_commands_and_rewards_loads_nothing_heavy() -> None:
    """`--help` and a reward process start without PyTorch; who loads what is in the message."""
    script = f"""
import importlib, json, sys
loaded = {{}}
for module in {sorted(COMMANDS | modules_below("rewards"))}:
    importlib.import_module(module)
    for name in {HEAVY}:
        if name in sys.modules:
            loaded.setdefault(name, module)
print(json.dumps(loaded))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}, "package: the first module that loads it"
