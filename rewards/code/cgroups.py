"""A control group for each slot of the sandbox, where this user may make one: a second hand on what seccomp and rlimits
hold already, and on what the kernel itself needs for a candidate (page cache, pipes, page tables).

Version 1 (a folder for each controller) and version 2 (one folder, where the group above passes on memory and pids).
"""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "srm_ray-"
MOUNTS, OWN = Path("/proc/self/mounts"), Path("/proc/self/cgroup")
LIMITS = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max", "pids.max")}  # version 1, version 2
_numbers = itertools.count()

# Moves itself and becomes the command that follows. $1: how many groups there are.
JOIN = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; n=$((n-1)); done; '
    'unset PWD; exec "$@"'
)


@dataclass(frozen=True)
class Group:
    folders: tuple[Path, ...]

    def command(self, words: list[str]) -> list[str]:
        """The command that runs `words` within the group, from its first instruction on."""
        return ["/bin/sh", "-c", JOIN, "sh", str(len(self.folders)), *map(str, self.folders), *words]

    def close(self) -> None:
        """Remove it, once its processes are gone; a killed one's takes a moment."""
        for folder in self.folders:
            for _ in range(50):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
                else:
                    break


def make(memory: int, tasks: int) -> Group | None:
    """A group that holds at most `memory` bytes and `tasks` threads together; None where there is none to be had."""
    made: list[Path] = []
    try:
        for base, version, controllers in bases():
            hierarchy = base / "memory.use_hierarchy"
            if hierarchy.is_file() and hierarchy.read_text().strip() != "1":
                return None  # what is in a group there does not count for the one above, whose limit it would escape
            sweep(base)
            folder = base / f"{PREFIX}{os.getpid()}-{next(_numbers)}"
            folder.mkdir()
            made.append(folder)
            for controller in controllers:
                limit = memory if controller == "memory" else tasks
                (folder / LIMITS[controller][version - 1]).write_text(f"{limit}\n")
    except OSError:
        Group(tuple(made)).close()
        return None
    return Group(tuple(made)) if made else None


def bases() -> list[tuple[Path, int, tuple[str, ...]]]:
    """(folder to make a group in, version, controllers): all of `LIMITS`, or none. Raises OSError."""
    own: dict[str, str] = {}  # by controller, "" of version 2
    for line in OWN.read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), place)
    first: dict[str, Path] = {}
    for kind, mount, options in mounts():
        if kind == "cgroup":
            for controller in LIMITS.keys() & set(options):
                first.setdefault(controller, within(mount, own.get(controller, "/")))
        elif kind == "cgroup2" and "" in own:
            here = within(mount, own[""])
            for base in (here, here.parent):
                passed = base / "cgroup.subtree_control"
                if base.is_relative_to(mount) and passed.is_file() and LIMITS.keys() <= set(passed.read_text().split()):
                    return [(base, 2, tuple(LIMITS))]
    return [(first[name], 1, (name,)) for name in LIMITS] if first.keys() == LIMITS.keys() else []


def mounts() -> Iterator[tuple[str, Path, list[str]]]:
    for line in MOUNTS.read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        yield kind, Path(place), options.split(",")


def within(mount: Path, place: str) -> Path:
    """The folder of a group, which a container may see at the top of what is mounted there."""
    found = mount / place.lstrip("/")
    return found if found.is_dir() else mount


def sweep(base: Path) -> None:
    """Remove the groups of processes that are no more."""
    for folder in base.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()
