"""Values to JSON that a browser parses: `NaN` and infinities, which JSON does not have, become null."""

import gzip
import json
import math
from typing import Any


def plain(value: Any) -> Any:
    """`value` with every non-finite float replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def packed(value: Any) -> bytes:
    """gzip of the compact JSON of `value`; ASCII inside, and the same bytes for the same value."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # rare, and looking at every number first would take as long as all the rest
        text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
    return gzip.compress(text.encode("ascii"), compresslevel=6, mtime=0)
