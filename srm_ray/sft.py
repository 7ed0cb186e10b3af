"""Supervised fine-tuning: loss on exactly the assistant's tokens, on Ray Train with DeepSpeed inside.

examples -> chat template, mask -> rows (packed, documents apart) -> Ray Train -> <run_dir>/final

python -m srm_ray.sft merge ADAPTER_FOLDER DESTINATION   writes an adapter's plain Hugging Face weights
"""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.config.command_line import parse
from srm_ray.config.lengths import SFT_ROW
from srm_ray.config.stages import SftConfig
from srm_ray.console.command import command
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from srm_ray.model.loading import ModelInfo


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["merge"]:
        return merge(arguments[1:])
    config = parse(SftConfig, arguments, stage="sft", about=__doc__)
    if not config.model:
        raise UserError("--model is needed: a Hugging Face folder or hub name, e.g. runs/pretrain/final")
    from srm_ray.model.loading import open_model, require_packing, row_length

    info = open_model(config.model, config.chat_template)
    if config.data.pack:
        require_packing(info, "data.pack puts several into a row (--data.pack false does not)")
    if config.dry_run:
        from actors.train.memory import show_plan

        return show_plan(
            config, info.path, row_length(config.data.row_length, SFT_ROW, info, config.origins), config.lora
        )
    check_data(config)
    if config.inspect:
        return inspect(config, info)
    return run(config, info)


def check_data(config: SftConfig) -> None:
    from srm_ray.data import conversations, reading
    from srm_ray.data.generators import CONVERSATIONS

    data = config.data
    if data.generator and data.generator not in CONVERSATIONS:
        raise UserError(f"--data.generator {data.generator!r}: the generators are: {', '.join(CONVERSATIONS)}")
    if not (data.path or data.name or data.generator):
        raise UserError("no data: give --data.path, --data.name or --data.generator")
    reading.check_mapping(data.columns, conversations.MAPPED)
    if data.path:
        reading.check_files(data.path)


def inspect(config: SftConfig, info: "ModelInfo") -> int:
    """Show examples as the model sees them, and what becomes of the rows looked at."""
    from srm_ray.data import conversations, reading, supervised, token_view
    from srm_ray.data.generators import CONVERSATIONS
    from srm_ray.data.reading import RowSource
    from srm_ray.data.reports import Report
    from srm_ray.model.loading import row_length

    data = config.data
    longest = row_length(data.row_length, SFT_ROW, info, config.origins)
    sources = [RowSource(path=data.path, name="", split=data.split, columns=data.columns)] if data.path else []
    if data.name:
        sources.append(RowSource(name=data.name, subset=data.subset, split=data.split, columns=data.columns))
    records = itertools.chain.from_iterable(reading.records(source) for source in sources)
    if data.generator:
        make = CONVERSATIONS[data.generator]
        made = ({"messages": make(config.seed, n)} for n in range(data.limit or 10_000))
        sums = (reading.Record(row, data.generator, n) for n, row in enumerate(made, 1))
        records = itertools.chain(records, sums)

    def render(record: reading.Record) -> token_view.Shown:
        example = conversations.to_example(record.fields, data.answer_style, tuple(data.columns))
        made = supervised.encode_example(info.tokenizer, example, longest=longest, describe_tools=data.describe_tools)
        return token_view.Shown(made.sequences, example.schema, example.unread, example.notes + made.notes)

    return token_view.show(
        info.tokenizer, records, render, config.inspect, Report(drop_duplicates=data.drop_duplicates)
    )


def run(config: SftConfig, info: "ModelInfo") -> int:
    from actors.runtime import cluster
    from srm_ray.model.loading import row_length
    from srm_ray.runs.folder import RunFolder

    RunFolder(config.run_dir, stage="sft").check_writable()
    length = row_length(config.data.row_length, SFT_ROW, info, config.origins)
    with cluster.session():
        return train(config, info, length)


def train(config: SftConfig, info: "ModelInfo", length: int) -> int:
    from actors.data import conversations
    from actors.train import stage
    from srm_ray.console.progress import echo
    from srm_ray.data import supervised
    from srm_ray.data.packing import rows_fingerprint, save_rows
    from srm_ray.model.lora import Adapter

    data = config.data
    encoded, report = supervised.select_examples(
        conversations.examples(data, info.path, longest=length, seed=config.seed, chat_template=info.chat_template),
        limit=data.limit,
        cap=data.source_cap,
        seed=config.seed,
        max_dropped=data.max_dropped,
        drop_duplicates=data.drop_duplicates,
    )
    opened = stage.open_run(config, "sft")
    if opened is None:
        return 0
    config, folder = opened
    for line in report.lines():
        echo(line)
    kept, held_out = supervised.hold_out(supervised.draw(encoded, 0, config.seed), config.eval.share)
    rows = supervised.rows(kept, length, data.pack)
    work = folder.path / "data"
    save_rows(rows, work / "rows")
    if held_out:
        save_rows(supervised.rows(held_out, length, data.pack), work / "eval")
    job = stage.job_of(
        config,
        folder,
        stage="sft",
        model=info.path,
        rows=work / "rows",
        steps=stage.steps_of(config, len(rows), config.epochs, what="rows"),
        eval_rows=str((work / "eval").absolute()) if held_out else "",
        loss=config.loss,
        neftune=config.neftune,
        adapter=Adapter.of(config.lora),
        chat_template=info.chat_template,
    )
    fingerprints = {"rows": rows_fingerprint(rows), "dropped": dict(report.dropped), "tokens": dict(report.tokens)}
    return stage.train(config, folder, job, data=fingerprints)


def merge(arguments: list[str]) -> int:
    """`python -m srm_ray.sft merge ADAPTER DESTINATION`: plain Hugging Face weights of an adapter."""
    if len(arguments) != 2:
        raise UserError("usage: python -m srm_ray.sft merge ADAPTER_FOLDER DESTINATION")
    from srm_ray.console.progress import echo
    from srm_ray.model.adapters import merge as merge_adapter

    echo(str(merge_adapter(Path(arguments[0]), Path(arguments[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
