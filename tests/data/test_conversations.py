"""The three forms of examples, and what is said about wrong ones."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from srm_ray.data import arithmetic, rollout_pairs, supervised
from srm_ray.data.conversations import Example, read_examples, to_pair
from srm_ray.errors import UserError
from srm_ray.model import tokenization


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tokenization.wrap(tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384))


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


GSM = {"question": "How many?", "answer": "Half is 48/2 = <<48/2=24>>24.\nAll is <<48+24=72>>72.\n#### 1,072"}


def test_question_answer_loses_its_calculator_marks(tmp_path: Path) -> None:
    [example] = read_examples(write(tmp_path / "x.jsonl", GSM))
    said = example.messages[1]["content"]
    assert said == "<think>\nHalf is 48/2 = 24.\nAll is 72.\n</think>\n\\boxed{1072}"
    [other] = read_examples(write(tmp_path / "x.jsonl", GSM), style="final_answer")
    assert other.messages[1]["content"].endswith("</think>\n**Final Answer:** 1072")


def test_all_three_forms(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = {"messages": messages}, {"prompt": "a", "response": "b"}, GSM
    read = list(read_examples(write(tmp_path / "x.jsonl", *rows)))
    assert [example.line for example in read] == [1, 2, 3]
    assert read[0].messages == read[1].messages


def test_forms_of_the_recipes_datasets(tmp_path: Path) -> None:
    hermes = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    orca = {"question": "a", "answer": "One and one is <<1+1=2>>2.\n\nSo 2."}
    rows = [hermes, {"query": "a", "answer": "b"}, orca, {"question": "a", "answer": "72"}]
    said = [example.messages for example in read_examples(write(tmp_path / "x.jsonl", *rows))]
    assert said[0] == said[1] == ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    assert said[2][1]["content"] == "One and one is 2.\n\nSo 2."
    assert said[3][1]["content"] == "<think>\n\n</think>\n\\boxed{72}"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", r"x\.jsonl:2: not JSON"),
        ("[]", r"x\.jsonl:2: an object is expected"),
        ({"text": "x"}, r"x\.jsonl:2: messages, prompt and response.*got 'text'"),
        ({"prompt": "a", "response": ""}, r"x\.jsonl:2: response must be a non-empty text"),
        ({"messages": [{"role": "user", "content": "a"}]}, r"x\.jsonl:2: the last message must be the assistant's"),
        ({"messages": [{"role": "robot", "content": "a"}]}, r"x\.jsonl:2: messages\[0\] has the role 'robot'"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, bad: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_examples(write(tmp_path / "x.jsonl", {"prompt": "a", "response": "b"}, bad)))


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_examples(str(tmp_path / "none.jsonl")))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no examples"):
        list(read_examples(str(tmp_path / "empty.jsonl")))


def example(text: str, source: str = "s", line: int = 1) -> Example:
    return Example(({"role": "user", "content": "q"}, {"role": "assistant", "content": text}), source, line)


def rendered(tokenizer: Any, examples: list[Example], longest: int) -> Any:
    for one in examples:
        yield one.source, *supervised.encode_example(tokenizer, one, longest=longest)


def test_over_long_examples_are_dropped_and_counted(tokenizer: Any) -> None:
    kept, report = supervised.select_examples(
        rendered(tokenizer, [example("x"), example("y" * 500)], 100), limit=0, cap=1, seed=1
    )
    assert (len(kept), report.read, report.dropped) == (1, 2, {"longer than 100 tokens (data.row_length)": 1})
    with pytest.raises(UserError, match=r"no examples are left.*1 longer than 5 tokens"):
        supervised.select_examples(rendered(tokenizer, [example("x")], 5), limit=0, cap=1, seed=1)


def test_no_source_holds_more_than_its_cap(tokenizer: Any) -> None:
    given = [example("x" * 20, source, n) for source, count in (("a", 900), ("b", 60), ("c", 50)) for n in range(count)]
    _, report = supervised.select_examples(rendered(tokenizer, given, 100), limit=0, cap=0.5, seed=1)
    total = sum(report.tokens.values())
    assert report.tokens["a"] / total == pytest.approx(0.5, abs=0.01)
    assert report.tokens["b"] == 60 * report.tokens["c"] // 50


def test_a_limit_draws_by_the_seed(tokenizer: Any) -> None:
    given = [example("x" * (n + 1)) for n in range(40)]
    draw = lambda seed: supervised.select_examples(rendered(tokenizer, given, 100), limit=10, cap=1, seed=seed)[0]  # noqa: E731
    lengths = lambda found: [len(ids) for ids, _ in found]  # noqa: E731
    assert len(draw(1)) == 10 and lengths(draw(1)) == lengths(draw(1)) != lengths(draw(2))
    assert max(lengths(draw(1))) > min(lengths(draw(1))) + 10  # from the whole, not from its beginning


def test_pairs_have_loss_on_the_completion_alone(tokenizer: Any) -> None:
    pair = to_pair({"prompt": "q", "chosen": "good", "rejected": "bad"}, "p", 1)
    (chosen, rejected), _ = supervised.encode_pair(tokenizer, pair, max_prompt=64, max_completion=64)
    said = tokenizer.decode([token for token, on in zip(*chosen, strict=True) if on])
    assert said == "\n</think>\ngood<|im_end|>"
    prompt = list(chosen[1]).index(True)
    assert chosen[0][:prompt] == rejected[0][:prompt]


@pytest.mark.parametrize(
    ("limits", "chosen", "reason"),
    [
        ({"max_prompt": 2}, "good", "prompt longer than 2 tokens (data.max_prompt)"),
        ({"max_completion": 3}, "good", "completion longer than 3 tokens (data.max_completion)"),
        ({}, "bad", "chosen equals rejected"),
    ],
)
def test_why_pairs_are_dropped(tokenizer: Any, limits: dict[str, int], chosen: str, reason: str) -> None:
    pair = to_pair({"prompt": "q", "chosen": chosen, "rejected": "bad"}, "p", 1)
    found = supervised.encode_pair(tokenizer, pair, **({"max_prompt": 64, "max_completion": 64} | limits))
    assert found == ((), reason)
    with pytest.raises(UserError, match=f"no pairs are left.*1 {re.escape(reason)}"):
        supervised.select_pairs([("p", *found)])


def test_pairs_from_rollouts_set_right_against_wrong_of_one_prompt(tokenizer: Any, tmp_path: Path) -> None:
    def row(prompt: int, sample: int, tokens: list[int], correct: bool | None) -> dict[str, Any]:
        line = {"prompt_index": prompt, "draw": 0, "sample": sample, "token_ids": tokens, "correct": correct}
        given = {"prompt": tokenizer.decode([6, prompt]), "prompt_ids": [6, prompt]}
        return line | (given if sample == 0 else {})

    (tmp_path / "rollouts").mkdir()
    rows = [row(20, 0, [30, 7], True), row(20, 1, [31, 7], False), row(20, 2, [32, 7], True), row(20, 3, [33], False)]
    write(tmp_path / "rollouts" / "step_000001.jsonl", *rows, row(21, 0, [40, 7], True), row(21, 1, [41, 7], None))
    pairs, report = rollout_pairs.read(str(tmp_path), tokenizer, [7], seed=1, max_prompt=8, max_completion=8)
    [(chosen, rejected)] = pairs
    assert rejected == ([6, 20, 31, 7], [False, False, True, True])
    assert chosen[0] in ([6, 20, 30, 7], [6, 20, 32, 7])
    assert report.dropped["undecided or cut off"] == 2
