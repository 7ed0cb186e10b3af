"""Two tiers of tests. Fast ones stay in their own process; the others are marked `integration`.

A test without the mark fails when it starts a process; with `--tier fast` also when it imports Ray, vLLM or DeepSpeed,
which then look to every library as if they were not installed. `--tier fast` does not even import the files that are
marked as a whole (`pytestmark = pytest.mark.integration`).
"""

import ast
import multiprocessing.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("ray", "vllm", "deepspeed")
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}  # Python's audit events


class Guard:
    """What belongs to the other tier raises where it is done; `seen` keeps it for the test's end, if that is caught."""

    def __init__(self) -> None:
        self.in_fast_test = False
        self.without_heavy = False
        self.seen: list[str] = []
        sys.addaudithook(self._audit)
        start = multiprocessing.util.spawnv_passfds  # without an audit event of its own

        def guarded(*arguments: Any) -> int:
            self._audit("os.posix_spawn", ())
            return start(*arguments)

        multiprocessing.util.spawnv_passfds = guarded

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.in_fast_test and event in STARTS and not asks_git(arguments):
            self._refuse(f"starts a process ({event})")
        elif self.without_heavy and event == "import" and (package := arguments[0].partition(".")[0]) in HEAVY:
            self._refuse(f"imports {package}")

    def _refuse(self, what: str) -> None:
        said = f"a fast test {what}: mark it, or its file, `integration` (docs/development.md)"
        self.seen.append(said)
        raise RuntimeError(said)


def asks_git(arguments: tuple[Any, ...]) -> bool:
    """Whether a process that is started is git, which says of what commit a run is, or uname (`platform.processor`)."""
    return len(arguments) > 1 and isinstance(arguments[1], list) and arguments[1][:1] in (["git"], ["uname"])


GUARD = Guard()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=["fast", "integration"], help="only this tier of the tests (default: both)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "integration: starts processes, or uses Ray, vLLM or DeepSpeed")
    if config.option.tier == "fast":
        GUARD.without_heavy = True
        sys.modules.update(dict.fromkeys(HEAVY))  # accelerate, for one, would import DeepSpeed to save any model


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    return True if config.option.tier == "fast" and named and marked_whole(collection_path) else None


def marked_whole(path: Path) -> bool:
    """Whether the file marks all of its tests `integration`. Reads it, imports nothing."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "pytestmark" for target in node.targets):
            return "pytest.mark.integration" in ast.unparse(node.value)
    return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if wanted := config.option.tier:
        tiers = {item: "integration" if item.get_closest_marker("integration") else "fast" for item in items}
        config.hook.pytest_deselected(items=[item for item in items if tiers[item] != wanted])
        items[:] = [item for item in items if tiers[item] == wanted]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    GUARD.in_fast_test = item.get_closest_marker("integration") is None
    GUARD.seen.clear()
    try:
        return (yield)
    finally:
        GUARD.in_fast_test = False


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    assert not GUARD.seen, GUARD.seen[0]
