"""Supervised fine-tuning: loss on exactly the assistant's tokens, on Ray Train with DeepSpeed inside.

examples -> chat template, mask -> rows (packed, documents apart) -> Ray Train -> <run_dir>/final

python -m srm_ray.sft merge ADAPTER_FOLDER DESTINATION   writes an adapter's plain Hugging Face weights
"""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.config.command_line import parse
from srm_ray.config.lengths import SFT_ROW
from srm_ray.config.stages import SftConfig
from srm_ray.console.command import command
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from srm_ray.data.conversations import Example


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
        return inspect(info.tokenizer, itertools.islice(every_example(config), config.inspect))
    return run(config, info)


def check_data(config: SftConfig) -> None:
    from srm_ray.data import reading

    if config.data.generator not in ("", "arithmetic"):
        raise UserError(f"--data.generator {config.data.generator!r}: the generators are: arithmetic")
    if not (config.data.path or config.data.name or config.data.generator):
        raise UserError("no data: give --data.path, --data.name or --data.generator")
    reading.check_files(config.data.path)


def every_example(config: SftConfig) -> "Iterator[Example]":
    """Examples of every source in turn, in this process: for a look at a few of them."""
    from srm_ray.data import arithmetic, conversations

    data = config.data
    yield from conversations.read_examples(data.path, style=data.answer_style)
    yield from conversations.read_hub(data.name, data.subset, data.split, style=data.answer_style)
    if data.generator:
        for index in range(data.limit or 10_000):
            messages = arithmetic.conversation(config.seed, index)
            yield conversations.Example(tuple(messages), "arithmetic", index + 1)


def inspect(tokenizer: Any, examples: "Iterator[Example]") -> int:
    """Print examples, tokens with loss in green and the others dimmed."""
    from srm_ray.console.progress import say
    from srm_ray.data.rendering import render_conversation

    for example in examples:
        ids, mask = render_conversation(tokenizer, example.messages)
        say(f"--- {example.source}:{example.line}  {len(ids)} tokens, {sum(mask)} with loss")
        start, line = 0, ""
        while start < len(ids):
            end = next((n for n in range(start, len(ids)) if mask[n] != mask[start]), len(ids))
            colour = "\033[32m" if mask[start] else "\033[2m"
            line += f"{colour}{tokenizer.decode(ids[start:end])}\033[0m"
            start = end
        say(line)
    return 0


def run(config: SftConfig, info: Any) -> int:
    from actors.runtime import cluster
    from srm_ray.model.loading import row_length

    length = row_length(config.data.row_length, SFT_ROW, info, config.origins)
    with cluster.session():
        return train(config, info, length)


def train(config: SftConfig, info: Any, length: int) -> int:
    from actors.data import conversations
    from actors.train import stage
    from srm_ray.console.progress import say
    from srm_ray.data import supervised
    from srm_ray.data.packing import rows_fingerprint, save_rows

    data = config.data
    encoded, report = supervised.select_examples(
        conversations.examples(data, info.path, longest=length, seed=config.seed, chat_template=info.chat_template),
        limit=data.limit,
        cap=data.source_cap,
        seed=config.seed,
    )
    opened = stage.open_run(config, "sft")
    if opened is None:
        return 0
    config, folder = opened
    say(str(report))
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
        adapter=stage.adapter_of(config.lora),
        chat_template=info.chat_template,
    )
    fingerprints = {"rows": rows_fingerprint(rows), "dropped": dict(report.dropped), "tokens": dict(report.tokens)}
    return stage.train(config, folder, job, data=fingerprints)


def merge(arguments: list[str]) -> int:
    """`python -m srm_ray.sft merge ADAPTER DESTINATION`: plain Hugging Face weights of an adapter."""
    if len(arguments) != 2:
        raise UserError("usage: python -m srm_ray.sft merge ADAPTER_FOLDER DESTINATION")
    from srm_ray.console.progress import say
    from srm_ray.model.adapters import merge as merge_adapter

    say(str(merge_adapter(Path(arguments[0]), Path(arguments[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
