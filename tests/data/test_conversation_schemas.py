"""Rows as they lie on the hub, to conversations; what cannot be used, and why."""

from typing import Any

import pytest

from srm_ray.data.conversations import TRAILING, to_example
from srm_ray.data.drops import Unusable
from srm_ray.errors import UserError

ASKED = {"role": "user", "content": "a"}
ANSWERED = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
TURNS = [ASKED, {"role": "assistant", "content": "b"}]
GSM = {"question": "How many?", "answer": "Half is 48/2 = <<48/2=24>>24.\nAll is <<48+24=72>>72.\n#### 1,072"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"messages": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "id": 3},
        {"conversations": [{"from": "user", "value": "a"}, {"from": "assistant", "value": "b"}], "system": ""},
        {"conversation": [{"role": "Human", "content": "a"}, {"role": "bot", "content": "b"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "model", "text": "b"}]},
        {"conversations": ["a", "b"], "source": "lima"},
        {"conversation": [{"input": "a", "output": "b"}], "source": "x"},
        {"conversation": [{"human": "a", "assistant": "b"}]},
        {"input": [ASKED], "output": "b", "reasoning": "off", "category": "math"},
        {"prompt": "a", "response": "b", "thinking": "high"},
        {"messages": [ASKED, {"role": "assistant", "content": "b", "thinking": "on"}]},
        {"prompt": "a", "response": "b"},
        {"prompt": "a", "completion": "b"},
        {"prompt": [ASKED], "completion": [{"role": "assistant", "content": "b"}]},
        {"prompt": [ASKED], "response": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "a", "input": None, "output": "b"},
        {"instruction": "a", "response": "b", "context": "", "category": "qa"},
        {"query": "a", "response": "b", "type": "MATH_AnsAug", "original_question": "?"},
        {"query": "a", "answer": "b"},
        {"problem": "a", "solution": "b", "answer": "7", "messages": None},
        {"problem": "a", "generated_solution": "b", "expected_answer": "7"},
        {"input": "a", "output": "b"},
        {"Question": "a", "Response": "b"},
        {"system_prompt": "", "question": "a", "response": "b"},
        {"text": "### Human: a### Assistant: b"},
        {"text": "\n\nHuman: a\n\nAssistant: b"},
    ],
)
def test_one_turn_in_its_many_forms(row: dict[str, Any]) -> None:
    assert to_example(row).messages == ANSWERED


def test_what_stands_beside_the_turns_becomes_part_of_them() -> None:
    system = {"role": "system", "content": "Think."}
    asked = to_example({"system": "Think.", "conversations": [{"from": "user", "value": "a"}, *TURNS[1:]]})
    assert asked.messages == (system, *ANSWERED)
    assert to_example({"system": "Think.", "instruction": "a", "output": "b"}).messages == (system, *ANSWERED)
    assert to_example({"system_prompt": "Think.", "messages": [system, *TURNS]}).messages == (system, *ANSWERED)
    alpaca = to_example({"instruction": "Add.", "input": "1 and 2", "output": "3"})
    assert alpaca.messages[0]["content"] == "Add.\n\n1 and 2" and alpaca.unread == ()
    dolly = to_example({"instruction": "When?", "context": "In 1969.", "response": "1969"})
    assert dolly.messages[0]["content"] == "When?\n\nIn 1969."
    history = to_example({"instruction": "a", "input": "", "output": "b", "history": [["x", "y"]]})
    assert [message["content"] for message in history.messages] == ["x", "y", "a", "b"]
    thought = to_example({"Question": "a", "Complex_CoT": "Hm.", "Response": "b"})
    assert thought.messages[1] == {"role": "assistant", "content": "b", "reasoning_content": "Hm."}
    for key in ("reasoning_content", "reasoning", "thinking"):
        assert to_example({"messages": [ASKED, {**TURNS[1], key: "Hm."}]}).messages[1]["reasoning_content"] == "Hm."


