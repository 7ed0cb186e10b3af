"""The rows of a file are the same whatever its form, compression and encoding; what cannot be read is one line."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from srm_ray.data import formats, mapping, reading, texts
from srm_ray.data.reading import RowSource, records
from srm_ray.errors import UserError

ROWS = [{"prompt": f"Wie viele Äpfel? {n}\u2028日本", "answer": str(n)} for n in range(700)]


def lines(rows: list[dict[str, Any]] = ROWS, end: str = "\n") -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


def as_csv(delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def parquet() -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), sink)
    return sink.getvalue()


def arrow(opener: Callable[..., Any]) -> bytes:
    sink, table = io.BytesIO(), pyarrow.Table.from_pylist(ROWS)
    with opener(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


FORMS: dict[str, bytes] = {
    "a.jsonl": lines(),
    "crlf.jsonl": lines(end="\r\n"),
    "bom.jsonl": b"\xef\xbb\xbf" + lines(),
    "utf16.jsonl": lines().decode().encode("utf-16"),
    "utf16be.jsonl": lines().decode().encode("utf-16-be"),
    "no_suffix": lines(),
    "lines.json": lines(),
    "array.json": json.dumps(ROWS, ensure_ascii=False).encode(),
    "indented.json": json.dumps(ROWS, indent=2).encode(),
    "utf16.json": json.dumps(ROWS, indent=2).encode("utf-16"),
    "array.jsonl": b"\n [" + b",\n".join(lines().splitlines()) + b"]\n",
    "pretty.json": b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
    "pretty.jsonl": b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
    "held.json": json.dumps({"version": "1.1", "data": ROWS}).encode(),
    "a.parquet": parquet(),
    "renamed.bin": parquet(),
    "file.arrow": arrow(pyarrow.ipc.new_file),
    "stream.arrow": arrow(pyarrow.ipc.new_stream),
    "a.csv": as_csv(),
    "bom.csv": b"\xef\xbb\xbf" + as_csv(),
    "semicolon.csv": as_csv(";"),
    "a.tsv": as_csv("\t"),
}
PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd, "": gzip.compress}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMS[name])
    assert [row for _, row in formats.rows(tmp_path / name)] == ROWS


@pytest.mark.parametrize("name", ["a.jsonl", "indented.json", "a.parquet", "a.csv", "utf16.jsonl", "stream.arrow"])
@pytest.mark.parametrize("suffix", PACKED)
def test_every_compression_gives_the_same_rows(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(PACKED[suffix](FORMS[name]))
    assert [row for _, row in formats.rows(path)] == ROWS
    assert not formats.is_lines(path)


def test_only_plain_lines_are_cut_into_pieces(tmp_path: Path) -> None:
    for name, data in FORMS.items():
        (tmp_path / name).write_bytes(data)
    plain = [name for name in FORMS if formats.is_lines(tmp_path / name)]
    assert plain == ["a.jsonl", "crlf.jsonl", "no_suffix", "lines.json"]


def test_several_streams_in_one_compressed_file_are_all_read(tmp_path: Path) -> None:
    for suffix, pack in PACKED.items():
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(pack(lines(ROWS[:300])) + pack(lines(ROWS[300:])))
        assert [row for _, row in formats.rows(path)] == ROWS, suffix


def test_numbers_are_those_of_the_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\n{"a": 1}\n\n{"a": 2}\n')
    assert [number for number, _ in formats.rows(tmp_path / "a.jsonl")] == [2, 4]
    (tmp_path / "a.json").write_text('[\n{"a":\n 1},\n\n{"a": 2}, {"a": 3}\n]')
    assert [number for number, _ in formats.rows(tmp_path / "a.json")] == [2, 5, 5]


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"p": "\\ud83d?", "m": [{"c": "\\udc00x"}], "e": "\\ud83d\\ude00"}\n')
    [(_, row)] = formats.rows(tmp_path / "a.jsonl")
    assert row == {"p": "\ufffd?", "m": [{"c": "\ufffdx"}], "e": "\U0001f600"}


def test_an_array_streams(tmp_path: Path) -> None:
    """Its first row is there before a fault far behind it is seen."""
    (tmp_path / "a.json").write_bytes(b"[" + b",".join(lines(ROWS * 20).splitlines()) + b", {]")
    found = formats.rows(tmp_path / "a.json")
    assert next(found) == (1, ROWS[0])
    with pytest.raises(UserError, match=r"a\.json:1: not JSON"):
        list(found)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2: not JSON .* at column 7"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "a.jsonl:2: an object is expected, got list"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "a.jsonl: not UTF-8 text .* after line 1.*iconv"),
        ("a.json", b'[{"a": 1},\n{"a": 2}\n', "a.json:3: not JSON .the list is not closed"),
        ("a.json", b'[{"a": 1},\n{"a" 2}]', "a.json:2: not JSON"),
        ("a.json", b"[\n1]", "a.json:2: an object is expected, got int"),
        ("a.jsonl.gz", gzip.compress(lines())[:-900], "a.jsonl.gz: its compressed content is damaged or cut off"),
        ("a.parquet", parquet()[:-300], "a.parquet: a table that cannot be read"),
        ("a.csv", b"prompt,answer\nx,1,2\n", "a.csv:2: more cells than the header's 2 columns"),
        ("a.zip", b"PK\x03\x04" + bytes(90), "a zip archive: unpack it"),
        ("a.jsonl", b'{"a": ' + b"[" * 200_000 + b"\n", "a.jsonl:1: JSON that cannot be read .RecursionError"),
    ],
)
def test_what_cannot_be_read_is_one_line(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as refused:
        list(formats.rows(tmp_path / name))
    assert "\n" not in str(refused.value)


# What a path names


def write(folder: Path, *files: str) -> None:
    for number, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"file": name, "n": number}) + "\n")


def read(path: object, **options: Any) -> list[str]:
    return [record.fields["file"] for record in records(RowSource(path=str(path), **options))]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"a": "' + b" " * (4 << 20), "a.jsonl.zst:1: a line of more than"),
        ("a.jsonl", b'{"a": 1}\n' + b" " * (4 << 20), "a.jsonl.zst:2: a line of more than"),
        ("a.json", b'[{"a": 1}, {"a": "' + b" " * (4 << 20), "a.json.zst:1: no JSON value in"),
        ("a.csv", b"a,b\n" + b"1" * (4 << 20), "a.csv.zst:2: a line of more than"),
        ("a.csv", b"a,b\n" + b'"1\n' + b"1\n" * (2 << 20), "not CSV (field larger than"),
        ("a.parquet", b"PAR1" + bytes(4 << 20), "a compressed table of more than"),
        ("a.txt", b"a" * (4 << 20), "a.txt.zst:1: a line of more than"),
        ("a.txt", "a".encode("utf-16") + ("a" * (2 << 20)).encode("utf-16-le"), "a.txt.zst:1: a line of more than"),
    ],
)
def test_what_a_small_file_unpacks_to_is_bounded(
    name: str, data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kilobyte of zstd may be 10 GB without a line's end."""
    monkeypatch.setattr(formats, "LONGEST", 1 << 20)
    monkeypatch.setattr(formats, "LARGEST_TABLE", 1 << 20)
    file = tmp_path / f"{name}.zst"
    file.write_bytes(pyarrow.compress(data, codec="zstd", asbytes=True))
    assert file.stat().st_size < 4096
    read = texts.file_texts(file, "") if name == "a.txt" else formats.rows(file)
    with pytest.raises(UserError, match=re.escape(message)) as told:
        list(read)
    assert "\n" not in str(told.value)


