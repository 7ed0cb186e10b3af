"""Conversations and preference pairs to tokens on Ray Data: rendered on all workers, in the order of the data.

files, `datasets` names, generators -> parse -> chat template and mask -> (source, sequences, why dropped)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from actors.data.datasets import (
    BATCH,
    FAILED,
    cached_tokenizer,
    ordered,
    plain_row,
    read_files,
    read_hub,
    rows_of,
    where,
)
from srm_ray.config.stages import ConversationData, PairData
from srm_ray.data import arithmetic, conversations, reading, supervised
from srm_ray.errors import UserError

GENERATED = 10_000  # conversations of a generator where no limit is set


@dataclass(frozen=True, slots=True)
class Rendering:
    """What turns a row into sequences: `pairs` says whether it is a preference pair or a conversation."""

    tokenizer: str
    pairs: bool
    longest: int
    longest_prompt: int = 0
    style: str = "boxed"
    chat_template: str = ""

    def __call__(self, row: dict[str, Any]) -> tuple[tuple[supervised.Encoded, ...], str]:
        tokenizer = cached_tokenizer(self.tokenizer, self.chat_template)
        if self.pairs:
            pair = conversations.to_pair(row, "", 0)
            return supervised.encode_pair(tokenizer, pair, max_prompt=self.longest_prompt, max_completion=self.longest)
        example = conversations.to_example(row, "", 0, self.style)
        return supervised.encode_example(tokenizer, example, longest=self.longest)


def examples(
    data: ConversationData, tokenizer: str, *, longest: int, seed: int, chat_template: str = ""
) -> Iterator[supervised.Rendered]:
    """Every example of every source in turn. Ray must be initialised."""
    rendering = Rendering(tokenizer, False, longest, style=data.answer_style, chat_template=chat_template)
    yield from of_files(data.path, rendering)
    yield from of_hub(data.name, data.subset, data.split, rendering)
    if data.generator:
        import ray

        ordered()
        made = ray.data.range(data.limit or GENERATED).map_batches(sums, batch_size=BATCH, fn_kwargs={"seed": seed})
        yield from rendered(made, rendering, data.generator)


def pairs(data: PairData, tokenizer: str, *, chat_template: str = "") -> Iterator[supervised.Rendered]:
    """Every pair of every source in turn. Ray must be initialised."""
    rendering = Rendering(tokenizer, True, data.max_completion, data.max_prompt, chat_template=chat_template)
    yield from of_files(data.path, rendering)
    yield from of_hub(data.name, "", data.split, rendering)


def of_files(paths: str, rendering: Rendering) -> Iterator[supervised.Rendered]:
    for path in reading.names(paths):
        yield from rendered(read_files([Path(path).absolute()], f"--data.path {path}", jsonl=True), rendering, path)


def of_hub(names: str, subset: str, split: str, rendering: Rendering) -> Iterator[supervised.Rendered]:
    for name, own_subset, own_split in reading.hub_names(names, subset, split):
        yield from rendered(read_hub(name, own_subset, own_split, option="--data.name"), rendering, name)


def sums(batch: dict[str, Any], *, seed: int) -> dict[str, list[Any]]:
    """Generated conversations as rows of messages."""
    return {"messages": [arithmetic.conversation(seed, int(index)) for index in batch["id"]]}


def rendered(dataset: Any, rendering: Rendering, source: str) -> Iterator[supervised.Rendered]:
    """Raises `UserError` naming the line of a row that is no example."""
    number, empty = 0, True
    rows = dataset.map_batches(partial(render, rendering=rendering), batch_size=BATCH)
    for batch in rows.iter_batches(batch_size=BATCH, prefetch_batches=1):
        for row in rows_of(batch):
            number += 1
            reason = str(row["reason"])
            if reason.startswith(FAILED):
                named = where(str(row["path"]), int(row["offset"]), source, number)
                raise UserError(f"{named}: {reason.removeprefix(FAILED)}")
            if reason == EMPTY:
                continue
            empty = False
            sequences = tuple(unpacked(bytes(row[side])) for side in ("first", "second") if row[side])
            yield source, sequences, reason
    if empty:
        raise UserError(f"--data.path {source}: the file holds no examples")


EMPTY = "empty line"


def render(batch: dict[str, Any], *, rendering: Rendering) -> dict[str, list[Any]]:
    """{reason, first, second, path, offset} of each row; second is empty unless it is a pair."""
    out: dict[str, list[Any]] = {name: [] for name in ("reason", "first", "second", "path", "offset")}
    for row in rows_of(batch):
        sequences: tuple[supervised.Encoded, ...] = ()
        reason = ""
        try:
            parsed = fields_of(row)
            if parsed is None:
                reason = EMPTY
            else:
                sequences, reason = rendering(parsed)
        except UserError as error:
            reason = FAILED + str(error).removeprefix(":0: ").removeprefix(": ")
        sides = [packed(sequence) for sequence in sequences] if not reason else []
        out["reason"].append(reason)
        out["first"].append(sides[0] if sides else b"")
        out["second"].append(sides[1] if len(sides) > 1 else b"")
        out["path"].append(str(row.get("path", "")) if "offset" in row else "")
        out["offset"].append(int(row.get("offset", -1)))
    return out


def fields_of(row: dict[str, Any]) -> dict[str, Any] | None:
    """The object of a line, None for an empty one; a row of Parquet, the hub or a generator as it is."""
    if "content" not in row or "offset" not in row:
        return plain_row(row)
    try:
        line = bytes(row["content"]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text ({error.reason})") from None
    return reading.parse(line, "") if line.strip() else None


def packed(sequence: supervised.Encoded) -> bytes:
    ids, mask = sequence
    return np.asarray(ids, np.int32).tobytes() + np.asarray(mask, bool).tobytes()


def unpacked(data: bytes) -> supervised.Encoded:
    size = len(data) // 5
    return np.frombuffer(data, np.int32, size), np.frombuffer(data, bool, size, 4 * size)
