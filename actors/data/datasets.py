"""Files and `datasets` names as Ray datasets, in order, whatever the number of workers.

    text and JSONL files -> byte ranges that are read apart -> {path, offset, content}
    Parquet files, the hub -> their own fields

A row that cannot be used is told by the worker that sees it in the column `reason`, begun with `FAILED`: the driver
then knows the line (`where`), and raises.
"""

import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from srm_ray.data import reading
from srm_ray.data.texts import has_rows
from srm_ray.errors import UserError

BATCH = 256
FAILED = "!"  # begins a reason that ends the build


def ordered() -> None:
    """Ray Data keeps the rows' order, and says nothing of its own."""
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # that there are no bars
    logging.getLogger("ray.data._internal.execution.streaming_executor").setLevel(logging.WARNING)  # that it is done


def read_hub(name: str, subset: str, split: str, *, option: str) -> Any:
    """Rows of a `datasets` name, streamed."""
    import ray

    from actors.data.hub_source import HubRows

    ordered()
    return ray.data.read_datasource(HubRows(reading.hub_dataset(name, subset, split, option=option, streaming=True)))


def read_files(files: list[Path], what: str, *, jsonl: bool = False) -> Any:
    """Rows of files that are all Parquet, or none of them.

    what: what a message calls them. jsonl: whatever they are named, their lines are objects, handed on as bytes.
    """
    import ray

    ordered()
    parquet = [str(file) for file in files if file.suffix == ".parquet"]
    if parquet and len(parquet) < len(files):
        raise UserError(f"{what} mixes Parquet with other files: make each kind a source of its own")
    if parquet:
        return ray.data.read_parquet(parquet, include_paths=True)
    items = [{"path": piece.path, "start": piece.start, "end": piece.end} for piece in reading.pieces(files)]
    if not items:
        raise UserError(f"{what}: its files are empty")
    # One block a piece, so that as many are read at once as there are workers, and no more are held.
    blocks = ray.data.from_items(items, override_num_blocks=len(items))
    return blocks.map_batches(read_pieces, batch_size=1, fn_kwargs={"jsonl": jsonl})


def read_pieces(batch: dict[str, Any], *, jsonl: bool) -> Iterator[dict[str, list[Any]]]:
    """The lines of JSONL pieces, the texts of others, `BATCH` at a time."""
    for path, start, end in zip(batch["path"], batch["start"], batch["end"], strict=True):
        piece = reading.Piece(str(path), int(start), int(end))
        found = reading.lines(piece) if jsonl or has_rows(Path(piece.path)) else reading.texts(piece)
        held: list[tuple[int, Any]] = []
        for offset, content in found:
            text = content if jsonl or isinstance(content, str) else content.decode("utf-8", errors="replace")
            held.append((offset, text))
            if len(held) == BATCH:
                yield as_batch(piece.path, held)
                held = []
        if held:
            yield as_batch(piece.path, held)


def as_batch(path: str, held: list[tuple[int, Any]]) -> dict[str, list[Any]]:
    return {
        "path": [path] * len(held),
        "offset": [offset for offset, _ in held],
        "content": [content for _, content in held],
    }


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of Parquet or the hub as JSON would have it: Ray hands lists over as arrays."""
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in row.items()}


def rows_of(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a batch of columns."""
    names = list(batch)
    for values in zip(*(list(batch[name]) for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


def where(path: str, offset: int, source: str, number: int) -> str:
    """Names a row for a message: its file and line, else its number."""
    return f"{path}:{reading.line_number(path, offset)}" if offset >= 0 else f"{path or source}: row {number}"


@lru_cache(maxsize=8)
def cached_tokenizer(folder: str, chat_template: str = "") -> Any:
    """The tokenizer of a folder, loaded once in each worker process. chat_template: in place of its own."""
    from srm_ray.model import tokenization

    return tokenization.load(folder, chat_template=chat_template)
