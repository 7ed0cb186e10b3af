"""Rows of other people's data sets, by their columns: what is asked, what is right, who grades it, what is not used."""

import json
from typing import Any

import pytest

from rewards.choice import LETTERS
from srm_ray.data.drops import Unusable
from srm_ray.data.problems import ProblemReader
from srm_ray.data.reading import Record
from srm_ray.data.tasks import Task
from srm_ray.errors import UserError

ABCD = ("x", "y", "z", "w")
LETTERED = dict(zip("ABCD", ABCD, strict=True))


def task_of(row: dict[str, Any], *, columns: tuple[str, ...] = (), graded: bool = True) -> tuple[Task, ProblemReader]:
    reader = ProblemReader(columns, graded=graded)
    return reader.task(Record(row, "f.jsonl", 7), "f"), reader


def gold(row: dict[str, Any]) -> str | None:
    return task_of(row)[0].answer


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


MATH: dict[str, tuple[dict[str, Any], str]] = {
    "GSM8K": ({"question": "P", "answer": "So <<1+1=2>>2.\n#### 1,002"}, "1002"),
    "MATH": (
        {"problem": "P", "level": "5", "type": "Algebra", "solution": r"so $\boxed{\frac{1}{2}}$."},
        r"\frac{1}{2}",
    ),
    "MATH-500": ({"problem": "P", "solution": r"\boxed{1}", "answer": "7", "unique_id": "a"}, "7"),
    "AIME": ({"ID": "2024-I-1", "Problem": "P", "Solution": "long", "Answer": 33}, "33"),
    "NuminaMath": (
        {
            "source": "s",
            "problem": "P",
            "solution": r"\boxed{3}",
            "messages": [user("P"), {"role": "assistant", "content": "x"}],
        },
        "3",
    ),
    "OpenR1-Math": ({"problem": "P", "solution": "s", "answer": "3", "generations": ["a"], "uuid": "u"}, "3"),
    "OpenMathInstruct": ({"problem": "P", "generated_solution": r"\boxed{9}", "expected_answer": "3"}, "3"),
    "BigMath": ({"problem": "P", "answer": "3", "domain": ["x"], "llama8b_solve_rate": 0.5}, "3"),
    "DAPO": (
        {
            "data_source": "d",
            "prompt": [user("P")],
            "reward_model": {"ground_truth": "34", "style": "rule"},
            "extra_info": {},
        },
        "34",
    ),
    "Skywork": ({"prompt": [user("P")], "reward_model": {"ground_truth": '["\\\\frac{3}{2}"]'}}, r"\frac{3}{2}"),
    "reward_model as JSON": ({"prompt": json.dumps([user("P")]), "reward_model": '{"ground_truth": "34"}'}, "34"),
    "synthetic-1": ({"source": "n", "prompt": "P", "verification_info": '{"ground_truth": "5"}'}, "5"),
    "MetaMath": ({"type": "t", "query": "P", "response": "text.\n#### 110\nThe answer is: 110"}, "110"),
    "SVAMP": ({"Body": "P", "Question": "P", "Answer": 3.0}, "3"),
    "TRL text": ({"prompt": "P", "completion": "The answer is 5."}, "5"),
    "TRL messages": ({"prompt": [user("P")], "completion": [{"role": "assistant", "content": r"\boxed{5}"}]}, "5"),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "P"}, {"from": "gpt", "value": r"\boxed{4}"}]}, "4"),
    "OpenThoughts": (
        {
            "system": "S",
            "conversations": [{"from": "user", "value": "P"}, {"from": "assistant", "value": r"\boxed{4}"}],
        },
        "4",
    ),
    "Alpaca": ({"instruction": "P", "input": "", "output": "42", "text": "Below is"}, "42"),
    "BBH": ({"input": "P", "target": "False"}, "False"),
    "ground_truth": ({"prompt": "P", "ground_truth": 42}, "42"),
    "SQuAD": ({"context": "P", "question": "P", "answers": {"text": ["Denver"], "answer_start": [3]}}, "Denver"),
    "BoolQ": ({"passage": "P", "question": "P", "answer": True}, "Yes"),
    "messages": ({"messages": [{"role": "developer", "content": "S"}, user("P")], "final_answer": "1"}, "1"),
    "parts": ({"messages": [{"role": "human", "content": [{"type": "text", "text": "P"}]}], "answer": "1"}, "1"),
}


