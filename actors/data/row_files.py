"""Rows of files as a Ray dataset, in order: parts of a file are read apart wherever its form allows it.

plain JSON lines  -> ranges of bytes      -> {file_path, file_offset, content: the line}
Parquet           -> ranges of row groups -> {file_path, file_number, content: the row, pickled}
any other rows    -> the whole file       -> likewise
text              -> ranges of bytes, or the whole file where it is compressed -> {.., is_text, content: a document}
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.data.datasets import BATCH, ordered
from srm_ray.data import formats, reading, texts
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from ray.data import Dataset

GROUP_ROWS = 2000  # of Parquet, read by a task at least, where there are so many


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands. offset: of its first byte, in a file of lines; -1: in another. number: its row, from 1."""

    path: str
    offset: int = -1
    number: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{reading.line_number(self.path, self.offset) if self.offset >= 0 else self.number}"


def read_rows(files: list[Path], *, documents: bool = False) -> "Dataset":
    """Every row of the files, to be read with `fields_of`. documents: a file without rows is
    text, and its fields are {text}."""
    import ray

    ordered()
    items = [item for file in files for item in parts(file.absolute(), str(file), documents=documents)]
    # One block a part, so that as many are read at once as there are workers, and no more are held.
    blocks = ray.data.from_items(items, override_num_blocks=len(items))
    return blocks.map_batches(read_part, batch_size=1)


def parts(file: Path, named: str, *, documents: bool = False) -> list[dict[str, Any]]:
    """What a task reads of a file: {file, named, form, start, end}. named: what the user calls it."""
    if documents and not texts.has_rows(file):
        plain = texts.is_plain(file)
        pieces = [("text", piece.start, piece.end) for piece in reading.pieces([file])] if plain else [("texts", 0, 0)]
    elif formats.is_lines(file):
        pieces = [("lines", piece.start, piece.end) for piece in reading.pieces([file])]
    elif is_parquet(file):
        pieces = [("parquet", start, end) for start, end in row_groups(file)]
    else:
        pieces = [("whole", 0, 0)]
    return [{"file": str(file), "named": named, "form": form, "start": a, "end": b} for form, a, b in pieces]


def is_parquet(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def row_groups(file: Path) -> list[tuple[int, int]]:
    """Ranges of row groups that hold about `GROUP_ROWS` rows each."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.ParquetFile(file).metadata
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{file}: a table that cannot be read ({' '.join(str(error).split())})") from None
    ranges: list[tuple[int, int]] = []
    begin = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= GROUP_ROWS:
            ranges.append((begin, group + 1))
            begin, rows = group + 1, 0
    return [*ranges, (begin, metadata.num_row_groups)] if rows else ranges


def read_part(batch: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """The rows of a part, `BATCH` at a time. failed: why it cannot be read further."""
    for at in range(len(batch["file"])):
        held: list[tuple[int, int, bytes, str]] = []
        named = str(batch["named"][at])
        try:
            form = str(batch["form"][at])
            part = (int(batch[name][at]) for name in ("start", "end"))
            for offset, number, content in rows_of_part(Path(str(batch["file"][at])), form, *part):
                held.append((offset, number, content, ""))
                if len(held) == BATCH:
                    yield as_columns(named, form, held)
                    held = []
        except UserError as error:
            held.append((-1, -1, b"", str(error)))
        if held:
            yield as_columns(named, form, held)


def rows_of_part(file: Path, form: str, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """(offset, number, content) of each row."""
    if form == "lines":
        for offset, line in reading.lines(reading.Piece(str(file), start, end)):
            yield offset, 0, line
    elif form == "text":
        for offset, text in reading.runs(reading.lines(reading.Piece(str(file), start, end))):
            yield offset, 0, text
    elif form == "texts":
        for number, text in texts.plain_texts(file):
            yield -1, number, text
    elif form == "parquet":
        for number, row in parquet_rows(file, start, end):
            yield -1, number, pickle.dumps(row)
    else:
        for number, row in formats.rows(file):
            yield -1, number, pickle.dumps(row)


def parquet_rows(file: Path, start: int, end: int) -> Iterator[tuple[int, reading.Row]]:
    """(number in the file, row) of some of its row groups."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        number = sum(table.metadata.row_group(group).num_rows for group in range(start))
        for batch in table.iter_batches(batch_size=BATCH, row_groups=list(range(start, end))):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{file}: a table that cannot be read ({' '.join(str(error).split())})") from None


def as_columns(named: str, form: str, held: list[tuple[int, int, bytes, str]]) -> dict[str, list[Any]]:
    offsets, numbers, contents, failures = zip(*held, strict=True)
    return {
        "file_path": [named] * len(held),
        "file_offset": list(offsets),
        "file_number": list(numbers),
        "is_text": [form in ("text", "texts")] * len(held),
        "content": list(contents),
        "failed": list(failures),
    }


def place_of(row: dict[str, Any]) -> Place:
    """Where a row of `read_rows` stands; of no known place, where it is of another data set."""
    return Place(row.get("file_path", ""), row.get("file_offset", -1), row.get("file_number", 0))


def fields_of(row: dict[str, Any], place: Place) -> reading.Row | None:
    """The columns of a row, of `read_rows` or of another data set; None for an empty line. Raises `UserError` for what
    cannot be read."""
    if not place.path:
        return row
    if row["failed"]:
        raise UserError(row["failed"])
    if row["is_text"]:
        return {"text": texts.decoded(row["content"], "")}
    if place.offset < 0:
        return pickle.loads(row["content"])
    try:
        line = bytes(row["content"]).decode("utf-8-sig" if place.offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text ({error.reason})") from None
    return reading.parse(line, "") if line.strip() else None
