"""Calls as each family writes them, and what is meant as one."""

import pytest

from srm_ray.environments.calls import MOST, parse
from srm_ray.errors import UserError
from srm_ray.model.call_family import family_of, vllm_parser
from srm_ray.rl.types import ToolCall

ADD = ToolCall("add", {"a": 1, "b": "x"})
WRITTEN = {
    "hermes": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "x"}}\n</tool_call>',
    "llama": '{"name": "add", "parameters": {"a": 1, "b": "x"}}',
    "mistral": '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1, "b": "x"}, "id": "abcdefghi"}]',
    "pythonic": '[add(a=1, b="x")]',
}
TWICE = {
    "hermes": WRITTEN["hermes"] + "\n" + WRITTEN["hermes"],
    "llama": WRITTEN["llama"] + "; " + WRITTEN["llama"],
    "mistral": '[TOOL_CALLS]add[ARGS]{"a": 1, "b": "x"}[TOOL_CALLS]add{"a": 1, "b": "x"}',
    "pythonic": '[add(a=1, b="x"), add(a=1, b="x")]',
}


@pytest.mark.parametrize("family", WRITTEN)
def test_one_call_and_several(family: str) -> None:
    assert parse(WRITTEN[family], family) == (ADD,)  # type: ignore[arg-type]
    assert parse(TWICE[family], family) == (ADD, ADD)  # type: ignore[arg-type]
    assert parse("<think>\nhm</think>\n" + WRITTEN[family], family) == (ADD,)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", WRITTEN)
@pytest.mark.parametrize("text", ["", "The answer is \\boxed{12}.", "[1, 2]", '{"answer": 3}', "f(x) = [x]"])
def test_text_is_no_call(family: str, text: str) -> None:
    assert parse(text, family) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("family", WRITTEN)
def test_what_is_thought_is_no_call(family: str) -> None:
    call = WRITTEN[family]
    assert parse(f"<think>\n{call}", family) == ()  # type: ignore[arg-type]
    assert parse(f"<think>\n{call}</think>\nno", family) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("hermes", "<tool_call>add(1)</tool_call>"),
        ("hermes", "<tool_call></tool_call>"),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": 1}'),
        ("hermes", '<tool_call>{"arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "add", "arguments": [1]}</tool_call>'),
        ("hermes", "<tool_call>" + "[" * 100_000),
        ("hermes", '<tool_call>{"name": "add", "arguments": ' + '{"a":' * 200 + "1" + "}" * 201 + "</tool_call>"),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": ' + "9" * 6000 + "}}</tool_call>"),
        ("llama", "<|python_tag|>print(1)"),
        ("llama", '{"name": "add", "parameters": {'),
        ("mistral", "[TOOL_CALLS]"),
        ("mistral", "[TOOL_CALLS] [{]"),
        ("mistral", "[TOOL_CALLS]add{"),
        ("pythonic", "[add(1)]"),
        ("pythonic", "[add(a=b)]"),
        ("pythonic", "[add(a=1]]"),
        ("pythonic", "[add(a=f(x))]"),
    ],
)
def test_what_cannot_be_read_is_said(family: str, text: str) -> None:
    found = parse(text, family)  # type: ignore[arg-type]
    assert len(found) == 1 and found[0].error
    assert found[0].result.startswith("Error: the tool call cannot be read: ")


def test_some_read_some_not() -> None:
    found = parse(WRITTEN["hermes"] + "<tool_call>x</tool_call>", "hermes")
    assert found[0] == ADD and found[1].error


def test_no_more_than_so_many() -> None:
    found = parse(WRITTEN["hermes"] * (MOST + 5), "hermes")
    assert len(found) == MOST + 1 and found[-1].error


def test_the_family_is_seen_in_the_template() -> None:
    assert family_of("... <tool_call> ...") == "hermes"
    assert family_of("... [TOOL_CALLS] ...") == "mistral"
    assert (
        family_of('Respond in the format {"name": function name, "parameters": dictionary of argument name') == "llama"
    )
    with pytest.raises(UserError, match=r"give environment\.calls"):
        family_of("{{ messages }}")
    with pytest.raises(UserError, match="with <function="):
        family_of("<tool_call> <function=")


def test_vllm_s_parser_of_a_template() -> None:
    knows = "{% if tools %}"
    assert vllm_parser(knows + "<tool_call>") == "hermes"
    assert vllm_parser(knows + "[TOOL_CALLS]") == "mistral"
    assert vllm_parser(knows + "<|python_tag|>") == "llama3_json"
    assert vllm_parser(knows + "<|python_start|>") == "llama4_pythonic"
    assert vllm_parser(knows + "<tool_call> <function=") == "qwen3_coder"
    assert vllm_parser(knows + "<|channel|>") == "", "several models write such calls in ways of their own"
    assert vllm_parser("<tool_call>") == "", "a template that renders no tools"
