"""Stages in a row, each in a folder of its own that says what it was made from.

    inputs (name -> fingerprint) -> done already? -> skip
                                 -> begun from the same inputs? -> continue
                                 -> begun from others? -> start over

`<folder>/stage.json` holds the inputs, whether the stage is done, and how long it took, tries that were
killed included.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from srm_ray.console.progress import duration, echo, phase
from srm_ray.errors import UserError
from srm_ray.files.atomic import discard, write_atomically
from srm_ray.files.json_file import read_object

RECORD = "stage.json"


class StageEnded(Exception):
    """A stage ended with an exit status other than 0, having said why. name: e.g. "sft"."""

    def __init__(self, name: str, status: int):
        super().__init__(f"stage {name} ended with status {status}")
        self.name, self.status = name, status


@dataclass(frozen=True, slots=True)
class Record:
    """inputs: name -> fingerprint, e.g. {"model": "9c…", "options": "1f…"}. started: of this try, seconds since 1970.

    seconds: of all tries so far; tries: how often the stage was begun or continued.
    """

    inputs: dict[str, str]
    started: float = 0.0
    seconds: float = 0.0
    tries: int = 0
    done: bool = False


def read(folder: Path) -> Record | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    advice = "remove it, and the stage is done again"
    try:
        return Record(**read_object(path, advice))
    except TypeError as error:
        raise UserError(f"{path} is no record of a stage ({error}): {advice}") from None


def write(folder: Path, record: Record) -> None:
    write_atomically(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")


def run_stage(name: str, folder: Path, inputs: dict[str, str], work: Callable[[], int]) -> Record:
    """Do `work` (which returns an exit status) unless `folder` holds its result from the same inputs.

    A stage is done when its record says so and its summary.json is there. Raises `StageEnded` where
    work's status is not 0, `UserError` where the folder holds something else than a stage of a chain.
    """
    before = read(folder)
    if before and before.done and before.inputs == inputs and (folder / "summary.json").is_file():
        echo(f"\n== {name}: done already, in {duration(before.seconds)}")
        return before
    if before and before.inputs != inputs:
        changed = sorted(
            key for key in before.inputs.keys() | inputs.keys() if before.inputs.get(key) != inputs.get(key)
        )
        echo(f"\n== {name}: {', '.join(changed)} changed since it was made, so it is made again")
        discard(folder)
        before = None
    elif before:
        echo(f"\n== {name}: continuing")
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):  # but partial files
        raise UserError(f"{folder} holds files that are no stage of this run: give another --run_dir, or remove them")
    else:
        echo(f"\n== {name}")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    record = Record(inputs, began, spent(folder, before), (before.tries if before else 0) + 1)
    write(folder, record)
    with phase(f"stage {name}", kind="background"):
        status = work()
    took = record.seconds + time.time() - began
    if status:
        raise StageEnded(name, status)
    record = replace(record, seconds=took, done=True)
    write(folder, record)
    echo(f"== {name}: {duration(took)}")
    return record


def spent(folder: Path, before: Record | None) -> float:
    """Seconds of earlier tries; one that was killed worked until the last file that it wrote."""
    if before is None or before.done:
        return 0.0
    written = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file()]
    return before.seconds + max(0.0, max(written, default=0.0) - before.started)


# Fingerprints


def options_fingerprint(options: Any) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Of names and content of files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def product_fingerprint(final: Path) -> str:
    """Of a Hugging Face folder; where it came from (lineage.json, with its paths) is not part of what it is."""
    return files_fingerprint(path for path in final.iterdir() if path.is_file() and path.name != "lineage.json")
