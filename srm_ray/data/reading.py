"""Rows of files and of the hub's datasets, one at a time, each with what names it in a message.

    files, folders, globs, commas -> files_named --formats.rows--> Record(fields, path, number)
    `datasets` name               -> hub_rows                 -->
    any files                     -> pieces(files): byte ranges that can be read apart, on any node

Every reader of the project goes through here, so that wrong input is reported in one way: `UserError`
with file and line.
"""

import difflib
import glob
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from srm_ray.console import hub
from srm_ray.console.progress import echo
from srm_ray.data import formats
from srm_ray.data.formats import Row, parse, rows
from srm_ray.data.mapping import mapped
from srm_ray.errors import UserError

__all__ = ["Piece", "Record", "Row", "RowSource", "files_named", "hub_dataset", "hub_rows", "parse", "records", "rows"]

PIECE = 8 << 20
LONGEST_TEXT = 1 << 20
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
SPLITS_THERE = re.compile(r"(?:Should be one of|Available splits:) \[([^\]]*)\]")
NO_ROWS = ("dataset_info", "dataset_infos", "dataset_dict", "state", "config", "package", "tokenizer")  # .json of these


@dataclass(frozen=True, slots=True)
class RowSource:
    """Where rows come from: `path` or `name` is set.

    path: files, folders, globs, separated by commas. name: `datasets` names, likewise; name:subset:split where one
        differs from the others.
    columns: our name -> column of the rows, e.g. {"answer": "reward_model.ground_truth"} (see `mapped`).
    option: what messages call these settings, "data" for --data.path and --data.name.
    limit: rows that are read of all of it; 0: every one.
    """

    path: str = ""
    name: str = ""
    subset: str = ""
    split: str = "train"
    columns: Mapping[str, str] = field(default_factory=dict)
    option: str = "data"
    limit: int = 0

    def flag(self, part: Literal["path", "name"]) -> str:
        """The option of the one or the other, e.g. --data.path; `--tasks` takes both."""
        return "--tasks" if self.option == "tasks" else f"--{self.option}.{part}"


@dataclass(frozen=True, slots=True)
class Record:
    """A row. fields: its columns, those that are mapped under their mapped names. path: its file or data set. number:
    its line in a text file, its row in a table, from 1."""

    fields: Row
    path: str
    number: int

    @property
    def where(self) -> str:
        """Names it in a message, e.g. "problems.jsonl:17"."""
        return f"{self.path}:{self.number}"


def records(source: RowSource) -> Iterator[Record]:
    """Every row of every file or data set of a source, in order.

    Raises `UserError` for what is not there, cannot be read, holds no rows, or lacks a column that is mapped.
    """
    count = 0
    for path, found in opened(source):
        empty = True
        for number, row in found:
            empty = False
            count += 1
            fields = mapped(row, source.columns, f"{path}:{number}", source.option) if source.columns else row
            yield Record(fields, path, number)
            if count == source.limit:
                return
        if empty:
            raise UserError(f"{source.flag('path' if source.path else 'name')} {path}: it holds no rows")


def opened(source: RowSource) -> Iterator[tuple[str, Iterator[tuple[int, Row]]]]:
    """(file or data set, its numbered rows)."""
    if source.path:
        option = source.flag("path")
        for file in files_named(source.path, split=source.split, option=option):
            yield str(file), formats.rows(file, option)
        return
    for name, subset, split in hub_names(source.name, source.subset, source.split):
        yield name, hub_rows(name, subset, split, option=source.flag("name"))


# Files


def files_named(
    text: str, *, split: str = "train", option: str = "--data.path", suffixes: Sequence[str] = formats.SUFFIXES
) -> list[Path]:
    """The files that paths, folders and globs separated by commas name, each once, in order.

    split: of a folder whose files have their split in the name (train-00000-of-00002.parquet, test.jsonl), those
    of this one. suffixes: of the files that are looked for in a folder. Raises `UserError` where there are none.
    """
    parts = [text] if Path(text).expanduser().exists() else names(text)
    found = [file for part in parts for file in files_of_part(part, split, option, suffixes)]
    if not found:
        raise UserError(f"{option} {text!r}: names no file")
    for file in found:
        if not file.is_file():
            raise UserError(f"{option} {file}: a pipe or device can be read only once: write its rows to a file")
    return list(dict.fromkeys(found))


def names_data(text: str) -> Literal["", "path", "name"]:
    """Whether a word is meant as a path (there, a glob, or with a known suffix) or as a `datasets` name (org/name);
    "" for neither."""
    path = Path(text).expanduser()
    if path.exists() or any(sign in text for sign in "*?[") or formats.suffix_of(path) in formats.SUFFIXES:
        return "path"
    if text.startswith((".", "/", "~")):
        return "path"
    return "name" if text.count("/") == 1 else ""


def files_of_part(part: str, split: str, option: str, suffixes: Sequence[str]) -> list[Path]:
    path = Path(part).expanduser()
    if path.is_dir():
        return files_in(path, split, option, suffixes)
    if path.exists():
        return [path]
    matched = sorted(Path(one) for one in glob.glob(str(path), recursive=True))
    if matched:
        return [file for one in matched for file in (files_in(one, split, option, suffixes) if one.is_dir() else [one])]
    if any(sign in part for sign in "*?["):
        raise UserError(f"{option} {part}: no file matches")
    raise UserError(f"{option} {part}: no such file or folder{advice(path, part, option)}")


