"""The columns of a row as a schema reads them: by any of their usual names, in any case, and which were read."""

from collections.abc import Mapping, Sequence
from typing import Any

from srm_ray.data.drops import Unusable
from srm_ray.data.messages import Turns, described, from_json, to_turns

# Roles that columns play, with the names that they have in known data sets, the likelier first.
ASKING = ("prompt", "instruction", "question", "query", "problem", "user", "human", "input", "inputs")
ANSWERING = (
    "completion",
    "response",
    "output",
    "generated_solution",
    "solution",
    "answer",
    "assistant",
    "targets",
    "target",
)
DIALOGUES = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
SYSTEMS = ("system", "system_prompt", "system_message")
CONTEXTS = ("context", "passage")
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "complex_cot", "rationale", "cot")
TOOLS = ("tools", "functions")


class Columns:
    """A row. Names are matched whatever their case. `read` are the columns that were looked at. beside: columns that
    are not to be looked at."""

    def __init__(self, row: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> None:
        self.row, self.beside = row, beside or {}
        self.names: dict[str, str] = {}
        for name in row:
            self.names.setdefault(name.lower(), name)
        self.read: set[str] = set()

    def first(self, names: Sequence[str], *, filled: bool = True) -> str:
        """The first of the names that the row has, with something in it if `filled`; "" for none. Reads nothing."""
        return next((name for name in names if self._has(name, filled)), "")

    def _has(self, name: str, filled: bool) -> bool:
        return name in self.names and not (filled and missing(self.row[self.names[name]]))

    def value(self, name: str) -> Any:
        """What is in a column; it counts as read."""
        own = self.names[name]
        self.read.add(own)
        return self.row[own]

    def text(self, name: str) -> str:
        """A column that has to hold words. Raises `Unusable` where it does not."""
        value = self.value(name)
        if missing(value):
            raise Unusable(f"{name} is null, no text")
        if isinstance(value, bool | int | float):
            return str(value)
        if not isinstance(value, str):
            raise Unusable(f"{name} is {described(value)}, no text")
        if not value.strip():
            raise Unusable(f"{name} is empty")
        return value

    def text_or_none(self, names: Sequence[str]) -> str:
        """Words of the first of the names that has some; "" for none."""
        name = self.first(names)
        if not name:
            return ""
        value = self.value(name)
        return self.text(name) if value not in ("", [], {}) and str(value).strip() else ""

    def turns(self, name: str) -> Turns:
        return to_turns(self.value(name), name)

    def holds_turns(self, name: str) -> bool:
        """Whether a column holds messages, or their JSON. Reads nothing."""
        value = self.row[self.names[name]]
        if isinstance(value, str) and value.lstrip().startswith(("[{", "[ {")):
            value = from_json(value, name)
        return isinstance(value, list | dict) and bool(value) and all_messages(value)

    @property
    def unread(self) -> tuple[str, ...]:
        """Columns with something in them that nobody looked at."""
        there = {**self.row, **self.beside}
        left = (name for name, value in there.items() if name not in self.read and value not in (None, "", []))
        places = [*getattr(self.row, "places", ()), *getattr(self.beside, "places", ())]
        return tuple(part for name in left for part in beside_places(name, there[name], places))


def beside_places(name: str, value: Any, places: Sequence[str]) -> tuple[str, ...]:
    """What of a column is in none of the places that `--data.columns` named within it: `info.level` beside
    `info.answer`; the column itself where none is within it."""
    used = {place.removeprefix(f"{name}.").split(".")[0] for place in places if place.startswith(f"{name}.")}
    if not used:
        return (name,)
    if isinstance(value, str):
        value = from_json(value, name)
    if not isinstance(value, Mapping):
        return ()
    return tuple(f"{name}.{key}" for key, part in value.items() if key not in used and part not in (None, "", []))


def missing(value: Any) -> bool:
    """Null, or the number that stands for it in tables."""
    return value is None or (isinstance(value, float) and value != value)


def all_messages(value: Any) -> bool:
    items = [value] if isinstance(value, Mapping) else value
    return all(isinstance(item, Mapping) for item in items)
