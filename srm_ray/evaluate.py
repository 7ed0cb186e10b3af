"""Measure a model on task suites, and what it lost against its parent.

    suites (local files, hub, generator) -> engines (vLLM on Ray), or an endpoint
        -> graders (on reward workers), or lm-evaluation-harness
        -> samples/<suite>.jsonl -> results.json -> against the parent's: tax.json -> tables, report.html

Suites: arithmetic, numerals, word_problems (built in), gsm8k, math500, aime24, svamp, humaneval, mbpp; through
lm-evaluation-harness: bbh, ifeval, mmlu_stem, arc_challenge. Or files of your own, in the forms and columns that GRPO
reads; or an environment: environment:package.module:Class, or --tools. With no model, tasks or config: the tiny model
on arithmetic.

    python -m srm_ray.evaluate --model runs/grpo/final --tasks gsm8k,math500 --against parent
    python -m srm_ray.evaluate --model runs/grpo/final --tasks gsm8k,my_problems.jsonl
    python -m srm_ray.evaluate --endpoint http://localhost:8000/v1 --model NAME --tasks gsm8k
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.config.command_line import parse
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.files.json_file import read_object
from srm_ray.files.roots import cache_root, runs_root
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from actors.environment.measuring import Problems
    from actors.measuring import Job
    from srm_ray.evaluation.results import Results
    from srm_ray.evaluation.suites import Suite
    from srm_ray.evaluation.tax import Tax

PARENT = "parent"
# Of a finished or interrupted evaluation these may change: they say what more to measure, or where.
MAY_CHANGE = {"tasks", "limit", "against", "run_dir", "resume", "workers", "shown", "engine", "reference", "api_key"}
MAY_CHANGE |= {"grading.workers", "grading.processes", "grading.cpus"}


@command
def main(argv: list[str] | None = None) -> int:
    arguments = bare_against(sys.argv[1:] if argv is None else argv)
    config = parse(EvaluateConfig, arguments, stage="evaluate", default="evaluate/tiny", about=__doc__)
    asked = suites_of(config)
    if any(suite.kind == "harness" for suite in asked):
        from srm_ray.evaluation.lm_eval import harness

        os.environ.setdefault("TQDM_DISABLE", "1")  # its bars; read when tqdm is imported
        harness.check_installed()
    if config.inspect:
        from srm_ray.evaluation.inspection import inspect

        inspect(config, [suite for suite in asked if suite.kind != "environment"])
        if any(suite.kind == "environment" for suite in asked):
            interrupts.run(inspect_environment(config))
        return 0
    kept = "what was answered is kept: the same command asks for the rest"
    with interrupts.advising(lambda: kept):
        return interrupts.run(run(config, asked))


def suites_of(config: EvaluateConfig) -> "list[Suite]":
    """The suites of `tasks`, an environment as one of them."""
    from srm_ray.evaluation import episodes, suites

    tasks = [name for name in config.tasks if name != episodes.TASK]
    asked = suites.asked(tasks, config.data.columns, config.data.grader) if tasks else []
    if episodes.TASK in config.tasks:
        played = episodes.suite_of(config.environment.name, config.tools)
        taken = {*suites.SUITES, *(suite.name for suite in asked)}
        asked.append(replace(played, name=f"environment-{played.name}") if played.name in taken else played)
    return asked


def bare_against(arguments: list[str]) -> list[str]:
    """`--against` without a value asks for the recorded parent."""
    found = list(arguments)
    for place, word in enumerate(arguments):
        if word == "--against" and (place + 1 == len(arguments) or arguments[place + 1].startswith("--")):
            found[place] = f"--against={PARENT}"
    return found


async def run(config: EvaluateConfig, asked: "list[Suite]") -> int:
    """Load the problems, find the parent, measure, compare, and print the results."""
    from actors.measuring import Job
    from srm_ray.evaluation import suites
    from srm_ray.report.evaluation_summary import conclude

    began, joined = time.time(), cluster_joined()
    model = config.model or tiny_model(config)
    parent = find_parent(config, model)
    own = ("harness", "environment")
    items = {one.name: suites.load(one, config.data.path, config.limit) for one in asked if one.kind not in own}
    played = await problems_of(config) if any(one.kind == "environment" for one in asked) else None
    folder = RunFolder(config.run_dir or runs_root() / f"evaluate-{slug(model)}", stage="evaluate")
    job = Job(config, asked, items, played)
    tax: Tax | None = None
    try:
        job.check(parent)
        results = await measure(job, model, folder, config.endpoint)
        if isinstance(parent, str):
            echo(f"\nthe same of {parent}, to compare with")
            theirs: Results | None = await measure(
                job, parent, RunFolder(folder.path / "against", stage="evaluate"), ""
            )
        else:
            theirs = parent
        if theirs is not None:
            from srm_ray.evaluation.tax import compare

            tax = compare(results, theirs, seed=config.seed)
            tax.save(folder.path)
    finally:
        if not joined and cluster_joined():
            from actors.runtime import cluster

            cluster.disconnect()
    conclude(config, folder, results, tax, time.time() - began)
    return 0


async def inspect_environment(config: EvaluateConfig) -> int:
    from actors import measuring
    from actors.environment.inspection import inspect_evaluation

    if not config.model or config.endpoint:
        return await inspect_evaluation(config, None, 0)
    from srm_ray.model.loading import open_model

    info = open_model(config.model, config.chat_template)
    measuring.check_model(config, info)
    return await inspect_evaluation(config, info, measuring.engine_context(config, info))


async def problems_of(config: EvaluateConfig) -> "Problems":
    from actors.environment import measuring

    return await measuring.problems_of(config)


def cluster_joined() -> bool:
    """Whether this process is in a Ray cluster."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def tiny_model(config: EvaluateConfig) -> str:
    """The tiny base model, made once and kept."""
    from actors.runtime import cluster
    from actors.train.warm_start import make_base_model, recipe_for
    from srm_ray.config.data import DataConfig

    cluster.connect()
    recipe = recipe_for(DataConfig(), (config.environment.name, *config.tools))
    return str(make_base_model(cache_root() / "tiny-base", seed=config.seed, progress=echo, recipe=recipe))


