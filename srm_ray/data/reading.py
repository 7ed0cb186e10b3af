"""Rows of files and of the hub's datasets, one at a time, each with the number that names it.

    JSONL or Parquet file -> rows(path)      -> (line or row number, object)
    `datasets` name       -> hub_rows(name)  -> (row number, object)
    any files             -> pieces(files)   -> byte ranges that can be read apart, on any node

Every reader of the project goes through here, so that wrong input is told in one way: `UserError`
with file and line.
"""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.console import hub
from srm_ray.errors import UserError

Row = dict[str, Any]
PIECE = 8 << 20
LONGEST_TEXT = 1 << 20


def rows(path: Path, option: str = "--data.path") -> Iterator[tuple[int, Row]]:
    """(number from 1, object) of a Parquet file's rows or a JSONL file's lines; empty lines are skipped.

    Raises `UserError` naming file and line for what is not an object, `option` and the file for what cannot be read.
    """
    if path.suffix == ".parquet":
        yield from parquet_rows(path, option)
        return
    number = 0
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, parse(line, f"{path}:{number}")
    except OSError as error:
        raise UserError(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: not UTF-8 text ({error.reason} after line {number})") from None


def check_files(paths: str, option: str = "--data.path") -> None:
    """Raise `UserError` for a file, of those named by commas, that is not there or holds nothing."""
    for path in names(paths):
        try:
            with open(path, "rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise UserError(f"{option} {path}: {error.strerror}") from None
        if empty:
            raise UserError(f"{option} {path}: the file holds no examples")


def parse(line: str, where: str) -> Row:
    """The object of a JSON line."""
    try:
        row = json.loads(line.rstrip("\r\n"))  # of a line that is cut, the column is behind its last character
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: an object is expected, got {type(row).__name__}")
    return row


def parquet_rows(path: Path, option: str) -> Iterator[tuple[int, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except OSError as error:
        raise UserError(f"{option} {path}: {error.strerror or error}") from None
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{option} {path}: not a Parquet file ({error})") from None


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def hub_names(text: str, subset: str, split: str) -> Iterator[tuple[str, str, str]]:
    """(name, subset, split) of `datasets` named by commas; `name:subset:split` where one differs from the others."""
    for entry in names(text):
        name, _, rest = entry.partition(":")
        own_subset, _, own_split = rest.partition(":")
        yield name, own_subset or subset, own_split or split


def hub_rows(
    name: str, subset: str, split: str, *, option: str = "--data.name", streaming: bool = False
) -> Iterator[tuple[int, Row]]:
    """(number from 1, object) of a `datasets` name's rows."""
    return enumerate(hub_dataset(name, subset, split, option=option, streaming=streaming), 1)


def hub_dataset(name: str, subset: str, split: str, *, option: str = "--data.name", streaming: bool = False) -> Any:
    """The `datasets` object of a name (or of a folder in its layout). Raises `UserError` when it cannot be loaded."""
    import datasets

    try:
        with nullcontext() if Path(name).exists() else hub.asking(name):
            return datasets.load_dataset(name, subset or None, split=split, streaming=streaming)
    except Exception as error:  # the hub's client raises many kinds, all of them the user's to know
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{option} {name} ({subset or 'default'}, {split}) cannot be loaded: {type(error).__name__}: {reason}; "
            "a local file can be given as the path instead"
        ) from None


# Files in pieces


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes start to end of a file. What begins in them belongs to them."""

    path: str
    start: int
    end: int


def pieces(files: list[Path], size: int = PIECE) -> list[Piece]:
    """Every file cut into pieces of `size` bytes, in order: the same pieces whoever reads them."""
    return [
        Piece(str(file), start, min(start + size, length))
        for file in files
        for length in [file.stat().st_size]
        for start in range(0, length, size)
    ]


def lines(piece: Piece) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of the lines that begin in a piece."""
    with open(piece.path, "rb") as file:
        if piece.start:
            file.seek(piece.start - 1)
            file.readline()  # the rest of a line that began in the piece before
        while (offset := file.tell()) < piece.end:
            yield offset, file.readline()


def texts(piece: Piece) -> Iterator[tuple[int, str]]:
    """(offset, document) of a text file's piece: the piece itself, in runs of whole lines of about a MB
    where it is longer."""
    held: list[bytes] = []
    begin = size = 0
    for offset, line in lines(piece):
        if held and size + len(line) > LONGEST_TEXT:
            yield begin, b"".join(held).decode("utf-8", errors="replace")
            held, size = [], 0
        if not held:
            begin = offset
        held.append(line)
        size += len(line)
    if held:
        yield begin, b"".join(held).decode("utf-8", errors="replace")


def line_number(path: str, offset: int) -> int:
    """Number, from 1, of the line that begins at a byte offset."""
    with open(path, "rb") as file:
        left, count = offset, 1
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            count += block.count(b"\n")
            left -= len(block)
    return count
