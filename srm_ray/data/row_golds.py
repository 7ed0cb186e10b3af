"""What is right, by a row's columns: answers, or Countdown's target with its numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.golds import BadGold, texts_of
from srm_ray.data.columns import Columns
from srm_ray.data.drops import Unusable
from srm_ray.data.mapping import ABSENT, within
from srm_ray.data.messages import from_json
from srm_ray.data.schemas import Schema

NUMBERS = ("nums", "numbers", "target")
PLACES = ("reward_model.ground_truth", "ground_truth", "answer", "extra_info")  # of Countdown's target and numbers
HOLDERS = ("reward_model", "ground_truth", "answer", "extra_info")  # columns of these


def golds_of(columns: Columns, schema: Schema, reply: str | None, *, as_it_is: bool = False) -> tuple[str, ...]:
    """The answers of the first column that has some; of the assistant's last turn where none has. as_it_is: no answer
    is looked for in a text. Raises `Unusable`."""
    empty: list[str] = []
    for path in schema.answer:
        value = at(columns, path)
        if value is None or (isinstance(value, str) and not value.strip()):
            if path in columns.names:
                empty.append(f"{path} is {'null' if value is None else 'empty'}")
            continue
        if path in columns.names and columns.holds_turns(path) and not isinstance(value, Mapping):
            value = columns.turns(path).messages[-1]["content"]  # TRL's completion
        try:
            return texts_of(value)
        except BadGold as error:
            raise Unusable(f"{path}: {error}") from None
    if reply is not None:
        if as_it_is and reply.strip():
            return (reply.strip(),)
        try:
            return texts_of(reply)
        except BadGold as error:
            raise Unusable(f"the assistant's turn: {error}") from None
    raise Unusable(empty[0] if empty else f"`answer` or `tests` is missing (found {', '.join(columns.row)})")


def at(columns: Columns, path: str) -> Any:
    """The value of a column, or of a place within one; it counts as read. None where there is none."""
    value = peek(columns, path)
    if value is not None:
        columns.value(path if path in columns.names else path.partition(".")[0])
    return value


def peek(columns: Columns, path: str) -> Any:
    """As `at`, but it counts as not read."""
    if path in columns.names:
        return columns.row[columns.names[path]]
    head, _, rest = path.partition(".")
    if not rest or head not in columns.names:
        return None
    value = within({head: columns.row[columns.names[head]]}, path)
    return None if value is ABSENT else value


def countdown_of(columns: Columns) -> tuple[str, tuple[str, ...]] | None:
    """(target, numbers) of a row of Countdown, in columns or within the gold; None for any other."""
    for place in (None, *PLACES):
        held = columns.row if place is None else peek(columns, place)
        held = from_json(held, "gold") if isinstance(held, str) and held.lstrip()[:1] == "{" else held
        if not isinstance(held, Mapping) or "target" not in map(str.lower, map(str, held)):
            continue
        row = {str(name).lower(): value for name, value in held.items()}
        numbers = from_json(
            next((row[name] for name in ("nums", "numbers") if row.get(name) is not None), None), "numbers"
        )
        if row.get("target") is None or not isinstance(numbers, Sequence) or isinstance(numbers, str):
            continue
        whole = [as_whole(number) for number in (row["target"], *numbers)]
        if any(number is None for number in whole):
            raise Unusable("its numbers and target are no whole numbers")
        for name in (*NUMBERS,) if place is None else (place.partition(".")[0],):
            if name in columns.names:
                columns.value(name)
        target, *given = (str(number) for number in whole)
        return target, tuple(given)
    return None


def as_whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
        return int(value)
    return value if isinstance(value, int) else None
