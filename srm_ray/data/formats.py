"""The rows of one file, whatever its form: JSON lines, JSON arrays, Parquet, Arrow, CSV; plain or compressed.

    file --its first bytes--> compression, form, encoding --> (line or row number, object)

The content decides, not the name (CSV alone is known by its suffix). Rows stream: of a JSON array one element is
decoded at a time, of Parquet one batch. Numbers are those of lines in text files, of rows in tables, from 1.
"""

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError

Row = dict[str, Any]
HEAD = 1 << 16  # bytes that are looked at to know a file
BATCH = 256  # rows of Parquet or Arrow held at once
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
OTHERS = {b"PK\x03\x04": "a zip archive", b"7z\xbc\xaf": "a 7z archive", b"\x93NUMPY": "a NumPy array"}
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".arrow")
COMPRESSED = (".gz", ".zst", ".zstd", ".bz2", ".xz")
HOLDERS = ("data", "rows", "examples", "instances", "items", "train", "test")  # of the rows, in one object
SOLID = re.compile(r"[^\s,\ufeff]")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)
# Of one line or JSON value (bytes, or characters), and of a compressed table: a file of a kilobyte may unpack to 10 GB.
LONGEST = 1 << 28
LARGEST_TABLE = 1 << 31


def rows(path: Path, option: str = "--data.path") -> Iterator[tuple[int, Row]]:
    """(number, object) of every row of a file; empty lines are skipped.

    Raises `UserError` naming file and line for what is not an object, `option` and the file for what cannot be read.
    """
    import pyarrow

    number = 0
    try:
        with readable(path, option), opened(path) as file:
            for number, row in form_of(file, path):
                yield number, row
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not {error.encoding.upper()} text ({error.reason} after line {number}): convert it, e.g. "
            f"iconv -f latin1 -t utf-8"
        ) from None
    except pyarrow.ArrowException as error:
        raise UserError(f"{option} {path}: a table that cannot be read ({' '.join(str(error).split())})") from None


@contextlib.contextmanager
def readable(path: Path, option: str = "--data.path") -> Iterator[None]:
    """What the machine or a damaged archive refuses while `path` is read, in one line."""
    try:
        yield
    except DAMAGED as error:
        raise UserError(f"{option} {path}: its compressed content is damaged or cut off ({error})") from None
    except OSError as error:
        raise UserError(f"{option} {path}: {error.strerror or error}") from None


def bounded(file: io.BufferedReader | io.TextIOWrapper, path: Path) -> Iterator[Any]:
    """The lines of a file, as it has them (bytes or text). Raises `UserError` for one beyond `LONGEST`."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise UserError(f"{path}:{number}: a line of more than {LONGEST >> 20} MB: is it what it should be?")
        yield line


def form_of(file: io.BufferedReader, path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of an open file, by its first bytes and, for CSV, its name."""
    head = file.peek(HEAD)[:HEAD]
    if head[:4] == b"PAR1":
        return parquet(file)
    if head[:6] == b"ARROW1" or head[:4] == b"\xff\xff\xff\xff":
        return arrow(file)
    other = next((what for magic, what in OTHERS.items() if head.startswith(magic)), "")
    if other or head[257:262] == b"ustar":
        raise UserError(f"{path}: {other or 'a tar archive'}: unpack it, and give the files in it")
    encoding = json.detect_encoding(head)  # type: ignore[attr-defined]  # RFC 4627: by byte order marks and zero bytes
    start = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip("\ufeff \t\r\n")
    suffix = suffix_of(path)
    if suffix in (".csv", ".tsv"):
        return table(io.TextIOWrapper(file, encoding, newline=""), path, start, "\t" if suffix == ".tsv" else "")
    if start.startswith("[") or (start.startswith("{") and pretty(start, suffix)):
        return values(io.TextIOWrapper(file, encoding, newline="\n"), path)
    if encoding in ("utf-8", "utf-8-sig"):
        return lines_of(file, path)
    return lines_of(io.TextIOWrapper(file, encoding, newline="\n"), path)


