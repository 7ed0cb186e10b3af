"""Preference optimisation by DPO or APO-zero, on Ray Train with DeepSpeed inside.

pairs (a file, or graded rollouts of a GRPO run) -> reference log-probabilities, once -> Ray Train -> final/
"""

import itertools
import sys
from typing import TYPE_CHECKING

from srm_ray.config.command_line import parse
from srm_ray.config.lengths import half, option
from srm_ray.config.stages import PreferConfig
from srm_ray.console.command import command
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from srm_ray.data.reports import Encoded, Report
    from srm_ray.intervals import Share
    from srm_ray.model.loading import ModelInfo


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(PreferConfig, sys.argv[1:] if argv is None else argv, stage="prefer", about=__doc__)
    if not config.model:
        raise UserError("--model is needed: a Hugging Face folder or hub name, e.g. runs/sft/final")
    from srm_ray.model.loading import open_model

    info = open_model(config.model, config.chat_template)
    if config.dry_run:
        from actors.train.memory import show_plan

        data = limited(config, info).data
        longest = min(info.context, data.max_prompt + data.max_completion)
        return show_plan(config, info.path, longest, config.lora, rows_per_unit=2)
    if not (config.from_rollouts or config.data.path or config.data.name):
        raise UserError("no pairs: give --data.path, --data.name or --from_rollouts")
    from actors.runtime import cluster

    check_data(config)
    if config.inspect:
        return inspect(limited(config, info), info)
    with cluster.session():
        return run(limited(config, info), info)


def check_data(config: PreferConfig) -> None:
    from srm_ray.data import pairs, reading

    reading.check_mapping(config.data.columns, pairs.MAPPED)
    if config.data.path:
        reading.check_files(config.data.path)


def inspect(config: PreferConfig, info: "ModelInfo") -> int:
    """Show pairs as the model sees them, and what becomes of the rows looked at."""
    from srm_ray.data import pairs, reading, supervised, token_view
    from srm_ray.data.reading import RowSource
    from srm_ray.data.reports import Report

    data = config.data
    if config.from_rollouts:
        encoded, report = load_pairs(config, info)
        return token_view.show_encoded(info.tokenizer, encoded[: config.inspect], report)
    sources = [RowSource(path=data.path, split=data.split, columns=data.columns)] if data.path else []
    if data.name:
        sources.append(RowSource(name=data.name, subset=data.subset, split=data.split, columns=data.columns))

    def render(record: reading.Record) -> token_view.Shown:
        pair = pairs.to_pair(record.fields, tuple(data.columns))
        limits = {"max_prompt": data.max_prompt, "max_completion": data.max_completion}
        made = supervised.encode_pair(info.tokenizer, pair, **limits)
        return token_view.Shown(made.sequences, pair.schema, pair.unread, made.notes, ("chosen", "rejected"))

    records = itertools.chain.from_iterable(reading.records(source) for source in sources)
    report = Report(kept_unit="pairs", drop_duplicates=data.drop_duplicates)
    return token_view.show(info.tokenizer, records, render, config.inspect, report)


def limited(config: PreferConfig, info: "ModelInfo") -> PreferConfig:
    """With the limits of prompt and completion, where they are left open, as the model's context has them."""
    data = config.data
    limits = {name: half(getattr(data, name), info.context) for name in ("max_prompt", "max_completion")}
    return config.model_copy(update={"data": data.model_copy(update=limits)})


def load_pairs(config: PreferConfig, info: "ModelInfo") -> "tuple[list[tuple[Encoded, Encoded]], Report]":
    from actors.data import conversations
    from srm_ray.data import rollout_pairs
    from srm_ray.data.supervised import select_pairs

    if not config.from_rollouts:
        rows = conversations.pair_examples(config.data, info.path, chat_template=info.chat_template)
        data = config.data
        return select_pairs(rows, max_dropped=data.max_dropped, drop_duplicates=data.drop_duplicates)
    limits = {"max_prompt": config.data.max_prompt, "max_completion": config.data.max_completion}
    return rollout_pairs.read(config.from_rollouts, info.tokenizer, info.stop_token_ids, seed=config.seed, **limits)


def run(config: PreferConfig, info: "ModelInfo") -> int:
    from actors.train import stage
    from srm_ray.console.progress import echo
    from srm_ray.data.packing import rows_fingerprint, save_rows
    from srm_ray.data.supervised import hold_out, pair_rows
    from srm_ray.model.lora import Adapter
    from srm_ray.runs.folder import RunFolder

    RunFolder(config.run_dir, stage="prefer").check_writable()
    encoded, report = load_pairs(config, info)
    for line in report.lines():
        echo(line)
    longest = max(len(ids) for pair in encoded for ids, _ in pair)
    if longest > info.context:
        allowed = " and ".join(
            option(f"data.{name}", getattr(config.data, name), config.origins)
            for name in ("max_prompt", "max_completion")
        )
        raise UserError(
            f"the longest pair has {longest} tokens, which {allowed} allow, and the model's own context is "
            f"{info.context} ({info.context_stated_by}): lower one of them"
        )
    opened = stage.open_run(config, "prefer")
    if opened is None:
        return 0
    config, folder = opened
    kept, held_out = hold_out(encoded, config.eval.share)
    rows = pair_rows(kept)
    work = folder.path / "data"
    save_rows(rows, work / "rows")
    if held_out:
        save_rows(pair_rows(held_out), work / "eval")
    job = stage.job_of(
        config,
        folder,
        stage="prefer",
        model=info.path,
        rows=work / "rows",
        steps=stage.steps_of(config, len(kept), config.epochs, what="pairs"),
        eval_rows=str((work / "eval").absolute()) if held_out else "",
        loss=config.loss,
        beta=config.beta,
        adapter=Adapter.of(config.lora),
        chat_template=info.chat_template,
    )
    fingerprints = {"rows": rows_fingerprint(rows), "dropped": dict(report.dropped), "tokens": dict(report.tokens)}
    return stage.train(config, folder, job, data=fingerprints, measure=measure_with(config))


def measure_with(config: PreferConfig) -> "Callable[[str], Share] | None":
    """Greedy accuracy at held-out sums, graded on a reward worker, where that is asked for."""
    if not config.eval.problems:
        return None
    from actors.reward import grading
    from srm_ray.config.evaluate import GradingConfig
    from srm_ray.console import interrupts
    from srm_ray.evaluation.sums import accuracy
    from srm_ray.inference.local import BatchedModel

    async def measured(folder: str) -> "Share":
        async with grading.started(grading.Grading(GradingConfig())) as grader:
            return await accuracy(BatchedModel(folder), grader, config.eval.problems)

    return lambda folder: interrupts.run(measured(folder))


if __name__ == "__main__":
    sys.exit(main())
