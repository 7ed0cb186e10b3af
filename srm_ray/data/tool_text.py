r"""Tools in words, for chat templates that know none: the form in which models are trained and in which they play.

tools            schemas in the system message
a turn's calls   <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call> behind its words
results          <tool_response>\n...\n</tool_response>, those of one turn together in a message of the user's
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
TOOLS = """You can call these functions, one JSON schema a line:
<tools>
{}
</tools>
To call one, write its name and arguments as JSON between tags:
<tool_call>
{{"name": ..., "arguments": {{...}}}}
</tool_call>
The result comes back between <tool_response> tags."""
RESULT = "<tool_response>\n{}\n</tool_response>"
CALL = "<tool_call>\n{}\n</tool_call>"


def with_tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with the tools in its system message."""
    begun = [dict(message) for message in messages]
    if not tools:
        return begun
    text = TOOLS.format("\n".join(json.dumps(tool) for tool in tools))
    if begun and begun[0]["role"] == "system":
        begun[0]["content"] += "\n\n" + text
    else:
        begun.insert(0, {"role": "system", "content": text})
    return begun


def results_text(results: Sequence[str]) -> str:
    """The user's message with the results of one turn's calls."""
    return "\n".join(map(RESULT.format, results))


def call_text(call: Mapping[str, Any]) -> str:
    """A call of OpenAI's form, its arguments an object, as a turn writes it."""
    function = call["function"]
    return CALL.format(json.dumps({"name": function["name"], "arguments": function["arguments"]}))


def in_words(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], trained: Sequence[bool]
) -> tuple[list[Message], list[bool]]:
    """The conversation without `tools`, `tool_calls` and the role tool; and whether each message is to be learned."""
    written: list[dict[str, Any]] = []
    wanted: list[bool] = []
    results: list[str] = []
    for message, learned in zip(messages, trained, strict=True):
        plain = {name: value for name, value in message.items() if name != "tool_calls"}
        if message["role"] == "tool":
            results.append(message["content"])
            if len(results) > 1:
                written.pop()
                wanted.pop()
            plain = {"role": "user", "content": results_text(results)}
        else:
            results = []
        if calls := message.get("tool_calls"):
            words = [plain["content"].strip(), *map(call_text, calls)]
            plain["content"] = "\n".join(word for word in words if word)
        written.append(plain)
        wanted.append(learned)
    whole = with_tools(written, tools)
    return list(whole), [False] * (len(whole) - len(written)) + wanted
