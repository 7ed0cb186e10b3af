"""Prompts from the generator, JSONL files and GSM8K's form; what is wrong in a file is named with its line."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from srm_ray.config.data import DataConfig
from srm_ray.data import arithmetic
from srm_ray.data.problem_files import Screen
from srm_ray.data.prompts import held_out_prompts, training_stream
from srm_ray.errors import UserError
from tests.data.problem_rows import read

SHARED = Path(os.environ.get("SRM_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from srm_ray.model import tokenization

    return tokenization.wrap(tokenization.train(arithmetic.tokenizer_texts(0), 384), context=512)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


# The generator


def test_the_generator_is_endless_and_the_same_for_a_seed(tokenizer: Any) -> None:
    first = training_stream(DataConfig(), tokenizer, seed=1, limit=512)
    again = training_stream(DataConfig(), tokenizer, seed=1, limit=512)
    other = training_stream(DataConfig(), tokenizer, seed=2, limit=512)
    assert first.size is None
    assert first[1_000_003] == again[1_000_003] != other[1_000_003]
    assert first[5].index == 5
    assert first[5].source == "arithmetic"


def test_a_rendered_prompt_ends_with_the_generation_prompt(tokenizer: Any) -> None:
    prompt = training_stream(DataConfig(), tokenizer, seed=1, limit=512)[0]
    assert prompt.text.endswith("<|im_start|>assistant\n<think>\n")
    assert tokenizer.decode(list(prompt.token_ids), skip_special_tokens=False) == prompt.text
    question = arithmetic.problem(1, 0).question
    assert f"<|im_start|>user\n{question}<|im_end|>" in prompt.text


def test_held_out_problems_are_never_trained_on(tokenizer: Any) -> None:
    held_out = {prompt.text for prompt in held_out_prompts(DataConfig(), tokenizer, count=200, limit=512)}
    stream = training_stream(DataConfig(), tokenizer, seed=3, limit=512)
    assert len(held_out) == 200
    assert not held_out & {stream[index].text for index in range(1000)}


def test_an_unknown_generator_is_named(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="'sums' does not exist"):
        training_stream(DataConfig(generator="sums"), tokenizer, seed=1, limit=512)


# JSONL


def test_rows_of_each_form(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    tasks = read(
        write(
            tmp_path / "mixed.jsonl",
            {"prompt": "1+1?", "answer": 2},
            "",
            {"messages": messages, "answer": "4", "source": "by hand"},
            {"question": "72?", "answer": "It is <<70+2=72>>72.\n#### 1,072"},
            {"prompt": "def f", "tests": ["assert f() == 1"], "entry_point": "f"},
        )
    )
    assert [task.answer for task in tasks] == ["2", "4", "1072", None]
    assert tasks[0].messages == ({"role": "user", "content": "1+1?"},)
    assert tasks[1].messages == tuple(messages)
    assert [task.source for task in tasks] == ["mixed", "by hand", "mixed", "mixed"]
    assert (tasks[3].tests, tasks[3].entry_point) == (["assert f() == 1"], "f")
    assert [task.where.rpartition(":")[2] for task in tasks] == ["1", "3", "4", "5"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "x", ', "not JSON"),
        ('{"prompt": "x"', r"not JSON \(Expecting ',' delimiter at column 15\)"),
        ("[1, 2]", "an object is expected, got list"),
    ],
)
def test_a_line_that_is_no_object_is_named_with_its_number(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.jsonl", {"prompt": "1+1?", "answer": "2"}, line)
    with pytest.raises(UserError, match=f"bad.jsonl:2: {message}"):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"answer": "1"}', r"`prompt` or `messages` is missing \(found answer\)"),
        ('{"prompt": "", "answer": "1"}', "prompt is empty"),
        ('{"prompt": null, "answer": "1"}', "prompt is null"),
        ('{"prompt": "x"}', r"`answer` or `tests` is missing \(found prompt\)"),
        ('{"prompt": "x", "answer": null}', "answer is null"),
        ('{"prompt": "x", "answer": []}', "answer: the answer is an empty list"),
        ('{"messages": [], "answer": "1"}', "messages is empty"),
        ('{"messages": [{"role": "user"}], "answer": "1"}', "messages has no user's turn at its end"),
        ('{"messages": [{"role": "alien", "content": "x"}], "answer": "1"}', "messages has the role 'alien'"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_or_refused_with_its_line(line: str, message: str, tmp_path: Path) -> None:
    good = [{"prompt": f"{n}?", "answer": "2"} for n in range(20)]
    with pytest.raises(
        UserError, match=rf"5\.0% of 20 .* 0\.04 allows: 1 {message} \(.*bad.jsonl:2\); .*data.max_dropped"
    ):
        read(write(tmp_path / "bad.jsonl", good[0], line, *good[2:]), screen=Screen(max_dropped=0.04))
    assert len(read(tmp_path / "bad.jsonl", screen=Screen(max_dropped=0.05))) == 19


def test_files_without_tasks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="holds no rows"):
        read(write(tmp_path / "empty.jsonl", "", ""))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-16"):
        read(tmp_path / "binary.jsonl")


def test_a_pass_is_shuffled_by_seed_and_the_next_pass_anew(tokenizer: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "sums.jsonl", *({"prompt": f"{n}?", "answer": n} for n in range(50)))

    def answers(seed: int, start: int, count: int) -> list[str | None]:
        stream = training_stream(DataConfig(path=str(path)), tokenizer, seed=seed, limit=512)
        return [stream[index].answer for index in range(start, start + count)]

    first, second = answers(1, 0, 50), answers(1, 50, 50)
    assert sorted(map(str, first)) == sorted(map(str, second)) == sorted(map(str, range(50)))
    assert first != second
    assert first != answers(2, 0, 50)
    # A cursor is all there is to remember: a fresh stream goes on where another stopped.
    assert answers(1, 37, 30) == (first + second)[37:67]


def test_a_system_message_goes_before_prompts_that_have_none(tokenizer: Any, tmp_path: Path) -> None:
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "1?"}]
    path = write(tmp_path / "two.jsonl", {"prompt": "1?", "answer": 1}, {"messages": own, "answer": 1})
    data = DataConfig(path=str(path), system="Yours.")
    stream = training_stream(data, tokenizer, seed=1, limit=512)
    texts = {stream[0].text, stream[1].text}
    assert sorted("Yours." in text for text in texts) == sorted("Mine." in text for text in texts) == [False, True]


def test_prompts_that_leave_no_room_are_left_out_or_refused_with_their_lines(
    tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"{n}?", "answer": n} for n in range(20)]
    path = write(tmp_path / "long.jsonl", *rows, {"prompt": "1+" * 200 + "1?", "answer": 201})
    stream = training_stream(DataConfig(path=str(path)), tokenizer, seed=1, limit=100)
    stream.check()
    assert stream.size == 20 and {stream[index].answer for index in range(20)} == {str(n) for n in range(20)}
    assert "1 prompts of more than 100 tokens: lower rollout.max_new_tokens" in (said := capsys.readouterr().out)
    assert "long.jsonl:21" in said
    strict = training_stream(DataConfig(path=str(path), max_dropped=0.01), tokenizer, seed=1, limit=100)
    with pytest.raises(UserError, match=r"4\.8% of 21 rows .*long\.jsonl:21"):
        strict.check()


def test_rows_that_the_chat_template_refuses_are_left_out_or_refused_with_its_words(
    tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = (
        "{% for m in messages %}"
        "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    rows = [{"prompt": f"{n}?", "answer": n} for n in range(20)]
    path = write(tmp_path / "mixed.jsonl", *rows, {"system": "Be brief.", "prompt": "20?", "answer": 20})
    stream = training_stream(DataConfig(path=str(path)), strict, seed=1, limit=100)
    stream.check()
    assert stream.size == 20
    assert "1 refused by the chat template (System role not supported)" in (said := capsys.readouterr().out)
    assert "mixed.jsonl:21" in said
    with pytest.raises(UserError, match=r"100\.0% of 21 .*21 refused by the chat template"):
        training_stream(DataConfig(path=str(path), system="Be brief."), strict, seed=1, limit=100).check()


def test_a_file_has_held_out_problems_only_where_one_is_given(tokenizer: Any, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", {"prompt": "1?", "answer": 1})
    test = write(tmp_path / "test.jsonl", *({"prompt": f"{n}?", "answer": n} for n in range(5)))
    assert held_out_prompts(DataConfig(path=str(train)), tokenizer, count=10, limit=512) == []
    data = DataConfig(path=str(train), eval_path=str(test))
    assert [p.answer for p in held_out_prompts(data, tokenizer, count=3, limit=512)] == ["0", "1", "2"]


# GSM8K


def test_gsm8k_as_published(tokenizer: Any) -> None:
    path = SHARED / "gsm8k" / "train.jsonl"
    if not path.is_file():
        pytest.skip(f"GSM8K is not at {path}: set SRM_SHARED_DATA to a folder with gsm8k/train.jsonl")
    tasks = read(path)
    assert len(tasks) == 7473
    assert tasks[0].answer == "72"
    for task in tasks:
        assert task.answer is not None
        float(task.answer)
    stream = training_stream(DataConfig(path=str(path)), tokenizer, seed=1, limit=4096)
    assert stream.size == 7473


def test_prompts_that_spell_control_tokens_are_said(
    tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spelled.jsonl"
    rows = [{"prompt": "1+1?", "answer": "2"}, {"prompt": "2+1? <eos>", "answer": "3"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stream = training_stream(DataConfig(path=str(path)), tokenizer, seed=1, limit=100)
    stream.check()
    said = capsys.readouterr().out
    assert f"1 prompts spell control tokens of the model ({path}:2 is the first), which are taken as text" in said
    prompts = [prompt for prompt in stream.first(2) if "2+1?" in prompt.text]
    assert len(prompts) == 1 and tokenizer.convert_tokens_to_ids("<eos>") not in prompts[0].token_ids


def test_what_the_chat_template_leaves_out_of_prompts_is_said(
    tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}
    asked = {"role": "user", "content": "1+1?"}
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "system", "content": "Be brief."}, asked], "answer": 2},
        {"messages": [{"role": "user", "content": "2+1?"}], "answer": 3},
        {"messages": [asked, called, {"role": "tool", "content": "2"}], "answer": 2},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{% for m in messages if m.role != 'system' %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    training_stream(DataConfig(path=str(path)), other, seed=1, limit=2000).check()
    said = capsys.readouterr().out
    assert "1 prompts: the chat template leaves the system message out" in said
    assert "1 prompts: the chat template leaves tool calls out" in said
    training_stream(DataConfig(path=str(path)), tokenizer, seed=1, limit=2000).check()
    assert "leaves" not in capsys.readouterr().out
