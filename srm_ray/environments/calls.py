r"""Tool calls in a model's text, as its family writes them.

    hermes      <tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>      Qwen 2.5 and 3, Hermes, SmolLM3
    llama       {"name": "add", "parameters": {"a": 1}}, after <|python_tag|> or alone  Llama 3.1 to 3.3
    mistral     [TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]                    Mistral
    pythonic    [add(a=1), add(a=2)]                                                   Llama 3.2 and 4, Olmo 3

What stands in thinking is no call. What is meant as a call and cannot be read is one all the same, of no tool, with
what is wrong as its result, which the model sees.
"""

import ast
import json
import re
from typing import Any

from rewards.extract import after_thinking
from srm_ray.model.call_family import LLAMA_TAG, Family
from srm_ray.rl.types import ToolCall

MOST = 32  # calls that a turn may have; the others are not made, and their results say so
DEEPEST = 50  # levels of nesting in arguments
HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
MISTRAL_NAMED = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\]\s*)?(?=\{)")
PYTHONIC = re.compile(r"\s*+(?:<\|python_start\|>|<\|python_tag\|>)?\s*+"
                      r"(\[\s*[A-Za-z_][\w.]*\(.*\])\s*+(?:<\|\w+\|>)?\s*+",
                      re.DOTALL)  # fmt: skip


def parse(text: str, family: Family) -> tuple[ToolCall, ...]:
    """The calls in a turn's text, in order; () where there is none. text: with the opening of its thinking."""
    visible = after_thinking(text)
    if visible is None:
        return ()
    found = READERS[family](visible)
    if len(found) > MOST:
        found = [*found[:MOST], unreadable(f"a turn may have {MOST} calls, this one has {len(found)}")]
    return tuple(found)


SIGNS_OF_CALLS = {"hermes": "<tool_call>", "mistral": "[TOOL_CALLS]", "llama": LLAMA_TAG}


def without_calls(visible: str, family: Family) -> str:
    """The words before a turn's calls, of a turn that has some, thinking left out."""
    before, sign, _ = visible.partition(SIGNS_OF_CALLS.get(family, "\0"))
    return before.strip() if sign else ""


def unreadable(why: str) -> ToolCall:
    return ToolCall("", {}, f"Error: the tool call cannot be read: {why}", error=True)


def _hermes(text: str) -> list[ToolCall]:
    return [_of_json(match.group(1)) for match in HERMES.finditer(text)]


def _llama(text: str) -> list[ToolCall]:
    """JSON objects after the tag or, without it, a text that is nothing else; several are parted by `;`."""
    tagged = LLAMA_TAG in text
    body = text.rpartition(LLAMA_TAG)[2].strip() if tagged else text.strip()
    if not tagged and not re.match(r'\{\s*"(?:name|type|function|parameters|arguments)"\s*:', body):
        return []
    return _objects(body, ";")


def _mistral(text: str) -> list[ToolCall]:
    """After the tag a list of objects; or, as newer ones write it, the tag, a name and its arguments each."""
    _, tag, body = text.partition("[TOOL_CALLS]")
    if not tag:
        return []
    calls: list[ToolCall] = []
    for part in body.split("[TOOL_CALLS]"):
        named = MISTRAL_NAMED.match(part)
        if named:
            calls.append(_of_json(part[named.end() :], named.group(1)))
        elif part.strip().startswith("["):
            calls += _list(part.strip())
        else:
            calls += _objects(part.strip(), ",")
    return calls


def _list(text: str) -> list[ToolCall]:
    try:
        items, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        return [unreadable(str(error))]
    return [_of_value(item) for item in items] if items else [unreadable("an empty list")]


def _objects(text: str, parting: str) -> list[ToolCall]:
    """Objects one after the other, up to what is not one."""
    calls: list[ToolCall] = []
    while text:
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError) as error:
            if not calls or text.startswith("{"):
                calls.append(unreadable(str(error)))
            break
        calls.append(_of_value(value))
        text = text[end:].lstrip()
        if not text.startswith((parting, "{")):
            break
        text = text.removeprefix(parting).lstrip()
    return calls or [unreadable("nothing follows the sign of a call")]


def _of_json(text: str, name: str | None = None) -> ToolCall:
    try:
        value = json.loads(text) if name is None else json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        return unreadable(str(error))
    return _of_value(value if name is None else {"name": name, "arguments": value})


def _of_value(value: Any) -> ToolCall:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):  # the form of OpenAI's API
        value = value["function"]
    if not isinstance(value, dict):
        return unreadable("a call is an object with name and arguments")
    name = value.get("name", value.get("function"))
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return unreadable("arguments must be an object")
    if not isinstance(name, str) or not name:
        return unreadable("a call has the name of a tool")
    if arguments is None:
        arguments = {}
    return _call(name, arguments) if isinstance(arguments, dict) else unreadable("arguments must be an object")


def _call(name: str, arguments: dict[str, Any]) -> ToolCall:
    if too_deep(arguments, DEEPEST):
        return unreadable(f"arguments are nested more than {DEEPEST} deep")
    return ToolCall(name, arguments)


def too_deep(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return levels < 0 or any(too_deep(one, levels - 1) for one in inner)


def _pythonic(text: str) -> list[ToolCall]:
    """A text that is nothing but a list of calls with literal arguments."""
    match = PYTHONIC.fullmatch(text)
    if not match:
        return []
    try:
        tree = ast.parse(match.group(1), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [unreadable(str(error))]
    return [_of_node(node) for node in tree.elts] if isinstance(tree, ast.List) else [unreadable("not a list of calls")]


def _of_node(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call):
        return unreadable("not a call")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        return unreadable("arguments are given by name")
    try:
        arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        json.dumps(arguments)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return unreadable("arguments must be plain values")
    return _call(ast.unparse(node.func), arguments)


READERS = {"hermes": _hermes, "llama": _llama, "mistral": _mistral, "pythonic": _pythonic}
