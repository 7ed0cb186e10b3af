"""Documents of every form that text lies in: the same ones, named by their line, whether read whole or in parts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from actors.data import corpus, row_files
from srm_ray.config.stages import FilterConfig
from srm_ray.data import texts
from srm_ray.errors import UserError

FOUND = ["first, of two\nlines", "zweites, mit Umlauten: äöü", "third"]
LINES = "".join(json.dumps({"text": text, "id": n}) + "\n" for n, text in enumerate(FOUND))


def compressed(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


ROWS = {
    "a.jsonl": LINES.encode(),
    "a.jsonl.gz": gzip.compress(LINES.encode()),
    "a.json.zst": compressed(LINES.encode()),
    "a.json": json.dumps([{"text": text} for text in FOUND]).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "a.csv": 'id,text\r\n1,"first, of two\nlines"\r\n2,"zweites, mit Umlauten: äöü"\r\n3,third\r\n'.encode(),
}
WHOLE = "\n".join(FOUND)
TEXTS = {
    "a.txt": WHOLE.encode(),
    "a.md": WHOLE.encode(),
    "corpus": WHOLE.encode(),
    "a.txt.gz": gzip.compress(WHOLE.encode()),
    "a.txt.zst": compressed(WHOLE.encode()),
    "bom.txt": b"\xef\xbb\xbf" + WHOLE.encode(),
    "wide.txt": WHOLE.encode("utf-16"),
}


def in_parts(file: Path) -> list[str]:
    """The documents as the workers read them."""
    found = []
    for part in row_files.parts(file, file.name, documents=True):
        for batch in row_files.read_part({name: [value] for name, value in part.items()}):
            for row in pyarrow.table(batch).to_pylist():
                text, reason = corpus.text_and_reason(row, row_files.place_of(row), "", FilterConfig())
                found += [text] if reason != corpus.EMPTY else []
    return found


@pytest.mark.parametrize("name", [*ROWS, "a.parquet", "no_suffix"])
def test_rows(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name in ROWS:
        file.write_bytes(ROWS[name])
    else:
        pyarrow.parquet.write_table(pyarrow.table({"text": FOUND}), file)
    assert in_parts(file) == FOUND
    assert [text for _, text in texts.file_texts(file, "")] == FOUND


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(TEXTS[name])
    assert in_parts(file) == [WHOLE]
    assert list(texts.file_texts(file, "")) == [(f"{file}:1", WHOLE)]


def test_files_are_named_by_folders_globs_and_commas(tmp_path: Path) -> None:
    for name, content in (ROWS | TEXTS).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".hidden.txt").write_text("x")

    def named(given: str) -> list[str]:
        return [file.name for file in texts.files_of(given)]

    assert named(str(tmp_path)) == sorted(name for name in ROWS | TEXTS if name != "corpus")
    assert named(f"{tmp_path}/*.gz") == ["a.jsonl.gz", "a.txt.gz"]
    assert named(f"{tmp_path}/corpus,{tmp_path}/a.csv") == ["corpus", "a.csv"]
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UserError, match=r"empty\.txt: the file is empty"):
        named(str(tmp_path))
    with pytest.raises(UserError, match=r"nowhere: no such file"):
        named("nowhere")


def test_of_splits_the_training_one_is_read(tmp_path: Path, capsys: Any) -> None:
    for name in ("stories-train.txt", "train.txt", "valid.txt"):
        (tmp_path / name).write_text("x")
    assert [file.name for file in texts.files_of(str(tmp_path))] == ["train.txt"]
    assert "valid.txt" in capsys.readouterr().out


@pytest.mark.parametrize("content", [WHOLE.encode("latin1") * 9, b"%PDF\0\1\2", WHOLE.encode("utf-16-le")])
def test_what_is_no_text_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match="not UTF-8 text: convert it"):
        in_parts(file)
    with pytest.raises(UserError, match=r"a\.txt:1: not UTF-8 text"):
        list(texts.file_texts(file, ""))


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(WHOLE.encode())[:-9])
    with pytest.raises(UserError, match=r"a\.txt\.gz: its compressed content is damaged or cut off"):
        in_parts(file)
