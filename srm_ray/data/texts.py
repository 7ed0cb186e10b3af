"""Documents as plain text, from files in order or from a `datasets` name, one at a time."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
    for path in (part.strip() for part in paths.split(",") if part.strip()):
        for file in files_of(path):
            yield from file_texts(file, column)


def file_texts(file: Path, column: str) -> Iterator[str]:
    if file.suffix == ".jsonl":
        yield from jsonl_texts(file, column)
    elif file.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            for row in batch.to_pylist():
                yield document_text(row, column, str(file))
    else:
        # In pieces: one long text would make one long list of words.
        with file.open(encoding="utf-8", errors="replace", newline="") as stream:
            while lines := stream.readlines(1 << 20):
                yield "".join(lines)


def jsonl_texts(file: Path, column: str) -> Iterator[str]:
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{file}:{number}: not JSON ({error.msg} at column {error.colno})") from None
            if not isinstance(row, dict):
                raise UserError(f"{file}:{number}: an object is expected, got {type(row).__name__}")
            yield document_text(row, column, f"{file}:{number}")


def hub_texts(name: str, subset: str, split: str, column: str) -> Iterator[str]:
    import datasets

    try:
        rows = datasets.load_dataset(name, subset or None, split=split, streaming=True)
    except Exception as error:  # the hub's client raises many kinds, all of them the user's to know
        raise UserError(f"--data.name {name}: cannot be loaded ({type(error).__name__}: {error})") from None
    for number, row in enumerate(rows, 1):
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
