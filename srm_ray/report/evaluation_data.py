"""What the page shows of an evaluation: scores with intervals and rates, and the capability tax."""

import json
from pathlib import Path
from typing import Any

from srm_ray.runs.folder import RunFolder


def load(folder: RunFolder) -> dict[str, Any] | None:
    """None for a run that is no evaluation, or one that is not finished."""
    results = _read(folder.path / "results.json")
    if not results:
        return None
    suites = [{key: value for key, value in one.items() if key != "values"} for one in results["suites"].values()]
    return {"model": results["model"], "suites": suites, "tax": _read(folder.path / "tax.json")}


def suite_names(folder: RunFolder) -> dict[int, str]:
    """The samples of each suite stand where a training run has the completions of a step: which is which."""
    results = _read(folder.path / "results.json")
    return {number: name for number, name in enumerate(results["suites"], 1)} if results else {}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):  # not there, or being replaced
        return None
    return found if isinstance(found, dict) else None