def test_files_folders_globs_and_commas(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.jsonl",
        "b/c.json",
        "b/d.jsonl",
        "b/.hidden.jsonl",
        "b/dataset_info.json",
        "b/README.md",
        "e,f.jsonl",
    )
    assert read(tmp_path / "b") == ["b/c.json", "b/d.jsonl"]
    assert read(tmp_path / "*" / "*.jsonl") == ["b/d.jsonl"]
    assert read(tmp_path / "**" / "d.jsonl") == ["b/d.jsonl"]
    assert read(f"{tmp_path}/a.jsonl, {tmp_path}/b,{tmp_path}/*.jsonl") == [
        "a.jsonl",
        "b/c.json",
        "b/d.jsonl",
        "e,f.jsonl",
    ]
    assert read(tmp_path / "e,f.jsonl") == ["e,f.jsonl"]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """As `<(zcat rows.gz)` gives one: what is looked at before it is read would be gone."""
    os.mkfifo(tmp_path / "rows")
    with pytest.raises(UserError, match="can be read only once: write its rows to a file"):
        reading.files_named(str(tmp_path / "rows"))


def test_a_folder_of_splits_gives_the_one_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "data/train-00000-of-00002.json", "data/train-00001-of-00002.json", "data/test-00000-of-00001.json")
    assert len(read(tmp_path)) == 2 and read(tmp_path, split="test") == ["data/test-00000-of-00001.json"]
    with pytest.raises(UserError, match="files of test, train are in it, none of split validation"):
        read(tmp_path, split="validation")
    write(tmp_path / "other", "dev/a.jsonl", "train/a.jsonl")
    assert read(tmp_path / "other", split="validation") == ["dev/a.jsonl"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jsonl", "no such file or folder"),
        ("a.json", r"did you mean .*a\.jsonl\?"),
        ("*.csv", "no file matches"),
        ("empty", "no files that can be read in it"),
        ("none.jsonl", "it holds no rows"),
    ],
)
def test_what_is_not_there_is_one_line(path: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(UserError, match=message):
        read(tmp_path / path)


def test_a_name_of_the_hub_as_a_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"given as --data\.name"):
        read("openai/gsm8k")


# Columns


def test_columns_are_mapped_within_objects_and_json_texts() -> None:
    row = {"q": "1+1?", "rm": {"truth": ["2", "two"]}, "info": '{"answer": 2}', "prompt": "other", "x": 1}
    made = mapping.mapped(row, {"prompt": "q", "answer": "rm.truth.0", "gold": "info.answer"}, "a:1")
    assert made == {"rm": row["rm"], "info": row["info"], "prompt": "1+1?", "x": 1, "answer": "2", "gold": 2}


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    with pytest.raises(UserError, match=r"a\.jsonl:1: .*takes answer from 'flie'.*\(file, n\); did you mean file\?"):
        read(tmp_path / "a.jsonl", columns={"answer": "flie"})


def test_a_table_of_what_python_has_no_value_for_is_refused_in_one_line(tmp_path: Path) -> None:
    values = pyarrow.array([10**8, 1], pyarrow.date32())
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["a", "b"], "day": values}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"rows\.parquet: a table that cannot be read"):
        list(formats.rows(tmp_path / "rows.parquet"))


def test_texts_that_end_before_they_begin_are_refused_in_one_line(tmp_path: Path) -> None:
    """Offsets are the file's own: they are checked before anything is read there."""
    offsets = pyarrow.py_buffer(np.array([0, 4, 2, 6], np.int32))
    texts = pyarrow.Array.from_buffers(pyarrow.string(), 3, [None, offsets, pyarrow.py_buffer(b"abcdef")])
    table = pyarrow.table({"prompt": texts})
    with pyarrow.ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table)
    with pytest.raises(UserError, match=r"rows\.arrow: a table that cannot be read"):
        list(formats.rows(tmp_path / "rows.arrow"))