@pytest.mark.parametrize("name", MATH)
def test_answers_are_found_whatever_the_columns_are_called(name: str) -> None:
    row, answer = MATH[name]
    task, _ = task_of(row)
    assert (task.answer, task.grader, task.tests) == (answer, "", None)
    assert task.messages[-1]["role"] == "user" and set(task.messages[-1]["content"].split()) == {"P"}
    assert all(message["role"] == "system" for message in task.messages[:-1])


CHOICES: dict[str, dict[str, Any]] = {
    "MMLU": {"question": "Q", "choices": list(ABCD), "answer": 2, "subject": "s"},
    "ARC": {"question": "Q", "choices": {"text": list(ABCD), "label": list("ABCD")}, "answerKey": "C"},
    "ARC by number": {"question": "Q", "choices": {"text": list(ABCD), "label": list("1234")}, "answerKey": "3"},
    "MMLU-Pro": {"question": "Q", "options": list(ABCD), "answer": "C", "answer_index": 2, "cot_content": ""},
    "MedQA": {"question": "Q", "options": LETTERED, "answer": "z", "answer_idx": "C"},
    "MedMCQA": {"question": "Q", "opa": "x", "opb": "y", "opc": "z", "opd": "w", "cop": 2, "exp": "because"},
    "MMLU as CSV": {"question": "Q", **LETTERED, "answer": "C"},
    "options in columns": {
        "question": "Q",
        **{f"option_{name}": LETTERED[name.upper()] for name in "abcd"},
        "answer": "c",
    },
    "OpenBookQA": {"question_stem": "Q", "choices": {"text": list(ABCD), "label": list("ABCD")}, "answerKey": "C"},
    "RACE": {"article": "A", "question": "Q", "options": list(ABCD), "answer": "C"},
    "HellaSwag": {"ctx": "Q", "endings": list(ABCD), "label": "2", "activity_label": "a"},
    "WinoGrande": {"sentence": "Q", "option1": "x", "option2": "z", "answer": "2"},
    "Social IQa": {"context": "C", "question": "Q", "answerA": "x", "answerB": "y", "answerC": "z", "label": "3"},
    "PIQA": {"goal": "Q", "sol1": "x", "sol2": "z", "label": 1},
    "AQuA": {"question": "Q", "options": ["A)x", "B)y", "C)z"], "rationale": "r", "correct": "C"},
    "MathQA": {"Problem": "Q", "options": "a ) x , b ) y , c ) z , d ) w", "correct": "c"},
    "SciQ": {"question": "Q", "correct_answer": "z", "distractor1": "x", "distractor2": "y", "distractor3": "w"},
    "GPQA": {
        "Question": "Q",
        "Correct Answer": "z",
        **{f"Incorrect Answer {n}": ABCD[n % 2] + str(n) for n in (1, 2, 3)},
    },
    "TruthfulQA": {"question": "Q", "mc1_targets": {"choices": list(ABCD), "labels": [0, 0, 1, 0]}},
    "objects": {
        "question": "Q",
        "choices": [{"label": name, "text": text} for name, text in LETTERED.items()],
        "answer": "z",
    },
    "JSON in text": {"question": "Q", "choices": json.dumps(ABCD), "answer": "C"},
    "Python in text": {"question": "Q", "choices": str(list(ABCD)), "answer": 2.0},
    "worked": {"question": "Q", "choices": list(ABCD), "answer": "It is not x. The answer is (C)."},
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_shown_and_the_right_one_has_its_letter(name: str) -> None:
    task, _ = task_of(CHOICES[name])
    assert task.grader == "choice" and task.answer is not None
    assert task.given[LETTERS.index(task.answer)] == "z"
    shown = task.messages[-1]["content"]
    assert "Q\n\nA. " in shown and f"{task.answer}. z" in shown


def test_choices_that_the_question_shows_are_not_shown_again() -> None:
    asked = "Which?\n(A) x\n(B) y"
    task, _ = task_of({"question": asked, "choices": ["x", "y"], "answer": 1})
    assert task.messages[-1]["content"] == asked and task.answer == "B"


@pytest.mark.parametrize("answer", [4, -1, "E", "v", None, ""])
def test_a_gold_that_names_no_choice_is_no_gold(answer: Any) -> None:
    with pytest.raises(Unusable, match="choice"):
        task_of({"question": "Q", "choices": list(ABCD), "answer": answer})


@pytest.mark.parametrize(
    "row",
    [
        {"nums": [44, 19, 35], "target": 98},
        {"prompt": "Make it.", "nums": [44, 19, 35], "target": "98"},
        {"prompt": "Make it.", "answer": {"numbers": [44, 19, 35], "target": 98}},
        {"prompt": [user("Make it.")], "reward_model": {"ground_truth": {"numbers": [44.0, 19, 35], "target": 98}}},
    ],
)
def test_countdown(row: dict[str, Any]) -> None:
    task, _ = task_of(row)
    assert (task.grader, task.answer, task.given) == ("countdown", "98", ("44", "19", "35"))
    asked = task.messages[-1]["content"]
    assert asked == "Make it." or ("44, 19, 35" in asked and "98" in asked)


CASES = [{"input": "1\n", "output": "2\n"}]
CODE: dict[str, dict[str, Any]] = {
    "HumanEval": {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "test": "def check(candidate):\n    assert candidate(1) == 1",
        "entry_point": "f",
    },
    "MBPP": {"task_id": 601, "text": "Write f.", "code": "c", "test_list": ["assert f() == 1"], "test_setup_code": ""},
    "MBPP sanitized": {
        "task_id": 601,
        "prompt": "Write f.",
        "test_imports": ["import math"],
        "test_list": ["assert f() == 1"],
    },
    "MBPP+": {
        "task_id": "Mbpp/601",
        "prompt": "Write f.",
        "test_list": ["assert f() == 1"],
        "test": "for x in [1]:\n    assert f() == x",
    },
    "APPS": {
        "question": "Q",
        "input_output": json.dumps({"inputs": ["1"], "outputs": ["2"]}),
        "starter_code": "def f(x):",
    },
    "CodeContests": {
        "description": "Q",
        "public_tests": {"input": ["1\n"], "output": ["2\n"]},
        "private_tests": {"input": [], "output": []},
        "generated_tests": {"input": ["3\n"], "output": ["4\n"]},
    },
    "LeetCodeDataset": {
        "prompt": "import math\n\ndef same(a, b):\n    return a == b\n",
        "query": "Q",
        "test": "def check(candidate):\n    assert same(candidate(1), 1)",
        "entry_point": "Solution().f",
        "completion": "c",
    },
    "OpenCoder": {"instruction": "Q", "output": "c", "entry_point": "f", "testcase": ["assert f() == 1"]},
    "LiveCodeBench": {
        "question_content": "Q",
        "public_test_cases": json.dumps(CASES),
        "starter_code": "",
        "metadata": "{}",
    },
    "PrimeIntellect": {
        "prompt": "Q",
        "verification_info": json.dumps({"test_cases": CASES}),
        "gold_standard_solution": "s",
    },
    "Eurus": {"prompt": [user("Q")], "reward_model": {"ground_truth": json.dumps({"inputs": ["1"], "outputs": ["2"]})}},
}


@pytest.mark.parametrize("name", CODE)
def test_tests_are_found_whatever_the_columns_are_called(name: str) -> None:
    task, _ = task_of(CODE[name])
    assert task.tests and task.answer is None
    if name in ("CodeContests", "LeetCodeDataset"):
        assert task.messages[-1]["content"] == "Q"
    if name == "CodeContests":
        assert task.tests == {"inputs": ["1\n", "3\n"], "outputs": ["2\n", "4\n"]}
    if name == "MBPP+":
        assert task.tests[-1].startswith("for x in")
    if name == "APPS":
        assert "def f(x):" in task.messages[-1]["content"]


def test_golds_and_messages_as_python_writes_them_are_read() -> None:
    spelled = str({"answer": {"value": "5"}})
    assert gold({"problem": "Q", "verification_info": spelled}) == "5"
    assert gold({"passage": "P", "question": "Q", "answers_spans": str({"spans": ["5"]})}) == "5"
    task, _ = task_of({"messages": str([user("Q")]), "answer": "1"})
    assert task.messages == (user("Q"),)
    assert gold({"question": "Q", "answer": "{1, 2}"}) == "{1, 2}"


# What changes the meaning


def test_context_system_and_input_belong_to_the_prompt() -> None:
    task, reader = task_of(
        {"system": "Be brief.", "context": "C.", "question": "Q?", "input": "I.", "answer": "1", "id": 3}
    )
    assert task.messages == ({"role": "system", "content": "Be brief."}, user("C.\n\nQ?\n\nI."))
    assert list(reader.notes.unread) == ["id"]


def test_an_assistants_last_turn_is_no_part_of_the_prompt() -> None:
    turns = [user("1?"), {"role": "bot", "content": "2"}, user("3?"), {"role": "model", "content": r"\boxed{4}"}]
    for row, answer in (({"messages": turns}, "4"), ({"messages": turns, "answer": "5"}, "5")):
        task, reader = task_of(row)
        assert [message["role"] for message in task.messages] == ["user", "assistant", "user"]
        assert "boxed" not in str(task.messages) and task.answer == answer
        assert sum(reader.notes.left_out.values()) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [{"role": "system", "content": "s"}], "answer": "1"}, "no user's turn"),
        ({"messages": [{"role": "alien", "content": "s"}], "answer": "1"}, "role 'alien'"),
        ({"prompt": "P", "images": ["a.png"], "answer": "1"}, "does not see"),
        (
            {"prompt": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "answer": "2"},
            "rendered by a chat template",
        ),
        ({"prompt": "[INST] hi [/INST]", "answer": "2"}, "rendered by a chat template"),
        ({"question": "Q", "context": {"title": ["a"]}, "answer": "1"}, "context is an object"),
        ({"question": "Q", "answer": None, "solution": None}, "answer is null"),
        ({"prompt": "P", "grader": "taste", "answer": "1"}, "`grader` must be one of"),
        ({"prompt": "P", "nums": [1, "a"], "target": 3}, "no whole numbers"),
    ],
)
def test_what_cannot_be_honoured_is_not_used(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        task_of(row)


def test_columns_that_fit_nothing_are_told_with_a_mapping_that_may_be_meant() -> None:
    with pytest.raises(
        UserError, match=r'f\.jsonl:7: .*found text, final_label.*--data\.columns "{prompt: text, answer: final_label}"'
    ):
        task_of({"text": "T", "final_label": 1})
    with pytest.raises(UserError, match="preference pair"):
        task_of({"chosen": [user("x")], "rejected": [user("x")]})


def test_mapped_columns_count_before_any_schema() -> None:
    row = {"question": "not this", "answer": "2", "prompt": "P"}
    task, _ = task_of(row, columns=("prompt", "answer"))
    assert (task.messages, task.answer) == ((user("P"),), "2")


def test_a_reward_of_ones_own_needs_no_gold_and_gets_the_row() -> None:
    row = {"prompt": "P", "answer": None, "difficulty": 3}
    task, _ = task_of(row, graded=False)
    assert (task.answer, task.row) == (None, row)


def test_a_text_grader_gets_the_gold_as_it_is() -> None:
    row = {"input": "Sort: b a", "target": "a b, in all of the many words that a text may have, one behind the other"}
    reader = ProblemReader(grader="text")
    task = reader.task(Record(row, "f.jsonl", 1), "f")
    assert (task.answer, task.grader) == (row["target"], "text")


@pytest.mark.parametrize("row", [*CHOICES.values(), *CODE.values(), *(row for row, _ in MATH.values())])
def test_what_is_written_from_a_task_is_read_as_the_same_task(row: dict[str, Any]) -> None:
    """`python -m srm_ray.filter` keeps problems in this form."""
    from srm_ray.filter import row_of

    task, _ = task_of(row)
    written = json.loads(json.dumps(row_of(task) | {"pass_rate": 0.5}))
    again, _ = task_of(written)
    for name in ("messages", "answer", "also_right", "given", "grader", "entry_point", "source"):
        assert getattr(again, name) == getattr(task, name), name
    assert json.loads(json.dumps(again.tests)) == json.loads(json.dumps(task.tests))
