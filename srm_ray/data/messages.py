"""Messages as data sets spell them, to messages as chat templates know them.

    [{"from": "human", "value": ...}, ...]  ->  Turns([{"role": "user", "content": ...}, ...], trained, unread)

Roles are known by all their usual names, contents may be text or lists of text parts, tool calls may be OpenAI's, its
older `function_call`, or turns of their own. What a model cannot learn from raises `Unusable` with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srm_ray.data.drops import Unusable
from srm_ray.data.held import loads

Message = Mapping[str, Any]

ROLES = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter", "customer"),
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "model", "ai", "bing", "bard", "claude", "llm", "chatbot"),
    "tool": ("tool", "function", "observation", "ipython", "tool_response", "function_response", "tool_result"),
    "call": ("function_call", "tool_call"),
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names}
ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text", "message")
THINKING_KEYS = ("reasoning_content", "reasoning", "thinking")
# What a column or field of these names may hold in place of thinking: whether, or how hard, to think.
SWITCHES = ("on", "off", "true", "false", "yes", "no", "enabled", "disabled", "low", "medium", "high", "none")
EXCHANGES = (("human", "assistant"), ("user", "assistant"), ("input", "output"), ("question", "answer"))
TRAIN_KEYS = ("weight", "train", "trainable", "loss")
CALL_KEYS = ("tool_calls", "function_call")
PASSED_ON = ("name", "tool_call_id")


@dataclass(frozen=True, slots=True)
class Turns:
    """messages: role, content, and where there are any reasoning_content, tool_calls, name, tool_call_id.

    trained: of each message, whether the data wants it learned (only the assistant's can be). unread: fields of
    messages that were not looked at, as `messages.images`.
    """

    messages: tuple[Message, ...]
    trained: tuple[bool, ...]
    unread: tuple[str, ...] = ()


def to_turns(value: Any, name: str = "messages") -> Turns:
    """The messages of a column, a list or its JSON. name: what a reason calls the column."""
    value = from_json(value, name)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise Unusable(f"{name} is {described(value)}, no list of messages")
    if not value:
        raise Unusable(f"{name} is empty")
    if len(value) > 1 and all(isinstance(item, str) for item in value):  # what is said in turn, as LIMA has it
        value = [{"role": ("user", "assistant")[at % 2], "content": reply} for at, reply in enumerate(value)]
    value = [turn for item in value for turn in exchange(item)]
    messages: list[Message] = []
    trained: list[bool] = []
    unread: dict[str, None] = {}
    for place, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise Unusable(f"{name} holds {described(item)}, which is no message")
        message, keys = to_message(item, f"{name}[{place}]", name)
        messages.append(message)
        trained.append(train_flag(item, f"{name}[{place}]", message["role"]))
        unread |= {f"{name}.{key}": None for key in item if key not in keys and item[key] not in (None, "", [], {})}
    return Turns(tuple(messages), tuple(trained), tuple(unread))


def exchange(item: Any) -> list[Any]:
    """What is asked and answered in one item ({"human": ..., "assistant": ...}) as two messages; another as it is."""
    if isinstance(item, Mapping) and not first_of(item, ROLE_KEYS):
        for asked, reply in EXCHANGES:
            if isinstance(item.get(asked), str) and isinstance(item.get(reply), str):
                more = {key: one for key, one in item.items() if key not in (asked, reply)}
                turns = [
                    {"role": "user", "content": item[asked]},
                    {"role": "assistant", "content": item[reply], **more},
                ]
                return turns if item[asked] else turns[1:]
    return [item]


def is_switch(text: str) -> bool:
    return text.strip().lower() in SWITCHES


def to_message(item: Mapping[str, Any], where: str, name: str) -> tuple[dict[str, Any], set[str]]:
    """The message, and the keys of `item` that were read."""
    role_key = first_of(item, ROLE_KEYS)
    given = item.get(role_key) if role_key else None
    if not isinstance(given, str):
        raise Unusable(f"{name} has a message without a role (its fields: {', '.join(map(str, item))})")
    role = ROLE_OF.get(given.strip().lower().replace("-", "_").replace(" ", "_"))
    if role is None:
        raise Unusable(f"{name} has the role {given!r} (known: system, user, assistant, tool and their other names)")
    content_key = first_of(item, CONTENT_KEYS)
    content = content_text(item.get(content_key) if content_key else None, where)
    if role == "call":
        return {"role": "assistant", "content": "", "tool_calls": calls_of(content, where)}, {role_key, content_key}
    message: dict[str, Any] = {"role": role, "content": content}
    read = {role_key, content_key, *TRAIN_KEYS, *PASSED_ON}
    if role == "assistant":
        read |= {*THINKING_KEYS, *CALL_KEYS}
        found = (item.get(key) for key in THINKING_KEYS)
        found = (one for one in found if not (isinstance(one, str) and is_switch(one)))
        thinking = next((one for one in found if one and isinstance(one, str | list)), None)
        if thinking is not None:
            message["reasoning_content"] = content_text(thinking, where)
        calls = next((item[key] for key in CALL_KEYS if item.get(key)), None)
        if calls is not None:
            message["tool_calls"] = calls_of(calls, where)
    message |= {key: item[key] for key in PASSED_ON if isinstance(item.get(key), str)}
    return message, {key for key in read if key}


def first_of(item: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The first of the keys that has a value, else the first that is there, else nothing."""
    there = [key for key in keys if key in item]
    return next((key for key in there if item[key] is not None), there[0] if there else "")


def content_text(content: Any, where: str) -> str:
    """Text, or the texts of a list of parts; None is nothing said (beside a tool call)."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, bool | int | float):
        return str(content)
    if isinstance(content, Sequence):
        return "".join(part_text(part, where) for part in content)
    if isinstance(content, Mapping) and isinstance(content.get("text"), str):
        return content["text"]
    raise Unusable(f"the content of a message is {described(content)}, no text")


def part_text(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        if isinstance(part.get("text"), str) and part.get("type", "text") in ("text", "input_text", "output_text"):
            return part["text"]
        raise Unusable(f"a message has a part of type {part.get('type')!r}, which is no text")
    raise Unusable(f"a message has {described(part)} among its parts")


def calls_of(value: Any, where: str) -> list[dict[str, Any]]:
    """Tool calls as templates take them: `{"type": "function", "function": {"name", "arguments": an object}}`."""
    value = from_json(value, "a tool call", strict=True)
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise Unusable(f"a tool call is {described(value)}, no object")
    calls = []
    for item in items:
        inner = item.get("function", item) if isinstance(item, Mapping) else item
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise Unusable("a tool call without a name")
        keys = ("arguments", "parameters", "args")
        given: Any = next((inner[key] for key in keys if inner.get(key) is not None), {})
        given = from_json(given, "the text of a tool call's arguments", strict=True)
        if not isinstance(given, Mapping | None):
            raise Unusable(f"the arguments of a tool call are {described(given)}, no object")
        call: dict[str, Any] = {"type": "function", "function": {"name": inner["name"], "arguments": given or {}}}
        if isinstance(item.get("id"), str):
            call["id"] = item["id"]
        calls.append(call)
    return calls


def train_flag(item: Mapping[str, Any], where: str, role: str) -> bool:
    """Whether a message is to be learned, by its `weight` (0 or 1) or its `train` flag."""
    for key in TRAIN_KEYS:
        value = item.get(key)
        if value is None:
            continue
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
        raise Unusable(f"a message has {key} {value!r}: only 0 and 1 (false and true) can be honoured")
    return True


def tools_of(value: Any) -> tuple[dict[str, Any], ...]:
    """The tools that a conversation may use: a list of schemas, or its JSON."""
    value = from_json(value, "tools", strict=True)
    if value in (None, "", []):
        return ()
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) for item in items):
        raise Unusable(f"tools is {described(value)}, no list of schemas")
    wrapped = [dict(item) if "function" in item else {"type": "function", "function": dict(item)} for item in items]
    return tuple(wrapped)


def from_json(value: Any, name: str, *, strict: bool = False) -> Any:
    """A column that holds JSON as text, or a list or dict as Python writes it, read; any other as it is.

    strict: text that is neither is refused.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not strict and not text.startswith(("[", "{")):
        return value
    if not text:
        return None
    try:
        return loads(text)
    except ValueError:
        if strict:
            raise Unusable(f"{name} is no JSON") from None
        return value


def described(value: Any) -> str:
    """`null`, `a number`, ... of a value that is not what was wanted."""
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def drawn_dialogue(text: str) -> list[dict[str, str]] | None:
    r"""Turns of a text in which speakers are named line by line: HH-RLHF's `\n\nHuman: ... \n\nAssistant: ...`,
    OpenAssistant-Guanaco's `### Human: ...### Assistant: ...`. None where it is not such a text.

    An unanswered `Assistant:` at the end is left out.
    """
    for mark in ("\n\n{}:", "### {}:"):
        human, assistant = mark.format("Human"), mark.format("Assistant")
        body = text if mark.startswith("#") else "\n\n" + text.lstrip()
        if not body.lstrip("\n ").startswith(human.lstrip("\n")) or assistant not in body:
            continue
        turns: list[dict[str, str]] = []
        for piece in body.replace(assistant, "\0a").replace(human, "\0u").split("\0")[1:]:
            role, reply = ("assistant" if piece[0] == "a" else "user"), piece[1:].strip()
            turns.append({"role": role, "content": reply})
        return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns
    return None
