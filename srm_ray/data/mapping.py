"""`--data.columns`: columns of a row, and places within them, under our names."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from srm_ray.data.formats import Row
from srm_ray.data.held import loads
from srm_ray.errors import UserError


def mapped(row: Row, columns: Mapping[str, str], where: str, option: str = "data") -> Row:
    """The row with columns under our names too. A column may be within another: `reward_model.ground_truth`, also of
    one that holds JSON as text; where both a mapped and an own column have a name, the mapped one counts. A name mapped
    to "" is left out.

    Raises `UserError` with the columns that are there and the nearest one.
    """
    found = {ours: within(row, theirs) for ours, theirs in columns.items() if theirs}
    for ours, theirs in columns.items():
        if theirs and found[ours] is ABSENT:
            near = difflib.get_close_matches(theirs, row, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(
                f"{where}: --{option}.columns takes {ours} from {theirs!r}, which is not among its columns "
                f"({', '.join(row) or 'none'}){hint}"
            )
    used = {theirs or ours for ours, theirs in columns.items()}
    own = {name: value for name, value in row.items() if name not in used}
    made = MappedRow(own | found)
    made.places = tuple(used - {*row})
    return made


class MappedRow(dict[str, Any]):
    """A row of which parts of columns have names of their own. places: these parts, as in `info.answer`."""

    places: tuple[str, ...] = ()


ABSENT = object()
PLACE = re.compile(r"-?[0-9]{1,9}")


def within(row: Row, path: str) -> Any:
    """The value of a column, or of a place within one (`a.b`, `a.0`); ABSENT where there is none."""
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                value = loads(value)
            except ValueError:
                return ABSENT
        if isinstance(value, list) and PLACE.fullmatch(part) and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return ABSENT
    return value