def test_tools_and_their_calls() -> None:
    schema = {"name": "add", "parameters": {"type": "object"}}
    turns = [
        {"from": "human", "value": "1+2?"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "It is 3."},
    ]
    made = to_example({"conversations": turns, "tools": f"[{str(schema).replace(chr(39), chr(34))}]"})
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    assert made.messages[1] == {"role": "assistant", "content": "", "tool_calls": [call]}
    assert made.messages[2]["role"] == "tool" and made.tools == ({"type": "function", "function": schema},)
    openai = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    asked = [ASKED, {"role": "assistant", "content": None, "tool_calls": [openai]}]
    assert to_example({"messages": asked}).messages[1]["tool_calls"] == [{**call, "id": "c1"}]
    older = [ASKED, {"role": "assistant", "content": None, "function_call": openai["function"]}]
    assert to_example({"messages": older}).messages[1]["tool_calls"] == [call]


def test_weights_of_messages_and_conversations() -> None:
    turns = [ASKED, {**TURNS[1], "weight": 0}, ASKED, {**TURNS[1], "weight": 1}]
    assert to_example({"messages": turns}).trained == (True, False, True, True)
    assert to_example({"messages": [ASKED, {**TURNS[1], "train": False}, *TURNS]}).trained == (True, False, True, True)
    assert to_example({"messages": TURNS, "weight": 1}).messages == ANSWERED
    with pytest.raises(Unusable, match="weight 0") as dropped:
        to_example({"messages": TURNS, "weight": 0})
    assert dropped.value.asked
    for row in ({"messages": TURNS, "weight": 0.5}, {"messages": [ASKED, {**TURNS[1], "weight": 0.5}]}):
        with pytest.raises(Unusable, match=r"weight 0\.5.*only 0 and 1"):
            to_example(row)


def test_what_plays_no_part_is_named() -> None:
    made = to_example({"id": 7, "empty": None, "messages": [{**ASKED, "images": ["x"]}, TURNS[1]], "source": "hub"})
    assert made.unread == ("id", "source", "messages.images")
    assert to_example({"messages": [*TURNS, ASKED]}).messages == ANSWERED
    assert to_example({"messages": [*TURNS, ASKED]}).notes == (TRAILING,)


def test_columns_that_are_named_come_before_those_that_are_known() -> None:
    row = {"messages": TURNS, "prompt": "p", "response": "r", "system": "Think."}
    made = to_example(row, mapped=("prompt", "response"))
    assert [message["content"] for message in made.messages] == ["Think.", "p", "r"]
    assert made.unread == ("messages",) and made.schema == "prompt + response"


def test_a_text_is_a_document() -> None:
    made = to_example({"text": "Once upon a time.", "meta": 1})
    assert (made.text, made.messages, made.unread) == ("Once upon a time.", (), ("meta",))


