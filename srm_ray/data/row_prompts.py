"""The prompt of a row: messages that end with the user's turn, and what belongs to them in columns of its own."""

import re

from srm_ray.data.columns import DIALOGUES, Columns
from srm_ray.data.drops import Unusable
from srm_ray.data.messages import Turns
from srm_ray.data.schemas import Notes, Schema

RENDERED = re.compile(
    r"<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|\[INST\]|<\|(?:user|assistant|system|User|Assistant)\|>"
    r"|<｜(?:User|Assistant)｜>|<\|start_of_role\|>"
)


def prompt_of(columns: Columns, schema: Schema, notes: Notes) -> tuple[tuple[dict[str, str], ...], str | None]:
    """(messages that end with the user's turn, the assistant's reply after it)."""
    name = columns.first(schema.prompt)
    if not name:
        there = [name for name in schema.prompt if name in columns.names]
        raise Unusable(
            f"{there[0]} is null" if there else f"`prompt` or `messages` is missing (found {', '.join(columns.row)})"
        )
    reply: str | None = None
    if name in DIALOGUES or columns.holds_turns(name):
        turns = columns.turns(name)
        messages, reply = asked(turns, name, notes)
    else:
        messages = [{"role": "user", "content": columns.text(name)}]
    beside = [n for n in (*schema.before, *schema.after) if n != name and filled(columns, n)]
    parts = [columns.text(n) for n in schema.before if n in beside]
    after = [fenced(n, columns.text(n)) for n in schema.after if n in beside]
    if parts or after:
        messages[-1] = {**messages[-1], "content": "\n\n".join([*parts, messages[-1]["content"], *after])}
    system = columns.text_or_none(schema.system)
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    for message in messages:
        if found := RENDERED.search(message["content"]):
            raise Unusable(
                f"its prompt is rendered by a chat template already ({found.group()}): give messages or text"
            )
    return tuple(messages), reply


def asked(turns: Turns, name: str, notes: Notes) -> tuple[list[dict[str, str]], str | None]:
    """The conversation up to its last user's turn: the assistant's reply after it is never part of a prompt."""
    messages = [dict(message) for message in turns.messages]
    reply: str | None = None
    while messages and messages[-1]["role"] == "assistant":
        reply = messages.pop()["content"]
    if reply is not None:
        notes.left_out["the assistant's last turn is no part of the prompt"] += 1
    if not messages or messages[-1]["role"] not in ("user", "tool") or not messages[-1]["content"].strip():
        raise Unusable(f"{name} has no user's turn at its end")
    notes.unread.update(turns.unread)
    return messages, reply


def filled(columns: Columns, name: str) -> bool:
    value = columns.row[columns.names[name]] if name in columns.names else None
    return value is not None and value not in ("", [], {}) and str(value).strip() != ""


def fenced(name: str, text: str) -> str:
    return f"Begin with this code:\n```python\n{text.strip()}\n```" if name == "starter_code" else text
