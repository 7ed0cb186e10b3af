"""What import-linter (pyproject.toml, `make check`) cannot see: whether its list is whole, and what a command loads."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


# Packages by their modules, where they may not be installed and have another name.
PACKAGES = {"llama_cpp": "llama-cpp-python", "mlflow": "mlflow-skinny"}
UNDECLARED = {
    "nltk": "lm-eval[ifeval] brings it",
    "pydantic_core": "pydantic brings it",
    "trl": "the bench compares with it, where somebody has installed it",
    "verifiers": "whoever plays its environments has installed it",
}


def imported(file: Path) -> Iterator[str]:
    """The packages of others that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module]
        yield from {one.partition(".")[0] for one in modules} - sys.stdlib_module_names


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    installed = packages_distributions()
    missing: dict[str, str] = {}
    for file in (file for package in ("srm_ray", "actors", "rewards") for file in (ROOT / package).rglob("*.py")):
        if file.parent.name == "inside":  # they run in the sandbox, and import each other by their bare names
            continue
        for module in imported(file):
            names = {*installed.get(module, ()), PACKAGES.get(module, module)}
            if module not in ("srm_ray", "actors", "rewards") and not {*map(canonicalize_name, names)} & declared:
                missing[module] = str(file.relative_to(ROOT))
    assert missing.keys() == UNDECLARED.keys(), missing


GRADERS = ["rewards.code", "rewards.format", "rewards.length", "rewards.math.grader", "rewards.user"]
LIGHT = {
    "commands": (sorted(COMMANDS), HEAVY),
    "rewards": (sorted(modules_below("rewards")), HEAVY),
    "what a grading process imports": (GRADERS, [*HEAVY, "math_verify", "numpy", "pydantic", "srm_ray", "sympy"]),
}


def run_python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.integration
@pytest.mark.parametrize(("modules", "heavy"), LIGHT.values(), ids=LIGHT)
def test_importing_them_loads_nothing_heavy(modules: list[str], heavy: list[str]) -> None:
    loaded = run_python(f"""
import importlib, json, sys
loaded = {{}}
for module in {modules}:
    importlib.import_module(module)
    for name in {heavy}:
        if name in sys.modules:
            loaded.setdefault(name, module)
print(json.dumps(loaded))
""")
    assert json.loads(loaded) == {}, "package: the first module that loads it"


@pytest.mark.integration
def test_help_loads_nothing_heavy() -> None:
    """So `--help` answers at once."""
    said = run_python(f"""
import runpy, sys
for command in {sorted(COMMANDS)}:
    sys.argv = [command, "--help"]
    try:
        runpy.run_module(command, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (command, end.code)
    loaded = [name for name in {HEAVY} if name in sys.modules]
    assert not loaded, f"{{command}} --help loads {{loaded}}"
""")
    assert "--rollout.group_size" in said and "--lora.rank" in said
