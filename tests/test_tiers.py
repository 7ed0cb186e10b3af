"""The guard of the fast tier: whatever starts a process is refused, also where the refusal is caught."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.tiers import GUARD, HEAVY, marked_whole


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(["true"]),
        lambda: os.system("true"),
        lambda: os.fork() or os._exit(0),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        multiprocessing.get_context("fork").Process(target=int).start,
        multiprocessing.get_context("spawn").Process(target=int).start,
        multiprocessing.get_context("forkserver").Process(target=int).start,
    ],
    ids=["subprocess", "system", "fork", "posix_spawn", "forked", "spawned", "forkserver"],
)
def test_no_process_is_started(start: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="a fast test starts a process"):
        start()
    assert GUARD.seen, "who catches the refusal fails all the same"
    GUARD.seen.clear()


@pytest.mark.parametrize("package", HEAVY)
def test_what_takes_long_is_not_imported(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GUARD, "without_heavy", True)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeError, match=f"a fast test imports {package}"):
        __import__(package)
    GUARD.seen.clear()


@pytest.mark.integration
def test_a_marked_test_may_start_processes() -> None:
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\n"


def test_whole_files_are_told_without_importing_them(tmp_path) -> None:
    file = tmp_path / "test_x.py"
    for mark, whole in [
        ("pytestmark = pytest.mark.integration", True),
        ("pytestmark = [\n    pytest.mark.timeout(9),\n    pytest.mark.integration,\n]", True),
        ("pytestmark = pytest.mark.timeout(9)", False),
        ("@pytest.mark.integration\ndef test_x(): ...", False),
    ]:
        file.write_text(f"import pytest\nimport ray\n\n{mark}\n")
        assert marked_whole(file) is whole, mark
