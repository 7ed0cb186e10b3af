"""Rendering on Ray Data: the tokens, order and messages of a single process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.data import conversations
from srm_ray.config.stages import ConversationData, PairData
from srm_ray.data import arithmetic, reading, supervised
from srm_ray.data.conversations import read_examples, to_pair
from srm_ray.data.rendering import render_conversation
from srm_ray.errors import UserError
from srm_ray.model import tokenization

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(ray_session, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("tokenizer")
    tokenization.save(tokenization.wrap(tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)), place)
    return str(place)


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def same(found: list[supervised.Rendered], wanted: list[supervised.Rendered]) -> None:
    assert [(source, reason) for source, _, reason in found] == [(source, reason) for source, _, reason in wanted]
    for (_, got, _), (_, expected, _) in zip(found, wanted, strict=True):
        assert len(got) == len(expected)
        for (ids, mask), (ids_wanted, mask_wanted) in zip(got, expected, strict=True):
            assert np.array_equal(ids, ids_wanted) and np.array_equal(mask, mask_wanted)


def test_many_pieces_give_what_one_process_gives(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over-long ones included; every form of example; a second file in the columns of Parquet; empty lines."""
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr(reading, "PIECE", 4096)
    monkeypatch.setattr(reading.pieces, "__defaults__", (4096,))
    forms = [
        lambda n: {"messages": arithmetic.conversation(1, n)},
        lambda n: {"prompt": f"a{n}", "response": "b" * (n % 90) + "c"},
        lambda n: {"question": f"How many {n}?", "answer": f"It is <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"},
        lambda n: {
            "conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "<|im_start|>user"}]
        },
    ]
    lines = [forms[n % 4](n) for n in range(600)]
    first = write(tmp_path / "a.jsonl", [lines[0], "", *lines[1:]])
    second = str(tmp_path / "b.parquet")
    messages = [arithmetic.conversation(2, n) for n in range(20)]
    pyarrow.parquet.write_table(pyarrow.table({"messages": messages}), second)
    assert len(reading.pieces([Path(first)])) > 8

    data = ConversationData(path=f"{first},{second}")
    found = list(conversations.examples(data, folder, longest=80, seed=1))
    tokenizer = tokenization.load(folder)
    wanted = [(one.source, *supervised.encode_example(tokenizer, one, longest=80)) for one in read_examples(data.path)]
    assert len(wanted) == 620 and {reason for _, _, reason in wanted} == {"", "longer than 80 tokens (data.row_length)"}
    same(found, wanted)


def test_generated_ones_are_those_of_the_seed(folder: str) -> None:
    found = list(
        conversations.examples(ConversationData(generator="arithmetic", limit=300), folder, longest=200, seed=4)
    )
    tokenizer = tokenization.load(folder)
    made = [render_conversation(tokenizer, arithmetic.conversation(4, index)) for index in range(300)]
    same(found, [("arithmetic", (one,), "") for one in made])


def test_pairs(folder: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": "good 3" if n == 3 else "bad"} for n in range(300)]
    path = write(tmp_path / "p.jsonl", rows)
    found = list(conversations.pairs(PairData(path=path, max_prompt=64, max_completion=64), folder))
    tokenizer = tokenization.load(folder)
    limits = {"max_prompt": 64, "max_completion": 64}
    same(found, [(path, *supervised.encode_pair(tokenizer, to_pair(row, path, 1), **limits)) for row in rows])
    assert found[3][1:] == ((), "chosen equals rejected")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "a"}, r"x\.jsonl:602: messages, prompt and response, .* got 'prompt'"),
        ({"prompt": "a", "response": " "}, r"x\.jsonl:602: response must be a non-empty text, got an empty text"),
        ("[1]", r"x\.jsonl:602: an object is expected, got list"),
        ("{", r"x\.jsonl:602: not JSON"),
        ("\udcff", r"x\.jsonl:602: not UTF-8 text"),
    ],
)
def test_a_wrong_line_is_named(folder: str, tmp_path: Path, bad: Any, message: str) -> None:
    rows = ["", *({"prompt": "a", "response": "b"} for _ in range(600)), bad]
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message):
        list(conversations.examples(ConversationData(path=str(tmp_path / "x.jsonl")), folder, longest=64, seed=1))


def test_lines_without_content_are_no_examples(folder: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", ["", " "])
    with pytest.raises(UserError, match="the file holds no examples"):
        list(conversations.examples(ConversationData(path=path), folder, longest=64, seed=1))
