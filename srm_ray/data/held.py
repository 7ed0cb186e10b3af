"""Lists and objects that a column holds as text: JSON, or as Python's `str` gives them, as in many a CSV file."""

import ast
import json
import re
from typing import Any


def loads(text: str) -> Any:
    """What a text of JSON holds, or a list or dict of plain values in Python's spelling. Raises ValueError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if re.match(r"\s*[\[{]\s*['\"\[{(]", text):  # `{1, 2}` is a set, of a gold
        try:
            read = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            read = None
        if isinstance(read, list | dict):
            return read
    raise ValueError("neither JSON nor plain values of Python")
