"""JSON files from wherever, each an object: read in one place, refused in one line."""

import json
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError, one_line

LONGEST = 64 << 20  # bytes


def read_object(path: Path, advice: str = "") -> dict[str, Any]:
    """Raises `UserError`, which ends with `advice`, where it cannot be read, is no JSON, no object, or too long."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ValueError(f"longer than {LONGEST >> 20} MB")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError(f"an object is expected, got {type(found).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)[:200]}){advice and f': {advice}'}") from None
    return found
