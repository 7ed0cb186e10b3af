"""Where a sandbox's control groups are made, by what the kernel says of its own; on a made-up machine."""

from pathlib import Path

import pytest

from rewards.code import cgroups
from rewards.code.cgroups import make


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its mounts and this process's groups are files to write."""
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    (tmp_path / "fs").mkdir()
    return tmp_path


def version_1(machine: Path, hierarchy: str = "1") -> None:
    lines, own = [], []
    for number, name in enumerate(("memory", "pids", "cpu")):
        folder = machine / "fs" / name / "mine"
        folder.mkdir(parents=True)
        lines.append(f"cgroup {machine}/fs/{name} cgroup rw,relatime,{name} 0 0")
        own.append(f"{number}:{name}:/mine")
    (machine / "fs" / "memory" / "mine" / "memory.use_hierarchy").write_text(hierarchy)
    (machine / "mounts").write_text("\n".join(lines))
    (machine / "own").write_text("\n".join(own))


def version_2(machine: Path, passed: str) -> None:
    place = machine / "fs" / "user" / "service"
    place.mkdir(parents=True)
    (place.parent / "cgroup.subtree_control").write_text(passed)
    (place / "cgroup.subtree_control").write_text("")
    (machine / "mounts").write_text(f"cgroup2 {machine}/fs cgroup2 rw 0 0")
    (machine / "own").write_text("0::/user/service\n")


def test_version_1_has_a_folder_for_each_controller(machine: Path) -> None:
    version_1(machine)
    group = make(1 << 30, 100)
    assert group is not None
    memory, pids = group.folders
    assert memory.parent == machine / "fs" / "memory" / "mine"
    assert (memory / "memory.limit_in_bytes").read_text() == f"{1 << 30}\n"
    assert (pids / "pids.max").read_text() == "100\n"
    assert group.command(["true"])[-3:] == [str(memory), str(pids), "true"]


def test_version_1_without_hierarchy_is_left_alone(machine: Path) -> None:
    """A process in a group there would escape the limit of the group above."""
    version_1(machine, hierarchy="0")
    assert make(1 << 30, 100) is None


def test_version_2_has_one_beside_its_own_where_the_controllers_are_passed_on(machine: Path) -> None:
    version_2(machine, "cpu memory pids")
    group = make(1 << 30, 100)
    assert group is not None
    [folder] = group.folders
    assert folder.parent == machine / "fs" / "user"
    assert (folder / "memory.max").read_text() == f"{1 << 30}\n" and (folder / "pids.max").read_text() == "100\n"


@pytest.mark.parametrize("passed", ["", "cpu memory", "pids"])
def test_version_2_that_passes_nothing_on_gives_none(machine: Path, passed: str) -> None:
    version_2(machine, passed)
    assert make(1 << 30, 100) is None


def test_one_that_may_not_be_made_leaves_nothing(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version_1(machine)

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    assert make(1 << 30, 100) is None
    monkeypatch.undo()
    assert not list((machine / "fs").glob("*/mine/srm_ray-*"))


def test_groups_of_processes_that_are_no_more_are_removed(machine: Path) -> None:
    version_1(machine)
    left = machine / "fs" / "pids" / "mine" / "srm_ray-999999999-0"
    left.mkdir()
    make(1 << 30, 100)
    assert not left.exists()


def test_a_machine_without_any_gives_none(machine: Path) -> None:
    (machine / "mounts").write_text("proc /proc proc rw 0 0")
    (machine / "own").write_text("")
    assert make(1 << 30, 100) is None
    (machine / "mounts").unlink()
    assert make(1 << 30, 100) is None
