"""Rows of files part by part, and what a worker makes of them: without Ray, which only carries them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from actors.data import conversations, row_files
from actors.data.conversations import Rendering, render
from srm_ray.data import arithmetic
from srm_ray.errors import UserError
from srm_ray.model import tokenization

ROWS = [{"prompt": f"a{n}", "response": "b" if n != 4 else None, "id": n} for n in range(10)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("tokenizer")
    tokenization.save(tokenization.wrap(tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)), place)
    return str(place)


def rendered(folder: str, file: Path, **options: Any) -> list[dict[str, Any]]:
    """What the workers give of a file."""
    made: list[dict[str, Any]] = []
    for part in row_files.parts(file, file.name):
        for batch in row_files.read_part({name: [value] for name, value in part.items()}):
            table = pyarrow.table(batch)
            found = render(table, rendering=Rendering(folder, False, 100, **options))
            made += pyarrow.table(found).to_pylist()
    return made


def places(rows: list[dict[str, Any]], file: Path) -> list[str]:
    return [str(row_files.Place(str(file), row["offset"], row["number"])).rpartition(":")[2] for row in rows]


@pytest.mark.parametrize("form", ["lines", "array", "compressed", "parquet", "csv"])
def test_every_form_gives_the_same_rows(
    folder: str, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "GROUP_ROWS", 4)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    file = tmp_path / {"parquet": "x.parquet", "csv": "x.csv", "compressed": "x.jsonl.gz"}.get(form, "x.jsonl")
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), file, row_group_size=3)
        assert row_files.row_groups(file) == [(0, 2), (2, 4)]
    elif form == "csv":
        file.write_text(
            "prompt,response,id\n" + "".join(f"{r['prompt']},{r['response'] or ''},{r['id']}\n" for r in ROWS)
        )
    elif form == "compressed":
        file.write_bytes(gzip.compress(lines.encode()))
    else:
        file.write_text(json.dumps(ROWS, indent=1) if form == "array" else lines)
    rows = rendered(folder, file)
    assert len(rows) == 10 and not any(row["failed"] for row in rows)
    assert [bool(row["reason"]) for row in rows] == [n == 4 for n in range(10)]
    assert [bool(row["sequences"]) for row in rows] == [n != 4 for n in range(10)]
    assert {row["schema"] for row in rows if not row["reason"]} == {"prompt + response"}
    assert {row["unread"] for row in rows if not row["reason"]} == {'["id"]'}
    numbers = [int(place) for place in places(rows, file)]
    assert numbers == sorted(numbers) and len(set(numbers)) == 10


def test_what_cannot_be_read_is_told_with_its_line(folder: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"prompt": "a", "response": "b"}\n\n{"prompt": \n')
    rows = rendered(folder, tmp_path / "x.jsonl")
    assert len(rows) == 2 and rows[1]["failed"].startswith("not JSON")
    assert places(rows, tmp_path / "x.jsonl") == ["1", "3"]
    (tmp_path / "y.jsonl").write_text('{"one": "a", "two": "b"}\n')
    assert rendered(folder, tmp_path / "y.jsonl")[0]["failed"].startswith("no conversation: its columns are one, two")
    whole = gzip.compress(json.dumps(ROWS).encode())
    (tmp_path / "z.json.gz").write_bytes(whole[: len(whole) // 2])
    [*_, last] = rendered(folder, tmp_path / "z.json.gz")
    assert "damaged or cut off" in last["failed"] and last["number"] < 0
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"p\.parquet: a table that cannot be read"):
        row_files.parts(tmp_path / "p.parquet", "p.parquet")


def test_columns_are_mapped_and_rows_of_other_data_sets_are_taken_as_they_are(folder: str) -> None:
    table = pyarrow.Table.from_pylist([{"meta": {"q": "a"}, "final": "b"}])
    mapped = Rendering(folder, False, 100, columns={"prompt": "meta.q", "response": "final"})
    [reason], [schema] = (render(table, rendering=mapped)[name] for name in ("reason", "schema"))
    assert (reason, schema) == ("", "prompt + response")
    wrong = Rendering(folder, False, 100, columns={"prompt": "meta.q", "response": "finale"})
    assert "takes response from 'finale'" in render(table, rendering=wrong)["failed"][0]


def test_the_fields_are_those_of_what_is_read_back(folder: str) -> None:
    table = pyarrow.Table.from_pylist([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    assert tuple(render(table, rendering=Rendering(folder, True, 64, 64))) == conversations.FIELDS
