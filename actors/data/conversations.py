"""Conversations and preference pairs to tokens on Ray Data: rendered on all workers, in the order of the data.

files, `datasets` names, generators -> rows -> chat template and mask -> Rendered
"""

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.data.datasets import BATCH, cached_tokenizer, ordered, read_hub
from actors.data.row_files import Place, fields_of, place_of, read_rows
from srm_ray.config.stages import ConversationData, PairData
from srm_ray.data import conversations, mapping, pairs, reading, supervised
from srm_ray.data.drops import Unusable
from srm_ray.data.generators import CONVERSATIONS
from srm_ray.data.reports import Rendered
from srm_ray.errors import UserError
from srm_ray.files.roots import lasting

if TYPE_CHECKING:
    from pyarrow import Table
    from ray.data import Dataset

GENERATED = 10_000  # conversations of a generator where no limit is set
FIELDS = ("failed", "reason", "asked", "sequences", "schema", "unread", "notes", "path", "offset", "number")


@dataclass(frozen=True, slots=True)
class Rendering:
    """What turns a row into sequences: `pairs` says whether it is a preference pair or a conversation."""

    tokenizer: str
    pairs: bool
    longest: int
    longest_prompt: int = 0
    style: str = "boxed"
    columns: dict[str, str] = field(default_factory=dict)
    chat_template: str = ""
    describe_tools: bool = False

    def __call__(self, row: dict[str, Any]) -> Rendered:
        """Raises `UserError` where the row is neither, without its file and line, which the driver knows."""
        schema = ""
        unread: tuple[str, ...] = ()
        notes: tuple[str, ...] = ()
        fields = mapping.mapped(row, self.columns, "") if self.columns else row
        try:
            tokenizer = cached_tokenizer(self.tokenizer, self.chat_template)
            if self.pairs:
                pair = pairs.to_pair(fields, tuple(self.columns))
                schema, unread = pair.schema, pair.unread
                made = supervised.encode_pair(
                    tokenizer, pair, max_prompt=self.longest_prompt, max_completion=self.longest
                )
            else:
                example = conversations.to_example(fields, self.style, tuple(self.columns))
                schema, unread, notes = example.schema, example.unread, example.notes
                made = supervised.encode_example(
                    tokenizer, example, longest=self.longest, describe_tools=self.describe_tools
                )
        except Unusable as error:
            return Rendered("", reason=str(error), asked=error.asked, schema=schema, unread=unread)
        return Rendered("", sequences=made.sequences, schema=schema, unread=unread, notes=notes + made.notes)


def examples(
    data: ConversationData, tokenizer: str, *, longest: int, seed: int, chat_template: str = ""
) -> Iterator[Rendered]:
    """Every row of every source in turn. Ray must be initialised."""
    rendering = Rendering(
        lasting(tokenizer),
        False,
        longest,
        style=data.answer_style,
        columns=data.columns,
        chat_template=chat_template,
        describe_tools=data.describe_tools,
    )
    yield from of_files(data.path, data.split, rendering)
    yield from of_hub(data.name, data.subset, data.split, rendering)
    if data.generator:
        import ray

        ordered()
        made = ray.data.range(data.limit or GENERATED).map_batches(
            generated, batch_size=BATCH, fn_kwargs={"generator": data.generator, "seed": seed}
        )
        for row in rendered(made, rendering, data.generator):
            yield Rendered(row.source, sequences=row.sequences, reason=row.reason)


def pair_examples(data: PairData, tokenizer: str, *, chat_template: str = "") -> Iterator[Rendered]:
    """Every row of every source in turn. Ray must be initialised."""
    limits = data.max_completion, data.max_prompt
    rendering = Rendering(lasting(tokenizer), True, *limits, columns=data.columns, chat_template=chat_template)
    yield from of_files(data.path, data.split, rendering)
    yield from of_hub(data.name, data.subset, data.split, rendering)


def of_files(paths: str, split: str, rendering: Rendering) -> Iterator[Rendered]:
    whole = paths and Path(paths).expanduser().exists()  # a name with commas in it
    for part in [paths] if whole else reading.names(paths):
        files = reading.files_named(part, split=split)
        yield from rendered(read_rows(files), rendering, part, "--data.path")


def of_hub(names: str, subset: str, split: str, rendering: Rendering) -> Iterator[Rendered]:
    for name, own_subset, own_split in reading.hub_names(names, subset, split):
        yield from rendered(read_hub(name, own_subset, own_split, option="--data.name"), rendering, name, "--data.name")


def generated(batch: dict[str, Any], *, generator: str, seed: int) -> dict[str, list[Any]]:
    """Generated conversations as rows of messages."""
    return {"messages": [CONVERSATIONS[generator](seed, int(index)) for index in batch["id"]]}


def rendered(dataset: "Dataset", rendering: Rendering, source: str, option: str = "") -> Iterator[Rendered]:
    """Raises `UserError` naming the line of a row that is no example."""
    number = 0
    rows = dataset.map_batches(partial(render, rendering=rendering), batch_size=BATCH, batch_format="pyarrow")
    for batch in rows.iter_batches(batch_size=BATCH, prefetch_batches=1, batch_format="pyarrow"):
        for row in batch.to_pylist():
            number += 1
            place = Place(row["path"] or source, row["offset"], row["number"] or number)
            if row["failed"]:
                raise UserError(row["failed"] if row["number"] < 0 else f"{place}: {row['failed']}")
            yield Rendered(
                source,
                place,
                pickle.loads(row["sequences"]) if row["sequences"] else (),
                row["reason"],
                row["asked"],
                row["schema"],
                tuple(json.loads(row["unread"])),
                tuple(json.loads(row["notes"])),
            )
    if not number:
        raise UserError(f"{option} {source}: it holds no rows")


def render(batch: "Table", *, rendering: Rendering) -> dict[str, list[Any]]:
    """`FIELDS` of each row, those of `Rendered` and of its `Place`. failed: the message that ends the build."""
    out: dict[str, list[Any]] = {name: [] for name in FIELDS}
    for row in batch.to_pylist():
        made, failed = Rendered(""), ""
        place = place_of(row)
        try:
            fields = fields_of(row, place)
            if fields is None:
                continue
            made = rendering(fields)
        except UserError as error:
            failed = str(error).removeprefix(": ")
        found = (
            failed,
            made.reason,
            made.asked,
            pickle.dumps(made.sequences) if made.sequences else b"",
            made.schema,
            json.dumps(made.unread),
            json.dumps(made.notes),
            place.path,
            place.offset,
            place.number,
        )
        for name, value in zip(FIELDS, found, strict=True):
            out[name].append(value)
    return out
