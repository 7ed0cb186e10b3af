"""Real data for tests: `<checkout>/../shared/data`, or the folder that SRM_SHARED_DATA names."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("SRM_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def existing(name: str) -> Path:
    """A file or folder of the data, e.g. "bbh"; skips, loudly, where it is missing."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"REAL DATA MISSING: {path} (set SRM_SHARED_DATA); this test checked nothing")
    return path


def rows(name: str) -> list[dict[str, Any]]:
    """The records of a JSON-lines file, e.g. "humaneval/test.jsonl"."""
    with existing(name).open() as file:
        return [json.loads(line) for line in file]
