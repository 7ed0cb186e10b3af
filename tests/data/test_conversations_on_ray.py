"""Rendering on Ray Data: the tokens, order and messages of a single process."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.data import conversations, row_files
from srm_ray.config.stages import ConversationData, PairData
from srm_ray.data import arithmetic, reading, supervised
from srm_ray.data.conversations import to_example
from srm_ray.data.drops import Unusable
from srm_ray.data.pairs import to_pair
from srm_ray.data.rendering import render_conversation
from srm_ray.data.reports import Rendered
from srm_ray.errors import UserError
from srm_ray.model import tokenization

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def folder(ray_session, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("tokenizer")
    tokenization.save(tokenization.wrap(tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)), place)
    return str(place)


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def same(found: list[Rendered], wanted: list[Rendered]) -> None:
    assert [(row.source, row.reason) for row in found] == [(row.source, row.reason) for row in wanted]
    for got, expected in zip(found, wanted, strict=True):
        assert len(got.sequences) == len(expected.sequences)
        for (ids, mask), (ids_wanted, mask_wanted) in zip(got.sequences, expected.sequences, strict=True):
            assert np.array_equal(ids, ids_wanted) and np.array_equal(mask, mask_wanted)


def rendered_here(folder: str, source: str, rows: list[Any], longest: int) -> list[Rendered]:
    """What one process makes of conversations."""
    tokenizer, made = tokenization.load(folder), []
    for row in rows:
        try:
            masked = supervised.encode_example(tokenizer, to_example(row), longest=longest)
            made.append(Rendered(source, sequences=masked.sequences))
        except Unusable as error:
            made.append(Rendered(source, reason=str(error)))
    return made


def test_many_pieces_give_what_one_process_gives(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over-long and unusable ones included; every form of example; empty lines; Parquet of several row groups; a JSON
    array, compressed."""
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr(reading, "PIECE", 4096)
    monkeypatch.setattr(reading.pieces, "__defaults__", (4096,))
    monkeypatch.setattr(row_files, "GROUP_ROWS", 5)
    forms = [
        lambda n: {"messages": arithmetic.conversation(1, n)},
        lambda n: {"prompt": f"a{n}", "response": "b" * (n % 90) + "c" if n % 9 else None},
        lambda n: {"question": f"How many {n}?", "answer": f"It is <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"},
        lambda n: {
            "conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "<|im_start|>user"}]
        },
    ]
    lines = [forms[n % 4](n) for n in range(600)]
    tabled = [{"messages": arithmetic.conversation(2, n), "tools": []} for n in range(20)]
    array = [{"prompt": f"p{n}", "completion": "good"} for n in range(30)]
    first = write(tmp_path / "a.jsonl", [lines[0], "", *lines[1:]])
    second, third = str(tmp_path / "b.parquet"), str(tmp_path / "c.json.gz")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(tabled), second, row_group_size=3)
    Path(third).write_bytes(gzip.compress(json.dumps(array).encode()))
    assert len(reading.pieces([Path(first)])) > 8 and len(row_files.row_groups(Path(second))) == 4

    data = ConversationData(path=f"{first},{second},{third}")
    found = list(conversations.examples(data, folder, longest=80, seed=1))
    wanted = rendered_here(folder, first, lines, 80) + rendered_here(folder, second, tabled, 80)
    wanted += rendered_here(folder, third, array, 80)
    assert len(wanted) == 650
    assert {row.reason for row in wanted} == {
        "", "longer than 80 tokens (data.row_length)", "response is null, no text"
    }  # fmt: skip
    same(found, wanted)
    places = [str(row.where) for row in found]
    assert [places[n] for n in (0, 1, 599)] == [f"{first}:1", f"{first}:3", f"{first}:601"]
    assert places[600:620] == [f"{second}:{n + 1}" for n in range(20)]
    assert found[1].schema == "prompt + response" and found[620].schema == "prompt + completion"


def test_generated_ones_are_those_of_the_seed(folder: str) -> None:
    found = list(
        conversations.examples(ConversationData(generator="arithmetic", limit=300), folder, longest=200, seed=4)
    )
    tokenizer = tokenization.load(folder)
    made = [render_conversation(tokenizer, arithmetic.conversation(4, index)) for index in range(300)]
    same(found, [Rendered("arithmetic", sequences=(one,)) for one in made])


def test_pairs(folder: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": "good 3" if n == 3 else "bad"} for n in range(300)]
    path = write(tmp_path / "p.jsonl", rows)
    found = list(conversations.pair_examples(PairData(path=path, max_prompt=64, max_completion=64), folder))
    tokenizer, wanted = tokenization.load(folder), []
    for row in rows[:3] + rows[4:]:
        made = supervised.encode_pair(tokenizer, to_pair(row), max_prompt=64, max_completion=64)
        wanted.append(Rendered(path, sequences=made.sequences))
    same(found[:3] + found[4:], wanted)
    assert (found[3].reason, found[3].sequences, str(found[3].where)) == ("chosen equals rejected", (), f"{path}:4")


def test_columns_are_mapped(folder: str, tmp_path: Path) -> None:
    rows = [{"meta": {"q": f"a{n}"}, "final": "b", "messages": "no"} for n in range(3)]
    path = write(tmp_path / "m.jsonl", rows)
    data = ConversationData(path=path, columns={"prompt": "meta.q", "response": "final"})
    found = list(conversations.examples(data, folder, longest=80, seed=1))
    same(found, rendered_here(folder, path, [{"prompt": f"a{n}", "response": "b"} for n in range(3)], 80))
    with pytest.raises(
        UserError, match=r"m\.jsonl:1: --data\.columns takes response from 'finale'.*did you mean final"
    ):
        data = ConversationData(path=path, columns={"prompt": "meta.q", "response": "finale"})
        list(conversations.examples(data, folder, longest=80, seed=1))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "a"}, r"x\.jsonl:602: no conversation: its columns are prompt; .*--data\.columns"),
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
    with pytest.raises(UserError, match="it holds no rows"):
        list(conversations.examples(ConversationData(path=path), folder, longest=64, seed=1))