def test_question_answer_loses_its_calculator_marks() -> None:
    said = to_example(GSM).messages[1]["content"]
    assert said == "<think>\nHalf is 48/2 = 24.\nAll is 72.\n</think>\n\\boxed{1072}"
    assert to_example(GSM, "final_answer").messages[1]["content"].endswith("</think>\n**Final Answer:** 1072")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("72", "<think>\n\n</think>\n\\boxed{72}"),
        (72, "<think>\n\n</think>\n\\boxed{72}"),
        ("So.\n#### (3, 5)", "<think>\nSo.\n</think>\n\\boxed{(3, 5)}"),
        ("So.\n#### $1,234,567.50", "<think>\nSo.\n</think>\n\\boxed{$1234567.50}"),
        ("So.\n#### 1,2,3", "<think>\nSo.\n</think>\n\\boxed{1,2,3}"),
        ("So.\n#### 2\nThe answer is: 2", "<think>\nSo.\n</think>\n\\boxed{2}"),
        ("So.\n####2\n", "<think>\nSo.\n</think>\n\\boxed{2}"),
        ("#### Step 1\nAdd.\n#### Step 2\nSo it is 3.", "#### Step 1\nAdd.\n#### Step 2\nSo it is 3."),
        ("One and one is <<1+1=2>>2.\n\nSo 2.", "One and one is 2.\n\nSo 2."),
    ],
)
def test_answers_of_question_answer(answer: Any, said: str) -> None:
    assert to_example({"question": "a", "answer": answer}).messages[1]["content"] == said


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "response": " "}, "response is empty"),
        ({"prompt": "a", "response": None}, "response is null, no text"),
        ({"prompt": "a", "response": ["b"]}, "response is a list, no text"),
        ({"prompt": "", "response": "b"}, "prompt is empty"),
        ({"messages": []}, "messages is empty"),
        ({"messages": "hello"}, "messages is a text, no list of messages"),
        ({"messages": [ASKED]}, "no turn of the assistant"),
        ({"messages": [ASKED, {"role": "assistant", "content": ""}]}, "an empty turn of the assistant"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "an empty turn of the assistant"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages has the role 'robot'"),
        ({"messages": [{"content": "a"}]}, "messages has a message without a role"),
        ({"messages": ["a", 7]}, "messages holds a text, which is no message"),
        ({"prompt": "a", "response": float("nan")}, "response is null, no text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "a message has a part of type 'image_url', which is no text",
        ),
        ({"system": "x", "messages": [{"role": "system", "content": "y"}, *TURNS]}, "another system message"),
        ({"messages": [ASKED, {**TURNS[1], "tool_calls": [{"id": "c"}]}]}, "a tool call without a name"),
        (
            {"messages": [ASKED, {**TURNS[1], "tool_calls": [{"name": "add", "arguments": "{a: 1"}]}]},
            "the text of a tool call's arguments is no JSON",
        ),
        (
            {"messages": [ASKED, {**TURNS[1], "tool_calls": [{"name": "add", "arguments": [1, 2]}]}]},
            "the arguments of a tool call are a list, no object",
        ),
    ],
)
def test_why_rows_cannot_be_used(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason.replace("(", r"\(")):
        to_example(row)


def test_columns_that_nobody_knows_are_told_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"its columns are text_a, text_b;.*--data\.columns"):
        to_example({"text_a": "x", "text_b": "y"})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "choices": ["x", "y"], "answer": 1, "subject": "s"}, "B"),
        ({"question": "q", "options": {"A": "x", "B": "y"}, "answer": "y", "answer_idx": "B"}, "B"),
        ({"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}, "B"),
        ({"question": "q", "A": "x", "B": "y", "answer": "B"}, "B"),
        ({"question": "q", "options": ["A) x", "B) y"], "correct": "B"}, "B"),
    ],
)
def test_multiple_choice_shows_its_choices_and_learns_the_letter(row: dict[str, Any], said: str) -> None:
    example = to_example(row)
    asked, answered = example.messages
    assert asked["content"] == "q\n\nA. x\nB. y\n\nAnswer with the letter of the right choice."
    assert answered["content"].endswith(rf"\boxed{{{said}}}")
    assert set(example.unread) <= {"subject"}


def test_a_worked_answer_of_multiple_choice_is_said_as_it_is() -> None:
    for name in ("answer", "output", "response"):
        asked, answered = to_example({"question": "q", "choices": ["x", "y"], name: "Since y is even, (B)."}).messages
        assert asked["content"] == "q\n\nA. x\nB. y" and answered["content"] == "Since y is even, (B)."
    thought = to_example({"question": "q", "options": ["A) x", "B) y"], "rationale": "y is even", "correct": "B"})
    assert thought.messages[-1] == {"role": "assistant", "content": "B", "reasoning_content": "y is even"}


def test_a_row_of_choices_of_which_none_is_named_is_dropped() -> None:
    with pytest.raises(Unusable, match="answer is 9, which names none of its 2 choices"):
        to_example({"question": "q", "choices": ["x", "y"], "answer": 9})
    with pytest.raises(UserError, match="no conversation: its columns are question, correct_answer"):
        to_example({"question": "q", "correct_answer": "x"})


@pytest.mark.parametrize("asking", ["prompt", "instruction", "question", "problem", "query"])
def test_an_input_belongs_to_the_question_whatever_asks_it(asking: str) -> None:
    example = to_example({asking: "Double it:", "input": "8", "response": "16"})
    assert example.messages[0]["content"] == "Double it:\n\n8" and example.unread == ()
    assert to_example({asking: "a", "input": "a", "response": "b"}).messages == ANSWERED