def find_parent(config: EvaluateConfig, model: str) -> "str | Results | None":
    """What to compare with: a model to measure, results that there are, or None. Raises `UserError`."""
    if not config.against:
        return None
    from srm_ray.evaluation import results
    from srm_ray.model.lineage import read_lineage

    if config.against != PARENT:
        if (Path(config.against) / results.FILE).is_file():
            return results.read(Path(config.against))
        return config.against
    if config.endpoint:
        raise UserError("--against parent: an endpoint records no parent; name a model or a finished evaluation")
    lineage = read_lineage(Path(model))
    if not lineage.get("parent"):
        where = "its lineage.json names none" if lineage else f"{model} has no lineage.json"
        raise UserError(f"--against parent: {where}; name the parent with --against PATH")
    recorded = str(lineage["parent"])
    if recorded.startswith(("/", ".", "runs/")) and not Path(recorded).exists():
        raise UserError(f"--against parent: the recorded parent {recorded} is not there; name it with --against PATH")
    return recorded


def slug(model: str) -> str:
    """A name for a run folder: `runs/x/final` is x, `Qwen/Qwen2.5-0.5B` is Qwen-Qwen2.5-0.5B."""
    parts = [part for part in Path(model).parts if part not in ("/", ".", "..", "runs", "final")]
    return "-".join(parts[-2:] if not Path(model).is_dir() else parts[-1:]) or "model"


# Measuring one model


async def measure(job: "Job", model: str, folder: RunFolder, endpoint: str) -> "Results":
    """Every suite of one model; what its folder already holds is not asked again."""
    from actors import measuring
    from srm_ray.evaluation.results import Results
    from srm_ray.model.folder import weights_fingerprint
    from srm_ray.report.evaluation_summary import link_samples

    config = job.config
    info, fingerprint = None, ""
    if not endpoint:
        from srm_ray.model.loading import open_model

        info = open_model(model, config.chat_template)
        fingerprint = weights_fingerprint(model) if Path(model).is_dir() else ""
        measuring.check_model(config, info)
        if config.prompt.chat_template:
            from srm_ray.evaluation.inspection import report_lost

            for suite in job.suites:
                report_lost(config, suite, job.items.get(suite.name, ()), info.tokenizer)
    config = prepare_folder(folder, config, model, fingerprint)
    if info:
        from actors.runtime.compute import settle_evaluation
        from srm_ray.model.loading import check_cache

        config = settle_evaluation(config, info.path)
        check_cache(config.engine, measuring.engine_context(config, info), info, config.origins, "engine")
    job = replace(job, config=config)
    async with measuring.opened(job, model, info) as opened:
        folder.save_config(config.model_copy(update={"model": model}))
        found = {}
        for number, suite in enumerate(job.suites, 1):
            position = f"{number}/{len(job.suites)}"
            if suite.kind == "environment":
                found[suite.name] = await measuring.measure_episodes(job, suite, opened, folder, position)
            else:
                found[suite.name] = await measuring.measure_suite(job, suite, opened, folder, position)
            echo(f"  {suite.name}: {found[suite.name].score}")
    results = Results(model, fingerprint, found)
    results.save(folder.path)
    link_samples(folder, list(found))
    return results


def prepare_folder(folder: RunFolder, config: EvaluateConfig, model: str, fingerprint: str) -> EvaluateConfig:
    """The config to go on with. Refuses another model's samples, and samples of other settings."""
    import json

    from srm_ray.files.atomic import discard, write_atomically

    folder.create()
    if config.resume == "never":
        for name in ("results.json", "tax.json", "model.json"):
            (folder.path / name).unlink(missing_ok=True)
        for part in ("samples", "requests", "against"):
            discard(folder.path / part)
        folder.clear()  # the config last, since it says how what there is was made
    output.log_to(folder.logs)
    config = folder.check_config(config, MAY_CHANGE | {"model"})
    record = folder.path / "model.json"
    now = {"model": model, "fingerprint": fingerprint}
    before = read_object(record, "remove it") if record.is_file() else now
    if before.get("fingerprint") != fingerprint or (not fingerprint and before.get("model") != model):
        raise UserError(
            f"{folder.path} holds an evaluation of other weights ({before.get('model')}): "
            "give another --run_dir, or --resume never to start it over"
        )
    for name in ("results.json", "tax.json"):  # what is there speaks of what was measured before
        (folder.path / name).unlink(missing_ok=True)
    write_atomically(record, json.dumps(now) + "\n")
    return config


if __name__ == "__main__":
    sys.exit(main())
