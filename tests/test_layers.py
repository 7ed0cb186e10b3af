"""Imports point one way: commands -> actors -> library -> rewards.

The commands are the modules of `srm_ray` that run with `python -m srm_ray.<name>`; the library is its packages.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "vllm", "deepspeed", "transformers", "ray", "datasets", "accelerate", "peft"}
MODULES = sorted(path for folder in ("srm_ray", "actors", "rewards") for path in (ROOT / folder).rglob("*.py"))

LAYERS = ("rewards", "library", "actors", "command")  # each may import itself and what stands before it
MAY_CALL_COMMANDS = {"srm_ray.speedrun.__main__"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def runs_as_command(path: Path) -> bool:
    return 'if __name__ == "__main__"' in path.read_text()


def layer_of(module: str) -> str:
    top, _, rest = module.partition(".")
    if top != "srm_ray":
        return top
    if (ROOT / "srm_ray" / rest.split(".")[0] / "__main__.py").is_file():
        return "command"  # a package that runs: srm_ray.bench
    is_command = rest and "." not in rest and rest != "errors" and runs_as_command(NAMES[module])
    return "command" if is_command else "library"


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, at module level) of every import; `from package import module` names the module."""
    tree = ast.parse(path.read_text())
    inside = {id(node) for holder in ast.walk(tree) if is_deferred(holder) for node in ast.walk(holder)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports here are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in NAMES else str(node.module) for name in whole]
        else:
            continue
        for name in found:
            yield name, node.lineno, id(node) not in inside


def is_deferred(node: ast.AST) -> bool:
    """What does not run when the module is imported: functions, and `if TYPE_CHECKING`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("module", NAMES)
def test_imports_point_one_way(module: str) -> None:
    own = layer_of(module)
    allowed = LAYERS[: LAYERS.index(own) + 1]
    for imported, line, _ in imports(NAMES[module]):
        if imported not in NAMES or imported == module:
            continue
        if layer_of(imported) == "command" and module.split(".")[:2] == imported.split(".")[:2]:
            continue  # one command, in several files
        where = f"{NAMES[module].relative_to(ROOT)}:{line}: {own} imports {imported}"
        assert layer_of(imported) in allowed, where
        assert layer_of(imported) != "command" or module in MAY_CALL_COMMANDS, f"{where}: nothing imports a command"


def loaded_with(module: str, seen: set[str] | None = None) -> dict[str, str]:
    """Heavy packages that importing `module` imports, and the module that does."""
    seen = set() if seen is None else seen
    seen.add(module)
    found: dict[str, str] = {}
    for imported, line, at_top in imports(NAMES[module]):
        if not at_top:
            continue
        if imported.partition(".")[0] in HEAVY:
            found[imported.partition(".")[0]] = f"{NAMES[module].relative_to(ROOT)}:{line}"
        if imported in NAMES and imported not in seen:
            found |= loaded_with(imported, seen)
    return found


@pytest.mark.parametrize("module", [name for name in NAMES if layer_of(name) in ("command", "rewards")])
def test_commands_and_rewards_import_nothing_heavy(module: str) -> None:
    assert loaded_with(module) == {}


def test_rewards_know_neither_ray_nor_torch() -> None:
    for module in (name for name in NAMES if layer_of(name) == "rewards"):
        used = {imported.partition(".")[0] for imported, _, _ in imports(NAMES[module])}
        assert not used & HEAVY, module


def test_vllm_and_deepspeed_are_met_in_actors_alone() -> None:
    library = (name for name in NAMES if layer_of(name) in ("command", "library"))
    for module in (name for name in library if not name.startswith("srm_ray.training.")):
        used = {imported.partition(".")[0] for imported, _, _ in imports(NAMES[module])}
        assert not used & {"vllm", "deepspeed"}, module


def test_the_layers_are_told_apart() -> None:
    assert layer_of("srm_ray.grpo") == "command"
    assert layer_of("srm_ray.rl.loss") == layer_of("srm_ray.errors") == "library"
    assert layer_of("actors.worker_groups") == "actors"
    assert layer_of("rewards.math.grader") == "rewards"
