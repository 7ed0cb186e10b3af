"""Documents as plain text, from files in order or from a `datasets` name, one at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from srm_ray.data import reading
from srm_ray.errors import UserError

SUFFIXES = (".txt", ".md", ".jsonl", ".json", ".parquet", ".py")
COLUMNS = ("text", "content", "document", "problem", "code")
COUPLES = (("question", "answer"), ("prompt", "response"), ("instruction", "output"))


def files_of(path: str, option: str = "--data.path") -> list[Path]:
    """The files that a path names, in order. Raises `UserError` when there are none."""
    root = Path(path).expanduser()
    if not path or not root.exists():
        raise UserError(f"{option} {path}: no such file or folder")
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if file.suffix in SUFFIXES)
    if not files:
        raise UserError(f"{option} {path}: holds no text, JSONL or Parquet files")
    return [file.absolute() for file in files]


def path_texts(paths: str, column: str = "") -> Iterator[str]:
    """Texts of files and folders named by commas."""
    for path in reading.names(paths):
        for file in files_of(path):
            yield from file_texts(file, column)


def file_texts(file: Path, column: str) -> Iterator[str]:
    if has_rows(file):
        for number, row in reading.rows(file):
            yield document_text(row, column, f"{file}:{number}")
    else:
        for piece in reading.pieces([file]):
            yield from (text for _, text in reading.texts(piece))


def has_rows(file: Path) -> bool:
    """Whether a file holds rows with fields rather than text."""
    return file.suffix in (".jsonl", ".json", ".parquet")


def hub_texts(name: str, subset: str, split: str, column: str) -> Iterator[str]:
    for number, row in reading.hub_rows(name, subset, split, streaming=True):
        yield document_text(row, column, f"{name}:{number}")


def document_text(row: Mapping[str, Any], column: str, where: str) -> str:
    """Text of a row: its `column`, else the first usual one, else question and answer, or messages."""
    if column:
        if not isinstance(row.get(column), str):
            raise UserError(f"{where}: no text field {column!r}; the fields are {', '.join(row)}")
        return row[column]
    for name in COLUMNS:
        if isinstance(row.get(name), str):
            return row[name]
    for first, second in COUPLES:
        if isinstance(row.get(first), str) and isinstance(row.get(second), str):
            return f"{row[first]}\n{row[second]}"
    if isinstance(row.get("messages"), list):
        return "\n\n".join(str(message.get("content", "")) for message in row["messages"])
    raise UserError(f"{where}: no text; the fields are {', '.join(row)}: name one with the column option")