def advice(path: Path, part: str, option: str) -> str:
    """What may have been meant by a path that is not there."""
    if "://" in part:
        return "; download it, or give a data set of the hub by its name"
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    if near:
        return f"; did you mean {path.parent / near[0]}?"
    if option.endswith(".path") and part.count("/") == 1 and not path.suffix and not part.startswith((".", "/", "~")):
        return f"; a data set of the hub is given as {option.removesuffix('.path')}.name"
    return ""


def files_in(folder: Path, split: str, option: str, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder that have one of the suffixes, in order: where their names have the split, those of
    `split`."""
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if formats.suffix_of(file) in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.name.split(".")[0] not in NO_ROWS
    ]
    if not files:
        raise UserError(f"{option} {folder}: no files that can be read in it ({', '.join(suffixes)})")
    splits = {file: split_of(file, folder) for file in files}
    wanted = next((name for name, spellings in SPLITS.items() if split in spellings), split)
    if not any(splits.values()):
        return files
    chosen = [file for file in files if splits[file] == wanted]
    if not chosen:
        chosen = [file for file in files if not splits[file]]
    if not chosen:
        held = ", ".join(sorted({name for name in splits.values() if name}))
        raise UserError(f"{option} {folder}: files of {held} are in it, none of split {split}: name the files to read")
    if len(chosen) < len(files):
        others = ", ".join(str(file.relative_to(folder)) for file in files if file not in chosen)
        echo_once(
            f"{folder}: {len(chosen)} of {len(files)} files are read, those of split {wanted}; not read: {others[:200]}"
        )
    return chosen


@cache
def echo_once(line: str) -> None:
    """What is found out each time that the files are looked for."""
    echo(line)


def split_of(file: Path, folder: Path) -> str:
    """The split that a file's name, or the folder it is in, begins with; "" for none."""
    for part in reversed(file.relative_to(folder).parts):
        word = part.split(".")[0].replace("_", "-").split("-")[0].lower()
        for name, spellings in SPLITS.items():
            if word in spellings:
                return name
    return ""


def check_files(paths: str, option: str = "--data.path", suffixes: Sequence[str] = formats.SUFFIXES) -> list[Path]:
    """What `files_named` finds. Raises `UserError` for a file that cannot be read or holds nothing."""
    files = files_named(paths, option=option, suffixes=suffixes)
    for path in files:
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise UserError(f"{option} {path}: {error.strerror}") from None
        if empty:
            raise UserError(f"{option} {path}: the file is empty")
    return files


# Columns


def check_mapping(columns: Mapping[str, str], ours: Sequence[str], option: str = "data") -> None:
    """Raise `UserError` where columns are mapped to names that nothing reads."""
    for name in columns:
        if name not in ours:
            raise UserError(
                f"--{option}.columns: {name!r} is none of {', '.join(ours)}, which columns can be given for"
            )


# Names


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
            try:
                return datasets.load_dataset(name, subset or None, split=split, streaming=streaming)
            except ValueError as error:
                if not subset and not SPLITS_THERE.search(str(error)):
                    subset = main_subset(name, option)
                    if subset:
                        return datasets.load_dataset(name, subset, split=split, streaming=streaming)
                raise
    except UserError:
        raise
    except Exception as error:  # the hub's client raises many kinds, all of them the user's to know
        if there := SPLITS_THERE.search(str(error)):
            said = ", ".join(re.findall(r"[\w.-]+", there[1]))
            raise UserError(
                f"{option} {name}: it has no split {split}, but {said}: choose one as {name}:{subset}:SPLIT"
            ) from None
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{option} {name} ({subset or 'default'}, {split}) cannot be loaded: {type(error).__name__}: {reason}; "
            "a local file can be given as the path instead"
        ) from None


def main_subset(name: str, option: str) -> str:
    """`main` of a `datasets` name's several configurations; "" where one need not be chosen. Raises `UserError`."""
    import datasets

    found = datasets.get_dataset_config_names(name)
    if len(found) < 2 or "default" in found:
        return ""
    if "main" in found:
        echo(f"{name}: configuration main of {', '.join(found)}")
        return "main"
    raise UserError(f"{option} {name} has the configurations {', '.join(found)}: choose one as {name}:{found[0]}")


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


def runs(lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """(offset or number of the first line, text) of runs of whole lines of about a MB: a long text as documents."""
    held: list[bytes] = []
    begin = size = 0
    for place, line in lines:
        if held and size + len(line) > LONGEST_TEXT:
            yield begin, b"".join(held)
            held, size = [], 0
        if not held:
            begin = place
        held.append(line)
        size += len(line)
    if held:
        yield begin, b"".join(held)


def line_number(path: str, offset: int) -> int:
    """Number, from 1, of the line that begins at a byte offset."""
    with open(path, "rb") as file:
        left, count = offset, 1
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            count += block.count(b"\n")
            left -= len(block)
    return count
