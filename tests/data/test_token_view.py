"""What is shown of rows: token by token, with and without colours, and what becomes of them."""

from typing import Any

import pytest

from srm_ray.config.stages import FilterConfig
from srm_ray.data import supervised, token_view
from srm_ray.data.conversations import to_example
from srm_ray.data.reading import Record
from srm_ray.data.reports import Report
from srm_ray.data.texts import document_text
from srm_ray.data.token_view import Shown, row_lines, show, show_documents, token_lines
from srm_ray.errors import UserError
from tests.data.chat_templates import CHATML, tokenizer_of


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tokenizer_of(CHATML)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(token_view, "echo", lines.append)
    return lines


def render(tokenizer: Any) -> Any:
    def one(record: Record) -> Shown:
        example = to_example(record.fields)
        made = supervised.encode_example(tokenizer, example, longest=100)
        return Shown(made.sequences, example.schema, example.unread, example.notes + made.notes)

    return one


def test_every_token_is_shown_with_its_loss(tokenizer: Any) -> None:
    text = "<|im_start|>user\nWie heißt du? 🙂<|im_end|>"
    ids = tokenizer(text)["input_ids"]
    mask = [False] * 3 + [True] * (len(ids) - 3)
    lines = list(token_lines(tokenizer, ids, mask, colours=False))
    shown = "".join(line[5:].replace("|", "").replace("\\n", "\n") for line in lines)
    assert shown == text.replace("|", "")
    assert sum(line[5:].count("|") for line in lines) <= len(ids) + 4 and lines[0].startswith("     |")
    assert all(line.startswith(("loss |", "     |")) for line in lines) and "🙂" in shown
    assert lines[-1].startswith("loss |")


def test_colours_say_what_the_margin_says(tokenizer: Any) -> None:
    ids = tokenizer("a b")["input_ids"]
    [line] = token_lines(tokenizer, ids, [True] * len(ids), colours=True)
    assert line.startswith("\033[32mloss |") and line.endswith("\033[0m")


def test_control_characters_do_not_reach_the_terminal(tokenizer: Any) -> None:
    ids = tokenizer("a\x1b[2Jb")["input_ids"]
    assert not any("\x1b" in line for line in token_lines(tokenizer, ids, [False] * len(ids), colours=False))


def test_rows_are_shown_with_what_was_left_out_and_why(tokenizer: Any, said: list[str]) -> None:
    rows = [
        {"prompt": "a", "response": "b", "id": 1},
        {"prompt": "c", "response": ""},
        {"prompt": "d", "response": "e"},
    ]
    records = [Record(row, "x.jsonl", number) for number, row in enumerate(rows, 1)]
    assert show(tokenizer, iter(records), render(tokenizer), 2, Report()) == 0
    assert said[0].startswith("--- x.jsonl:1: ") and said[0].endswith("read as prompt + response; not used: id")
    assert "--- x.jsonl:2: dropped, response is empty" in said
    assert any(line.startswith("--- x.jsonl:3: ") for line in said)
    assert "2 examples of 3 rows kept" in said[said.index("---") + 1]
    assert "1 response is empty (x.jsonl:2)" in said[said.index("---") + 1]


def test_where_no_row_can_be_used_that_is_an_error(tokenizer: Any, said: list[str]) -> None:
    with pytest.raises(UserError, match=r"^no row can be used: 1 response is empty \(x\.jsonl:1\)$"):
        show(tokenizer, iter([Record({"prompt": "a", "response": ""}, "x.jsonl", 1)]), render(tokenizer), 1, Report())


def test_a_row_of_no_known_form_is_named(tokenizer: Any, said: list[str]) -> None:
    with pytest.raises(UserError, match=r"^x\.jsonl:1: no conversation: its columns are a"):
        show(tokenizer, iter([Record({"a": 1}, "x.jsonl", 1)]), render(tokenizer), 1, Report())


def test_the_two_of_a_pair_are_named(tokenizer: Any) -> None:
    ids = tokenizer("a")["input_ids"]
    pair = Shown(((ids, [True]), (ids, [False])), names=("chosen", "rejected"), notes=("so",))
    heads = [
        line for line in row_lines(tokenizer, "p:1", pair, colours=False) if not line.startswith(("loss", "     |"))
    ]
    assert heads == [
        "--- p:1: chosen; 1 tokens, 1 with loss",
        "--- p:1: rejected; 1 tokens, 0 with loss",
        "     note: so",
    ]


def test_documents_are_shown_with_what_the_filters_drop(tokenizer: Any, said: list[str]) -> None:
    texts = [("t.jsonl:1", "short"), ("t.jsonl:2", "long enough, twice"), ("t.jsonl:3", "long enough, twice")]
    show_documents(tokenizer, "web", iter(texts), FilterConfig(min_characters=10, min_words=1), 1)
    assert said[0] == "--- t.jsonl:1: dropped, too short" and said[1].startswith("--- t.jsonl:2: ")
    assert all(line.startswith("loss |") for line in said[2 : said.index("---")])
    assert said[-1].startswith("2 documents of 3 documents kept") and said[-1].endswith("1 too short (t.jsonl:1)")
    with pytest.raises(UserError, match=r"source 'web': no document passes data\.filters: 1 too short"):
        show_documents(tokenizer, "web", iter(texts[:1]), FilterConfig(min_characters=10), 1)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"text": "a", "id": 1}, "a"),
        ({"text": None}, ""),
        ({"problem": "a", "solution": "b", "answer": "7"}, "a\nb"),
        ({"problem": "a"}, "a"),
        ({"query": "a", "response": "b"}, "a\nb"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]}, "a"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "a\n\nb"),
    ],
)
def test_the_text_of_a_row(row: dict[str, Any], text: str) -> None:
    assert document_text(row, "", "x:1") == text
