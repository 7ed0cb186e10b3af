"""Documents as plain text, from files in order or from a `datasets` name, one at a time."""

import codecs
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from srm_ray.data import formats, reading
from srm_ray.errors import UserError

TEXTS = (".txt", ".text", ".md", ".py")  # of plain texts that are looked for in a folder, beside files of rows
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
DAMAGED = 0.01  # share of a text's characters that are no UTF-8, above which it is none
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


def files_of(paths: str, option: str = "--data.path") -> list[Path]:
    """The files, of rows or of plain text, that paths, folders and globs separated by commas name, in order.

    Raises `UserError` when there are none, or one is empty or cannot be read.
    """
    return [file.absolute() for file in reading.check_files(paths, option, (*formats.SUFFIXES, *TEXTS))]


def path_texts(paths: str, column: str = "") -> Iterator[str]:
    """Texts of files and folders named by commas."""
    for file in files_of(paths):
        yield from (text for _, text in file_texts(file, column))


def file_texts(file: Path, column: str) -> Iterator[tuple[str, str]]:
    """(what names it, text) of each document of a file."""
    if has_rows(file):
        for number, row in formats.rows(file):
            yield f"{file}:{number}", document_text(row, column, f"{file}:{number}")
    else:
        for number, text in plain_texts(file):
            yield f"{file}:{number}", decoded(text, f"{file}:{number}")


def has_rows(file: Path) -> bool:
    """Whether a file holds rows with fields rather than text: by its suffix, else its first bytes."""
    if formats.suffix_of(file) in formats.SUFFIXES:
        return True
    return formats.suffix_of(file) not in TEXTS and formats.is_table(file)


def is_plain(file: Path) -> bool:
    """Whether byte ranges of a text file can be read apart: it is neither compressed nor in UTF-16."""
    with file.open("rb") as opened:
        return not formats.compression_of(file) and opened.read(2) not in WIDE


def plain_texts(file: Path) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, UTF-8 text) of each document of a text file, which may be compressed or in UTF-16."""
    with formats.readable(file), formats.opened(file) as opened:
        try:
            wide = opened.peek(2)[:2] in WIDE
            text = io.TextIOWrapper(opened, "utf-16", newline="\n") if wide else opened
            lines = (line.encode() if wide else line for line in formats.bounded(text, file))
            yield from reading.runs(enumerate(lines, 1))
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: {error}") from None


def decoded(text: bytes, where: str) -> str:
    """Raises `UserError` for what is no UTF-8 text; single damaged characters become U+FFFD."""
    found = text.decode("utf-8", errors="replace").removeprefix("\ufeff")
    if "\0" in found or found.count("\ufffd") > DAMAGED * len(found) + 1:
        raise UserError(f"{where}: not UTF-8 text: convert it, e.g. iconv -f latin1 -t utf-8")
    return found


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