def suffix_of(path: Path) -> str:
    """The suffix that names a form, that of a compression left out: ".jsonl" of "a.jsonl.gz"."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return plain.suffix.lower()


def stem_of(path: Path) -> str:
    """The name without the suffixes of form and compression: "a" of "a.jsonl.gz"."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return plain.stem if plain.suffix.lower() in SUFFIXES else plain.name


def compression_of(path: Path) -> str:
    """ "gzip", "zstd", "bz2", "xz", or "" for a file that is not compressed."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), "")


def is_lines(path: Path) -> bool:
    """Whether a file is plain UTF-8 text with an object a line, so that byte ranges of it can be read apart."""
    if compression_of(path) or suffix_of(path) in (".csv", ".tsv"):
        return False
    with path.open("rb") as file:
        head = file.read(HEAD)
    if begins_table(head) or head.startswith(codecs.BOM_UTF8):
        return False
    start = head.decode("utf-8", "replace").lstrip()
    utf8 = json.detect_encoding(head) == "utf-8"  # type: ignore[attr-defined]
    return utf8 and not start.startswith("[") and not (start.startswith("{") and pretty(start, suffix_of(path)))


def is_table(path: Path) -> bool:
    """Whether a file is Parquet or Arrow, by its first bytes."""
    with opened(path) as file:
        return begins_table(file.peek(6))


def begins_table(head: bytes) -> bool:
    return head[:4] in (b"PAR1", b"\xff\xff\xff\xff") or head[:6] == b"ARROW1"


def opened(path: Path) -> io.BufferedReader:
    """The file's content, decompressed as it is read."""
    compression = compression_of(path)
    if not compression:
        return io.BufferedReader(io.FileIO(path), HEAD)
    if compression == "zstd":
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"), HEAD)
    files = {"gzip": gzip.GzipFile, "bz2": bz2.BZ2File, "xz": lzma.LZMAFile}
    return io.BufferedReader(files[compression](path), HEAD)


# JSON


def parse(line: str, where: str) -> Row:
    """The object of a JSON line. Half of a surrogate pair becomes U+FFFD."""
    try:
        row = json.loads(line.rstrip("\r\n"))  # of a line that is cut, the column is behind its last character
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    except (RecursionError, ValueError) as error:  # ValueError: an integer of too many digits
        raise UserError(f"{where}: JSON that cannot be read ({type(error).__name__}: {error})") from None
    return as_object(row, where, line)


def as_object(row: Any, where: str, text: str) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{where}: an object is expected, got {type(row).__name__}")
    return repaired(row) if SURROGATE.search(text) else row


