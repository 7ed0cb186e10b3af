"""The machines that the lock holds for, and what `lock.sh` does with them in mind.

python requirements/environments.py builds WHEEL FOLDER   write the names of a wheel's other builds into FOLDER
python requirements/environments.py simplify LOCK         take out markers that hold on all of these machines
"""

import re
import sys
import zipfile
from pathlib import Path

from packaging.markers import Environment, Marker
from packaging.requirements import Requirement

MACHINES = ("x86_64", "aarch64")
PYTHONS = ("3.11", "3.12", "3.13")


def environment(machine: str, python: str) -> Environment:
    """What markers are evaluated against, on Linux."""
    return Environment(
        implementation_name="cpython",
        implementation_version=f"{python}.0",
        os_name="posix",
        platform_machine=machine,
        platform_release="",
        platform_system="Linux",
        platform_version="",
        python_full_version=f"{python}.0",
        platform_python_implementation="CPython",
        python_version=python,
        sys_platform="linux",
    )


def environments() -> list[Environment]:
    return [environment(machine, python) for machine in MACHINES for python in PYTHONS]


def holds(marker: Marker | None, where: Environment, extras: tuple[str, ...] = ()) -> bool:
    """Whether a requirement applies on a machine, with one of the extras that its package was asked for with."""
    if marker is None:
        return True
    return any(marker.evaluate({**where, "extra": extra}) for extra in ("", *extras))


def pins(lock: str, where: Environment) -> list[Requirement]:
    """The lines of a lock that apply on a machine."""
    lines = [Requirement(line) for line in lock.splitlines() if line and line[0] not in " #"]
    return [line for line in lines if holds(line.marker, where)]


def simplify(lock: str) -> str:
    """A lock whose lines say where they apply only if that is not everywhere, and as briefly as can be."""
    where = environments()
    brief = [f"platform_machine == '{machine}'" for machine in MACHINES]
    brief += [f"python_version {sign} '{python}'" for python in PYTHONS[1:] for sign in ("<", ">=")]

    def line(found: re.Match[str]) -> str:
        applies = [holds(Marker(found[2]), one) for one in where]
        if all(applies):
            return found[1]
        same = (marker for marker in brief if [holds(Marker(marker), one) for one in where] == applies)
        return f"{found[1]} ; {next(same, found[2])}"

    return re.sub(r"^([^ #\n]+) ; (.+)$", line, lock, flags=re.MULTILINE)


def write_other_builds(wheel: Path, folder: Path) -> None:
    """Wheels without content, for resolving alone.

    A resolver asks which builds a version has and what they require. Where pip is given one wheel of PyTorch in place
    of PyTorch's index, the answer would be: one. The index has one for each of these machines, with these requirements.
    """
    name, version = wheel.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as real:
        metadata = real.read(f"{info}/METADATA")
    for machine in MACHINES:
        for python in PYTHONS:
            cp = f"cp{python.replace('.', '')}"
            tag = f"{cp}-{cp}-manylinux_2_28_{machine}"
            with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as build:
                build.writestr(f"{info}/METADATA", metadata)
                build.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
                build.writestr(f"{info}/RECORD", "")


if __name__ == "__main__":
    if sys.argv[1] == "builds":
        write_other_builds(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        path = Path(sys.argv[2])
        path.write_text(simplify(path.read_text()))
