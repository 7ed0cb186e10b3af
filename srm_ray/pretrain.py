"""Pretraining: next-token loss on packed documents that do not attend to each other, on Ray Train.

sources -> Ray Data (filter, deduplicate, guard, tokenise, mix, pack) -> rows -> Ray Train -> <run_dir>/final
"""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.config.command_line import parse
from srm_ray.config.lengths import PRETRAIN_ROW
from srm_ray.config.lora import LoraConfig
from srm_ray.config.stages import PretrainConfig
from srm_ray.console.command import command
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from srm_ray.model.loading import ModelInfo
    from srm_ray.model.shapes import Shape
    from srm_ray.runs.folder import RunFolder

PACKS = "pretraining packs documents into rows"


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(PretrainConfig, sys.argv[1:] if argv is None else argv, stage="pretrain", about=__doc__)
    if config.dry_run:
        return dry_run(config)
    if not (config.model or config.tokenizer):
        raise UserError(
            "--tokenizer is needed (a folder from python -m srm_ray.tokenizer), or --model to continue from"
        )
    if not (config.data.path or config.data.sources):
        raise UserError("no data: give --data.path, or data.sources in a config file")
    return inspect(config) if config.inspect else run(config)


def dry_run(config: PretrainConfig) -> int:
    from actors.train.memory import show_plan, show_plan_of
    from srm_ray.model.loading import open_model, require_packing, row_length
    from srm_ray.model.shapes import qwen3_config, shape

    if config.model:
        info = open_model(config.model)
        require_packing(info, PACKS)
        return show_plan(
            config, info.path, row_length(config.data.row_length, PRETRAIN_ROW, info, config.origins), LoraConfig()
        )
    size = shape(config.size)
    length = config.data.row_length or min(PRETRAIN_ROW, size.context)
    return show_plan_of(config, qwen3_config(size), length, LoraConfig())


def inspect(config: PretrainConfig) -> int:
    """Show documents as the model sees them, and what becomes of the first of each source. Duplicates and what an
    evaluation set shares are found when the whole corpus is built."""
    from srm_ray.config.stages import Source
    from srm_ray.data import token_view
    from srm_ray.data.texts import file_texts, files_of, hub_texts
    from srm_ray.model import tokenization
    from srm_ray.model.loading import open_model, require_packing

    check(config)
    if config.model:
        info = open_model(config.model)
        require_packing(info, PACKS)
        tokenizer = info.tokenizer
    else:
        tokenizer = tokenization.load(config.tokenizer)
    for name, source in (dict(config.data.sources) or {"data": Source(path=config.data.path)}).items():
        if source.name:
            texts = hub_texts(source.name, source.subset, source.split, source.column)
        else:
            texts = itertools.chain.from_iterable(file_texts(file, source.column) for file in files_of(source.path))
        token_view.show_documents(tokenizer, name, texts, config.data.filters, config.inspect)
    return 0


def run(config: PretrainConfig) -> int:
    from actors.runtime import cluster
    from actors.train import stage
    from srm_ray.model.loading import open_model, require_packing, row_length
    from srm_ray.runs.folder import RunFolder

    RunFolder(config.run_dir, stage="pretrain").check_writable()
    check(config)
    given = open_model(config.model, config.chat_template) if config.model else None
    if given:
        require_packing(given, PACKS)
    with cluster.session():
        opened = stage.open_run(config, "pretrain")
        if opened is None:
            return 0
        config, folder = opened
        info = given or open_model(str(fresh_model(config, folder)), config.chat_template)
        length = row_length(config.data.row_length, PRETRAIN_ROW, info, config.origins)
        return train(config, folder, info, length)


def train(config: PretrainConfig, folder: "RunFolder", info: "ModelInfo", length: int) -> int:
    from actors.train import stage
    from srm_ray.console.progress import echo
    from srm_ray.data.packing import open_rows

    work = folder.path / "data"
    fingerprint = build_rows(config, info.path, work, length)
    rows = open_rows(work / "rows")
    echo(f"{len(rows)} rows of {length} tokens, {rows.targets / rows.tokens.size:.1%} of them with loss")
    job = stage.job_of(
        config,
        folder,
        stage="pretrain",
        model=info.path,
        rows=work / "rows",
        steps=stage.steps_of(config, len(rows), 1.0, what="rows"),
        eval_rows=str((work / "eval").absolute()) if config.eval.share else "",
        shuffle=not config.data.phases,
        chat_template=info.chat_template,
    )
    return stage.train(config, folder, job, data=fingerprint)


def check(config: PretrainConfig) -> None:
    """What can be refused before any work: files that are not there, an unknown size, a tokenizer that does
    not match."""
    from srm_ray.data.texts import files_of
    from srm_ray.model import tokenization

    for name, source in config.data.sources.items():
        if not source.name:
            files_of(source.path, f"data.sources.{name}.path")
    if config.data.path:
        files_of(config.data.path)
    if not config.model:
        chosen_shape(config)
    elif config.tokenizer:
        own, given = (tokenization.fingerprint(tokenization.load(f)) for f in (config.model, config.tokenizer))
        if own != given:
            raise UserError(
                f"--tokenizer {config.tokenizer} is not the one that --model {config.model} was trained with: "
                "leave --tokenizer out"
            )


def chosen_shape(config: PretrainConfig) -> "Shape":
    """The shape of the fresh model, its vocabulary that of the tokenizer."""
    from srm_ray.model import tokenization
    from srm_ray.model.shapes import shape

    size = len(tokenization.load(config.tokenizer))
    if size % 128:
        raise UserError(f"--tokenizer {config.tokenizer} has {size} entries; a model needs a multiple of 128")
    return shape(config.size, vocab_size=size)


def fresh_model(config: PretrainConfig, folder: "RunFolder") -> Path:
    """`<run_dir>/start`: random weights and the tokenizer. Made once, whole or not at all."""
    from srm_ray.model.folder import LINEAGE, save_model
    from srm_ray.model.shapes import build

    start = folder.path / "start"
    if (start / LINEAGE).is_file():
        return start
    model = build(chosen_shape(config), seed=config.seed)
    lineage = {"stage": "init", "parent": "", "seed": config.seed, "size": config.size, "tokenizer": config.tokenizer}
    save_model(model, dict(model.named_parameters()), start, tokenizer_from=config.tokenizer, lineage=lineage)
    return start


def build_rows(config: PretrainConfig, tokenizer: str, work: Path, length: int) -> dict[str, Any]:
    """Build the corpus into `work`, unless an earlier try of this run has; its fingerprint."""
    import json

    from actors.data.corpus import build_corpus
    from srm_ray.console.progress import echo
    from srm_ray.data.packing import open_rows, rows_fingerprint
    from srm_ray.files.atomic import write_atomically
    from srm_ray.files.json_file import read_object

    done = work / "corpus.json"
    if done.is_file():
        return read_object(done, "remove it, and the corpus is built again")
    data = config.data.model_copy(update={"row_length": length})
    report = build_corpus(data, tokenizer, work, seed=config.seed, held_out=config.eval.share)
    for line in report.lines():
        echo(line)
    fingerprint = {"rows": rows_fingerprint(open_rows(work / "rows")), **report.to_plain()}
    write_atomically(done, json.dumps(fingerprint) + "\n")
    return fingerprint


if __name__ == "__main__":
    sys.exit(main())
