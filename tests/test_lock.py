"""The lock holds on Linux for x86-64 and Arm and for Python 3.11 to 3.13: it is complete there, and everything in it
can be had there."""

import itertools
import re
import shutil
import subprocess
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import Environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.environments import MACHINES, PYTHONS, environment, environments, holds, pins, simplify

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "requirements"
LOCKS = ("cpu", "gpu")
ADDED = ("track", "eval", "gym", "dev")  # as lock.sh has them
NEVER = {"torchvision", "torchaudio", "torchcodec"}  # overrides.txt
# Published as source alone. All but pycosat, which wants a C compiler, are plain Python.
SOURCE_ONLY = "cellpylib deepspeed langdetect pycosat rouge-score sqlitedict word2number zss".split()
# The oldest glibc that every wheel runs on: Debian 11's for CPUs, Debian 12's for GPUs.
GLIBC = {"cpu": "2_31", "gpu": "2_36"}
EVERYWHERE = pytest.mark.parametrize(
    "where", environments(), ids=lambda one: f"{one['platform_machine']}-{one['python_version']}"
)


def lock(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text()


def project(extras: tuple[str, ...]) -> list[Requirement]:
    plain = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*plain["dependencies"], *(line for extra in extras for line in plain["optional-dependencies"][extra])]
    return [one for one in map(Requirement, lines) if one.name != "srm-ray"]


def needs(name: str, extras: tuple[str, ...], where: Environment) -> list[Requirement]:
    """What a package asks for on a machine; nothing where the package is not installed here."""
    try:
        found = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return [one for one in found if holds(one.marker, where, extras)]


def everything(first: list[Requirement], where: Environment) -> Iterator[tuple[str, Requirement]]:
    """(who asks, what for), all the way down."""
    waiting = [("pyproject.toml", one) for one in first if holds(one.marker, where)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        asker, one = waiting.pop()
        name, extras = canonicalize_name(one.name), tuple(sorted(one.extras))
        if name in NEVER:
            continue
        yield asker, one
        if (name, extras) not in seen:
            seen.add((name, extras))
            waiting += [(name, need) for need in needs(name, extras, where)]


@EVERYWHERE
def test_what_the_installed_packages_ask_for_is_pinned(where: Environment) -> None:
    pinned = {canonicalize_name(one.name): next(iter(one.specifier)).version for one in pins(lock("cpu"), where)}
    asked = list(everything(project(("cpu", "qlora", *ADDED)), where))
    assert len(asked) > 500
    missing = [f"{asker}: {one}" for asker, one in asked if canonicalize_name(one.name) not in pinned]
    assert not missing
    others = [
        f"{asker}: {one}, pinned {pinned[canonicalize_name(one.name)]}"
        for asker, one in asked
        if not one.specifier.contains(pinned[canonicalize_name(one.name)], prereleases=True)
    ]
    assert not others


@EVERYWHERE
@pytest.mark.parametrize("name", LOCKS)
def test_each_package_is_pinned_once(name: str, where: Environment) -> None:
    lines = pins(lock(name), where)
    names = [canonicalize_name(one.name) for one in lines]
    assert len(names) == len(set(names)) > 200
    assert all(re.fullmatch(r"==[^=*]+", str(one.specifier)) for one in lines)


def test_the_gpu_lock_has_the_cuda_build_of_pytorch() -> None:
    assert re.search(r"^torch==[0-9.]+\+cpu$", lock("cpu"), re.MULTILINE)
    assert re.search(r"^torch==[0-9.]+$", lock("gpu"), re.MULTILINE)


def test_markers_that_hold_everywhere_are_left_out() -> None:
    both = "(platform_machine == 'aarch64' and sys_platform == 'linux') or platform_machine == 'x86_64'"
    old = "python_full_version < '3.12' and sys_platform == 'linux'"
    some = "python_full_version < '3.12' and platform_machine == 'x86_64'"
    text = f"a==1 ; {both}\n    # via\n    #   b ; c\nb==2 ; {old}\nc==3 ; {some}\n"
    assert simplify(text) == f"a==1\n    # via\n    #   b ; c\nb==2 ; python_version < '3.12'\nc==3 ; {some}\n"


# With a registry


def uv_sources(extra: str) -> list[str]:
    """The indexes and wheel folders that setup.sh uses."""
    script = f'extra={extra}; . requirements/indexes.sh; printf "%s\\n" ${{args[@]+"${{args[@]}}"}}'
    return subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="module")
def registry() -> None:
    """The package index that pip and uv use here. Where it answers, nothing below is let off."""
    sources = uv_sources("cpu")
    index = sources[sources.index("--default-index") + 1] if "--default-index" in sources else "https://pypi.org/simple"
    try:
        urllib.request.urlopen(f"{index.rstrip('/')}/packaging/", timeout=20).close()
    except urllib.error.HTTPError:
        raise
    except OSError as error:
        pytest.skip(
            f"NO PACKAGE INDEX CAN BE REACHED ({index}: {error}): what can be had for which machine was not tested"
        )


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PyTorch's builds for other machines by name, where a folder with this machine's stands for PyTorch's index."""
    from requirements.environments import write_other_builds

    folder = tmp_path_factory.mktemp("builds")
    sources = uv_sources("cpu")
    for flag, place in itertools.pairwise(sources):
        if flag == "--find-links":
            for wheel in Path(place).glob("torch-*+cpu-*.whl"):
                write_other_builds(wheel, folder)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_can_be_had(
    name: str, machine: str, python: str, registry: None, builds: Path, tmp_path: Path
) -> None:
    """There is a wheel of each that fits (or a source that any machine builds), by uv's own account."""
    command = [str(ROOT / ".venv/bin/uv"), "pip", "install", "--dry-run", "--no-deps", "--target", str(tmp_path)]
    command += ["--requirements", str(FOLDER / f"{name}.txt"), *uv_sources(name)]
    command += ["--find-links", str(builds)] if name == "cpu" else []
    command += ["--python-platform", f"{machine}-manylinux_{GLIBC[name]}", "--python-version", python]
    command += ["--only-binary", ":all:", *(word for one in SOURCE_ONLY for word in ("--no-binary", one))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stderr
    wanted = {f"{canonicalize_name(one.name)}{one.specifier}" for one in pins(lock(name), environment(machine, python))}
    assert set(re.findall(r"^ \+ (\S+)$", done.stderr, re.MULTILINE)) == wanted


@pytest.mark.integration
def test_the_lock_is_what_the_project_resolves_to(registry: None, tmp_path: Path) -> None:
    for name in LOCKS:
        shutil.copy(FOLDER / f"{name}.txt", tmp_path)
    done = subprocess.run([FOLDER / "lock.sh", str(tmp_path)], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    for name in LOCKS:
        assert (tmp_path / f"{name}.txt").read_text() == lock(name), f"{name}.txt is not up to date: make lock"