def repaired(value: Any) -> Any:
    """Half of a surrogate pair, which no tokenizer takes, as U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [repaired(one) for one in value]
    return {repaired(name): repaired(one) for name, one in value.items()} if isinstance(value, dict) else value


def lines_of(file: io.BufferedReader | io.TextIOWrapper, path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(bounded(file, path), 1):
        text = str(line, "utf-8-sig" if number == 1 else "utf-8") if isinstance(line, bytes) else line
        if text.strip():
            yield number, parse(text, f"{path}:{number}")


def pretty(start: str, suffix: str) -> bool:
    """Whether a text that begins with `{` is anything but an object a line: one over several lines, or around all."""
    first = start.split("\n", 1)[0].strip()
    if first == "{" or suffix != ".json":
        return first == "{"
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return True
    return not isinstance(row, dict) or bool(lists_of(row))


def values(file: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, Row]]:
    """Objects one after the other, or in a list; (line that an object begins in, object). One object that holds
    nothing but the list of rows is taken for that list."""
    decoder = json.JSONDecoder()
    text, place, line, listed, depth = "", 0, 1, False, 0
    while True:
        begin = next((match.start() for match in [SOLID.search(text, place)] if match), len(text))
        line += text.count("\n", place, begin)
        place = begin
        if text[place : place + 1] == ("[" if depth == 0 else "]"):
            depth, listed, place = 1 - depth, True, place + 1
            continue
        try:
            if place == len(text):
                raise json.JSONDecodeError("the end", text, place)
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            if len(text) - place > LONGEST:
                raise UserError(
                    f"{path}:{line}: no JSON value in {LONGEST >> 20} MB: is it what it should be?"
                ) from None
            more = file.read(max(HEAD, len(text) - place))
            if more:  # what it fails on may be no more than cut off
                text, place = text[place:] + more, 0
                continue
            if place < len(text) or depth > 0:
                at = line + text.count("\n", place, error.pos)
                what = "the list is not closed" if place == len(text) else error.msg
                raise UserError(f"{path}:{at}: not JSON ({what})") from None
            return
        except (RecursionError, ValueError) as error:  # as in `parse`
            raise UserError(f"{path}:{line}: JSON that cannot be read ({type(error).__name__}: {error})") from None
        source = text[place:end]
        yield from held(value, f"{path}:{line}", line, source, alone=not listed)
        line += source.count("\n")
        place = end


def held(value: Any, where: str, line: int, source: str, *, alone: bool) -> Iterator[tuple[int, Row]]:
    """An object as a row, or, where it is one around a list of rows, these by number."""
    row = as_object(value, where, source)
    lists = lists_of(row) if alone else []
    if len(lists) == 1:
        yield from enumerate(lists[0], 1)
    else:
        yield line, row


def lists_of(row: Row) -> list[list[Row]]:
    """The lists of rows in an object under the names that such lists have."""
    found = [value for name, value in row.items() if name in HOLDERS and isinstance(value, list)]
    return [value for value in found if value and all(isinstance(one, dict) for one in value)]


# Tables


def parquet(file: io.BufferedReader) -> Iterator[tuple[int, Row]]:
    import pyarrow.parquet

    if isinstance(file.raw, io.FileIO):
        source: str | io.BytesIO = str(file.raw.name)
    else:
        source = io.BytesIO(file.read(LARGEST_TABLE + 1))
        if source.getbuffer().nbytes > LARGEST_TABLE:
            raise UserError(f"a compressed table of more than {LARGEST_TABLE >> 30} GB: unpack it, and give its file")
    yield from numbered(pyarrow.parquet.ParquetFile(source).iter_batches(batch_size=BATCH))


def arrow(file: io.BufferedReader) -> Iterator[tuple[int, Row]]:
    """The file form, and the stream form that `datasets` saves."""
    import pyarrow.ipc

    if file.peek(6)[:6] == b"ARROW1":
        reader = pyarrow.ipc.open_file(file)
        yield from numbered(reader.get_batch(place) for place in range(reader.num_record_batches))
    else:
        yield from numbered(pyarrow.ipc.open_stream(file))


def numbered(batches: Any) -> Iterator[tuple[int, Row]]:
    number = 0
    for batch in batches:
        batch.validate(full=True)  # offsets of another file are no places in memory until then
        for begin in range(0, batch.num_rows, BATCH):
            for row in plain_rows(batch.slice(begin, BATCH)):
                number += 1
                yield number, row


def plain_rows(batch: Any) -> list[Row]:
    """Raises ArrowInvalid for what Python has no value for: dates beyond the year 9999."""
    import pyarrow

    try:
        return batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if isinstance(error, pyarrow.ArrowException | UnicodeError):
            raise
        raise pyarrow.ArrowInvalid(str(error)) from None


def table(file: io.TextIOWrapper, path: Path, start: str, delimiter: str) -> Iterator[tuple[int, Row]]:
    """Rows of CSV as text, an empty cell as null; (line that a row ends in, row)."""
    header = start.split("\n", 1)[0]
    delimiter = delimiter or max(",;\t", key=header.count)
    csv.field_size_limit(LONGEST)
    if file.encoding == "utf-8":
        file.reconfigure(encoding="utf-8-sig")
    reader = csv.DictReader(bounded(file, path), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if None in row:
                cells = len(reader.fieldnames or ())
                raise UserError(f"{path}:{reader.line_num}: more cells than the header's {cells} columns")
            yield reader.line_num, {name: cell or None for name, cell in row.items()}
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not CSV ({error})") from None
