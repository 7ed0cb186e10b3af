"""Problems of one's own among the suites: any form and schema, each with its own grader."""

import asyncio
import json
from pathlib import Path

import pytest

from rewards.dispatch import Graders
from srm_ray import evaluate
from srm_ray.config.evaluate import PromptConfig
from srm_ray.errors import UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.evaluator import Evaluator, messages_of
from srm_ray.inference.completers import ChatCompletion, Sampling

CHOICES = {"question": "Which is red?", "choices": {"text": ["sky", "rose"], "label": ["A", "B"]}, "answerKey": "B"}
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "What is 2+3?"},
]


def write(path: Path, *rows: dict[str, object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def only(task: str, columns: dict[str, str] | None = None, grader: str = "") -> suites.Suite:
    (suite,) = suites.asked([task], columns or {}, grader)
    return suite


def test_names(tmp_path: Path) -> None:
    mine = write(tmp_path / "my problems.jsonl", CHOICES)
    test = write(tmp_path / "sums" / "test.jsonl", CHOICES)
    write(tmp_path / "sums" / "train.jsonl", CHOICES)
    like = write(tmp_path / "gsm8k.jsonl", CHOICES)
    found = suites.asked([mine, "svamp", test, like, f"{tmp_path}/sums", mine, "org/name:main"], {}, "")
    assert [suite.name for suite in found] == ["my-problems", "svamp", "sums-test", "own-gsm8k", "sums", "name"]
    assert len(suites.load(found[4], "")) == 1  # of its splits the test split
    with pytest.raises(UserError, match="two of them would be called sums"):
        suites.asked([f"{tmp_path}/sums", write(tmp_path / "sums.jsonl", CHOICES)], {}, "")
    with pytest.raises(UserError, match=r"--tasks nothing\.jsonl: no such file"):
        only("nothing.jsonl")
    with pytest.raises(UserError, match="unknown suite 'gsm9k'; did you mean gsm8k"):
        only("gsm9k")


def test_each_problem_has_its_own_grader_and_turns(tmp_path: Path) -> None:
    rows = [CHOICES, {"messages": TURNS, "answer": "5"}, {"question": "What is 1+1?", "answer": "so\n#### 2"}]
    suite = only(write(tmp_path / "mine.jsonl", *rows))
    choice, turns, plain = suites.load(suite, "")
    assert (choice.kind, turns.kind, plain.kind) == ("choice", "math", "math")
    prompt = PromptConfig(system="Think.", instruction="Box it.")
    assert "Box it." not in messages_of(suite, choice, prompt)[-1]["content"]
    assert [one["content"] for one in messages_of(suite, turns, prompt)] == [
        *(turn["content"] for turn in TURNS[:3]),
        "What is 2+3?\n\nBox it.",
    ]
    assert messages_of(suite, plain, prompt)[0] == {"role": "system", "content": "Think."}
    assert suites.load(suite, "", 2) == [choice, turns]
    assert suites.digest([choice]) != suites.digest([turns])


def test_columns_and_grader_are_as_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", {"task": "Say red", "info": {"final": "red"}})
    with pytest.raises(UserError, match="name the columns of the problem"):
        suites.load(only(path), "")
    (item,) = suites.load(only(path, {"prompt": "task", "answer": "info.final"}, "text"), "")
    assert (item.question, item.answer, item.kind) == ("Say red", "red", "text")


class Says:
    """A model that always says the same."""

    async def prepare(self) -> None:
        """Nothing to prepare."""

    async def answer(self, messages, seeds, sampling) -> list[ChatCompletion]:
        text = "The answer is B." if "red" in messages[-1]["content"] else r"\boxed{6}"
        return [ChatCompletion("", text, 5, False, seed) for seed in seeds]


def test_they_are_measured(tmp_path: Path) -> None:
    suite = only(write(tmp_path / "mine.jsonl", CHOICES, {"question": "What is 2+3?", "answer": "5"}))
    graders = Graders(1)
    try:
        evaluator = Evaluator(graders, Sampling(), seed=0)
        result = asyncio.run(evaluator.score(suite, suites.load(suite, ""), Says()))
    finally:
        graders.close()
    assert result.values == [1.0, 0.0]
    assert (result.score.value, result.score.n) == (0.5, 2)


def test_what_the_chat_template_leaves_out_of_the_prompts_is_said(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with `--inspect`, where nothing is started."""
    rows = write(tmp_path / "mine.jsonl", {"messages": TURNS, "answer": 5}, {"prompt": "1+1?", "answer": 2})
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content }}\n{% endfor %}")
    options = ["--model", str(tiny_model), "--tasks", rows, "--inspect", "2"]
    assert evaluate.main([*options, "--chat_template", str(template)]) == 0
    assert "mine: in 1 of 2 prompts the chat template leaves the system message out" in capsys.readouterr().out
    assert evaluate.main(options) == 0
    assert "leaves" not in capsys.readouterr().out
