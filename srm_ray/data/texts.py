"""Documents as plain text, from files in order or from a `datasets` name, one at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from srm_ray.data import reading
from srm_ray.errors import UserError

SUFFIXES = (".txt", ".md", ".jsonl", ".parquet", ".py")
COLUMNS = ("text", "content", "document", "code")
COUPLES = (
    ("question", "answer"),
    ("problem", "solution"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("query", "response"),
)
DIALOGUES = (("messages", "content"), ("conversations", "value"))


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
            yield from (text for _, text in file_texts(file, column))


def file_texts(file: Path, column: str) -> Iterator[tuple[str, str]]:
    """(what names it, text) of each document of a file."""
    if has_rows(file):
        for number, row in reading.rows(file):
            yield f"{file}:{number}", document_text(row, column, f"{file}:{number}")
    else:
        for piece in reading.pieces([file]):
            for offset, text in reading.texts(piece):
                yield f"{file}:{reading.line_number(str(file), offset)}", text


def has_rows(file: Path) -> bool:
    """Whether a file holds rows with fields rather than text."""
    return file.suffix in (".jsonl", ".json", ".parquet")


def hub_texts(name: str, subset: str, split: str, column: str) -> Iterator[tuple[str, str]]:
    """(what names it, text) of each document of a `datasets` name."""
    for number, row in reading.hub_rows(name, subset, split, streaming=True):
        yield f"{name}:{number}", document_text(row, column, f"{name}:{number}")


def document_text(row: Mapping[str, Any], column: str, where: str) -> str:
    """Text of a row: its `column`, else the first usual one, else question and answer, or messages. A text that is
    null is an empty one."""
    if column:
        if column in row and row[column] is None:
            return ""
        if not isinstance(row.get(column), str):
            raise UserError(f"{where}: no text field {column!r}; the fields are {', '.join(row)}")
        return row[column]
    for name in COLUMNS:
        if isinstance(row.get(name), str):
            return row[name]
    for first, second in COUPLES:
        if isinstance(row.get(first), str) and isinstance(row.get(second), str):
            return f"{row[first]}\n{row[second]}"
    for name, key in DIALOGUES:
        if isinstance(row.get(name), list):
            turns = [turn for turn in row[name] if isinstance(turn, Mapping)]
            return "\n\n".join(str(turn[key]) for turn in turns if turn.get(key) is not None)
    if isinstance(row.get("problem"), str):
        return row["problem"]
    if any(name in row for name in COLUMNS):
        return ""
    raise UserError(f"{where}: no text; the fields are {', '.join(row)}: name one with the column option")
