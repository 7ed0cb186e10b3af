"""Problems from local files: every suite's rows, golds that its grader accepts, and what is refused."""

import asyncio
import json
from pathlib import Path

import pytest

from rewards.dispatch import Graders
from srm_ray.errors import UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.grading import grade
from srm_ray.evaluation.suites import SUITES, Item
from srm_ray.inference.completers import ChatCompletion
from tests.rewards.shared_data import FOLDER, rows

ROWS = {
    "gsm8k": [{"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 1,004"}],
    "math500": [{"question": "Half?", "answer": r"It is \boxed{x}, no: \boxed{\frac{1}{2}}."}],
    "aime24": [{"problem": "Old?", "answer": 204.0}],
    "svamp": [{"Body": "He has 3 hens", "Question": "How many?", "Answer": 3.0}],
    "humaneval": [{"prompt": "def f(x):\n    pass\n", "entry_point": "f", "test": "def check(candidate):\n    pass\n"}],
    "mbpp": [
        {"task_id": 10, "text": "Train.", "test_list": ["assert f(1) == 1"], "test_setup_code": ""},
        {"task_id": 11, "text": "Test.", "test_list": ["assert f(2) == 2"], "test_setup_code": "import sys"},
    ],
}


def write(folder: Path, name: str, lines: list) -> str:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gsm8k", {"question": "Two and two?", "answer": "1004"}),
        ("math500", {"question": "Half?", "answer": r"\frac{1}{2}"}),
        ("aime24", {"question": "Old?", "answer": "204"}),
        ("svamp", {"question": "He has 3 hens. How many?", "answer": "3"}),
        ("humaneval", {"answer": None, "entry_point": "f", "prelude": "def f(x):\n    pass\n"}),
        ("mbpp", {"answer": None, "tests": ["import sys", "assert f(2) == 2"]}),
    ],
)
def test_rows_become_items(tmp_path: Path, name: str, expected: dict) -> None:
    (item,) = suites.load(SUITES[name], write(tmp_path, name, ROWS[name]))
    assert {field: getattr(item, field) for field in expected} == expected


def test_the_hubs_math500_names_its_fields_otherwise(tmp_path: Path) -> None:
    row = {"problem": "Half?", "solution": "...", "answer": r"\frac12"}
    assert suites.load(SUITES["math500"], write(tmp_path, "math500", [row])) == [Item(0, "Half?", answer=r"\frac12")]


def test_arithmetic_is_held_out_and_the_same_every_time() -> None:
    from srm_ray.data.arithmetic import held_out

    items = suites.load(SUITES["arithmetic"], "", 20)
    operands = [tuple(map(int, item.question.removeprefix("What is ").removesuffix("?").split("+"))) for item in items]
    assert all(held_out(one) and str(sum(one)) == item.answer for one, item in zip(operands, items, strict=True))
    assert suites.load(SUITES["arithmetic"], "/nowhere", 20) == items


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no problems in"),
        ([{"question": "x"}], r"test.jsonl:1: not a row of gsm8k \(KeyError: 'answer'; found question\)"),
        ([{"question": " ", "answer": "#### 1"}], "test.jsonl:1: not a row of gsm8k"),
        ([["x"]], "test.jsonl:1: an object is expected, got str"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, lines: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        suites.load(SUITES["gsm8k"], write(tmp_path, "gsm8k", lines))


def test_missing_files_and_suites_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gsm8k/test.jsonl does not exist"):
        suites.load(SUITES["gsm8k"], str(tmp_path))
    with pytest.raises(UserError, match=r"unknown suite 'gsm9k'; did you mean gsm8k\?"):
        suites.named(["gsm8k", "gsm9k"])
    assert [suite.name for suite in suites.named(["svamp", "gsm8k", "svamp"])] == ["svamp", "gsm8k"]


def test_fingerprint_of_the_problems() -> None:
    items = [Item(0, "a", answer="1"), Item(1, "b", answer="2")]
    assert suites.digest(items) != suites.digest(items[:1])
    assert suites.digest(items) == suites.digest(list(items))


# The real files

COUNTS = {"gsm8k": 1319, "math500": 500, "aime24": 30, "svamp": 1000, "humaneval": 164, "mbpp": 500}


@pytest.mark.parametrize("name", COUNTS)
def test_real_files_load_whole(name: str) -> None:
    rows(f"{name}/{'mbpp' if name == 'mbpp' else 'test'}.jsonl")  # skips where it is missing
    items = suites.load(SUITES[name], str(FOLDER))
    assert [item.index for item in items] == list(range(COUNTS[name]))


@pytest.mark.parametrize("name", ["gsm8k", "math500", "aime24", "svamp"])
def test_real_golds_are_graded_right(name: str) -> None:
    rows(f"{name}/test.jsonl")
    graders = Graders(1)
    try:
        for item in suites.load(SUITES[name], str(FOLDER), 60):
            said = ChatCompletion("<think>\n", rf"so</think>\boxed{{{item.answer}}}", 5, False, 0)
            (sample,) = asyncio.run(grade(graders, item, item.question, [said]))
            assert sample.verdict.correct is True, item
            assert (sample.finished, sample.boxed) == (True, True)
    finally:
        graders.close()


@pytest.mark.integration
def test_real_solutions_of_humaneval_pass_in_the_sandbox() -> None:
    canonical = rows("humaneval/test.jsonl")
    graders = Graders(1)
    if not graders.tier():
        graders.close()
        pytest.skip("NO SANDBOX HERE: this test checked nothing")
    try:
        items = suites.load(SUITES["humaneval"], str(FOLDER))
        for number in (0, 32, 33, 38, 50):  # some need the helpers that the prompt defines
            row = canonical[number]
            code = f"```python\n{row['prompt']}{row['canonical_solution']}\n```"
            said = ChatCompletion("", f"<think>x</think>{code}", 5, False, 0)
            broken = ChatCompletion("", code.replace("return", "return not"), 5, False, 0)
            item = items[number]
            right, wrong = asyncio.run(grade(graders, item, item.prelude, [said, broken]))
            assert (right.verdict.correct, wrong.verdict.correct) == (True, False), number
    finally:
        graders.close()
