"""The parts of a GRPO run, opened in order and closed whatever happens: model and data, workers, logs, measurements.

`srm_ray.grpo` is the algorithm on these parts; tests give it others.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from srm_ray.config.base import to_plain
from srm_ray.config.filter import FilterConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.teacher import TeacherConfig
from srm_ray.console import output
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.files.roots import lasting
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from srm_ray.runs.trackers import open_trackers
from srm_ray.runs.watch import Watch

if TYPE_CHECKING:
    from actors.environment.episodes import EpisodePlan
    from actors.rollout.pool import RolloutPool
    from actors.worker_groups import WorkerGroups
    from srm_ray.config.lengths import Lengths
    from srm_ray.data.prompts import PromptStream
    from srm_ray.environments.contract import Contract
    from srm_ray.environments.prompts import EpisodeStream
    from srm_ray.evaluation.in_training import Evaluations, InTraining
    from srm_ray.evaluation.suites import Item
    from srm_ray.model.loading import ModelInfo
    from srm_ray.rl.types import Prompt
    from srm_ray.runs.final import Export
    from srm_ray.runs.saving import Saver

ConfigT = TypeVar("ConfigT", GRPOConfig, FilterConfig)


@dataclass
class Run:
    """What the loop works with. started: what the run's "started" events hold."""

    config: GRPOConfig
    folder: RunFolder
    workers: "WorkerGroups"
    stream: "PromptStream | EpisodeStream"
    saver: "Saver"
    evaluations: "Evaluations"
    export: "Export"
    log: MetricsLog
    watch: Watch
    started: dict[str, Any]


@dataclass
class Inputs:
    """What a run learns from. config: as this machine settles it. context: prompt and completion, tokens. plan: of a
    run that plays episodes."""

    config: GRPOConfig
    info: "ModelInfo"
    context: int
    stream: "PromptStream | EpisodeStream"
    held_out: "list[Prompt]"
    suites: "dict[str, list[Item]]"
    plan: "EpisodePlan | None" = None


@dataclass
class Opened(Generic[ConfigT]):
    """A model, and the problems that it is asked. config: as this machine and the model's context settle it."""

    config: ConfigT
    info: "ModelInfo"
    lengths: "Lengths"
    stream: "PromptStream"


def open_model(config: ConfigT, settle: Callable[[ConfigT, str], ConfigT]) -> "tuple[ConfigT, ModelInfo, Lengths]":
    """The model (the tiny base where none is named), and the config as this machine and the model settle it."""
    from actors.runtime import compute
    from actors.train.warm_start import open_base
    from srm_ray.model.loading import settle_lengths

    config = compute.settle_learner(config)
    info = open_base(
        config.model,
        config.data,
        config.seed,
        echo,
        config.learner.precision,
        chat_template=config.chat_template,
        played=(config.environment.name, *config.tools),
    )
    config, lengths = settle_lengths(settle(config, info.path), info)
    return config, info, lengths


def open_problems(
    config: ConfigT,
    settle: Callable[[ConfigT, str], ConfigT],
    *,
    follow: bool = False,
    taught: TeacherConfig | None = None,
) -> Opened[ConfigT]:
    """The model (the tiny base where none is named), and the training problems, each of which has been rendered once.

    settle: the dtypes of what will run, `settle_run` or `settle_rollout` of `actors.runtime.compute`. follow: whether
    problems are drawn by how often they are solved. taught: options of the teacher, where there may be one.
    """
    from srm_ray.data.demonstrations import Demonstrations
    from srm_ray.data.difficulty import Difficulty
    from srm_ray.data.prompts import prompts_of, training_tasks

    config, info, lengths = open_model(config, settle)
    options, group_size = config.difficulty, config.rollout.group_size
    tasks = training_tasks(
        config.data,
        seed=config.seed,
        graded=not config.reward.own,
        curriculum=config.curriculum,
        difficulty=Difficulty(options, seed=config.seed, group_size=group_size) if follow else None,
        rows=bool(taught and taught.demonstration),
    )
    stream = prompts_of(tasks, config.data, info.tokenizer, limit=lengths.prompt, limited_by=lengths.why)
    stream.keeps_messages = config.reward.judge.judges
    if taught and taught.demonstration:  # scored where it samples, which takes one token more
        limit = lengths.prompt - 1
        stream.shown = Demonstrations(taught, info.tokenizer, system=config.data.system, limit=limit)
    stream.check()
    return Opened(config, info, lengths, stream)


def settle_untrained(config: GRPOConfig, info: "ModelInfo", context: int) -> GRPOConfig:
    """The config with what the engines of the models that only answer, teacher and judge, come to. Raises
    `UserError`."""
    from actors.judge import opening as judge
    from actors.teacher import opening as teacher

    return judge.settle(teacher.settle(config, info, context))


def open_inputs(config: GRPOConfig) -> Inputs:
    """Model and data. Raises `UserError` for what the user must know before any worker starts."""
    from actors.runtime.compute import settle_run
    from srm_ray.data.prompts import held_out_prompts
    from srm_ray.evaluation import in_training

    opened = open_problems(config, settle_run, follow=config.difficulty.follow, taught=config.teacher)
    config, info, lengths = opened.config, opened.info, opened.lengths
    config = settle_untrained(config, info, lengths.context)
    held_out = []
    if config.eval.problems:
        held_out = held_out_prompts(
            config.data,
            info.tokenizer,
            count=config.eval.problems,
            limit=lengths.prompt,
            limited_by=lengths.why,
            graded=not config.reward.own,
        )
    suites = in_training.load(config.eval.suite, config.eval.suite_path, config.eval.suite_limit)
    return Inputs(config, info, lengths.context, opened.stream, held_out, suites)


def open_episodes(config: GRPOConfig, contract: "Contract") -> Inputs:
    """As `open_inputs`, for a run whose environment fits `contract`."""
    from actors.environment.check import plan_of
    from actors.runtime.compute import settle_run
    from srm_ray.environments.prompts import Asked, held_out_episodes, training_episodes
    from srm_ray.evaluation import in_training

    config, info, lengths = open_model(config, settle_run)
    config = settle_untrained(config, info, lengths.context)
    plan = plan_of(config, info, contract, lengths.prompt)
    graded = not (contract.rewards or config.reward.own)
    asked = Asked(plan.renderer, contract, config.environment.name, graded, lengths.prompt, lengths.why)
    stream = training_episodes(config.data, asked, config.seed, config.curriculum)
    stream.check()
    held_out = held_out_episodes(config.data, asked, config.eval.problems) if config.eval.problems else []
    suites = in_training.load(config.eval.suite, config.eval.suite_path, config.eval.suite_limit)
    return Inputs(config, info, lengths.context, stream, held_out, suites, plan)


@contextlib.asynccontextmanager
async def opened(config: GRPOConfig, folder: RunFolder) -> AsyncIterator[Run]:
    """The parts of a run, its workers started."""
    from actors.environment import check

    contract = await check.contract_of(config)
    inputs = open_inputs(config) if contract is None else open_episodes(config, contract)
    config = inputs.config
    adapter = adapter_of(config, inputs.info)

    from actors.reward import spec
    from actors.runtime import cluster, control
    from actors.runtime.metrics import RayMetrics
    from actors.teacher.opening import check_endpoint
    from actors.worker_groups import WorkerGroups, reward_spec
    from srm_ray.data.prompts import ROWS_CHECKED
    from srm_ray.runs.saving import Saver

    await check_endpoint(config, inputs.info)
    spec.check(reward_spec(config), inputs.stream.first(ROWS_CHECKED))
    if inputs.plan is not None:
        await check.rehearse(inputs.plan, inputs.stream.first(ROWS_CHECKED), config.seed)
    trackers = open_trackers(config.log, folder, to_plain(config))
    gauges = RayMetrics({"run": folder.path.name})
    log = MetricsLog(folder.metrics, folder.tensorboard, cluster=gauges, trackers=trackers)
    cluster.connect()
    try:
        echo(f"run folder {folder.path}")
        steering = control.open_control(folder.path)

        def on_event(event: str, **known: Any) -> None:
            record(folder, event, step=log.step + 1, **known)

        info = inputs.info
        async with WorkerGroups(
            config,
            info.path,
            context=inputs.context,
            stop_token_ids=info.stop_token_ids,
            on_event=on_event,
            plan=inputs.plan,
        ) as workers:
            folder.save_config(config)  # not before: what could not start does not bind the next command
            async with (
                control.followed(steering, workers.scale, workers.worker_counts, on_event),
                Watch(config.alarms, folder, log, group_size=config.rollout.group_size) as watch,
            ):
                adapted = config.learner.lora.rank > 0
                export = exporter(config, workers, info, plain=config.learner.lora.final == "merged" or not adapted)
                yield Run(
                    config=config,
                    folder=folder,
                    workers=workers,
                    stream=inputs.stream,
                    saver=Saver(
                        folder,
                        workers.learner,
                        log,
                        keep=config.checkpoint.keep,
                        limit=config.checkpoint.last_timeout,
                        model=exporter(config, workers, info, plain=False) if adapted else None,
                    ),
                    evaluations=evaluations_of(config, folder, workers, watch, inputs, export),
                    export=export,
                    log=log,
                    watch=watch,
                    started={"model": lasting(info.path), "cluster": cluster.address(), **adapter},
                )
    finally:
        log.close()
        cluster.disconnect()


def record(folder: RunFolder, event: str, **info: Any) -> None:
    """What happens to the workers, into events.jsonl and onto the terminal."""
    folder.record_event(event, **info)
    shown = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in info.items()
    )
    log = output.logs_of_workers(shown) if event in ("restarted", "gave_up") else ""
    echo(f"  {event}: {shown}" + (f", log {log}" if log else ""))


def exporter(config: GRPOConfig, workers: "WorkerGroups", info: "ModelInfo", *, plain: bool = True) -> "Export":
    """Writes the learner's weights of now, as those of a step, into a folder: a Hugging Face model, or, with `plain`
    false, the adapter that is trained."""
    from srm_ray.model.folder import write_generation_config
    from srm_ray.model.lineage import write_lineage

    async def export(path: Path, step: int) -> None:
        await workers.learner.export(path.absolute(), plain=plain)
        info.tokenizer.save_pretrained(path)
        write_generation_config(path, info.tokenizer, parent=info.path)
        write_lineage(path, stage="grpo", parent=config.model or info.path, config=config, steps=step)

    return export


def adapter_of(config: GRPOConfig, info: "ModelInfo") -> dict[str, Any]:
    """What is trained in place of all weights, printed, and as the run's events have it; {} where all weights are.

    Raises `UserError` where the adapter does not fit the model or the settled precision.
    """
    from srm_ray.model import lora

    options = config.learner.lora
    if (adapter := lora.Adapter.of(options)) is None:
        return {}
    if why := config.learner.quantised_conflict:
        raise UserError(why)
    share = lora.share_of(info.path, adapter)
    quantised = f", base weights in {options.quantise}" if adapter.nf4 else ""
    echo(
        f"adapter: rank {adapter.rank}, alpha {adapter.alpha}{quantised}: {share}; learning rate {config.learner.lr:g}"
    )
    return {"adapter": {"rank": adapter.rank, "alpha": adapter.alpha, "trained": share.trained, "whole": share.whole}}


# What is measured in training


def evaluations_of(
    config: GRPOConfig,
    folder: RunFolder,
    workers: "WorkerGroups",
    watch: Watch,
    inputs: Inputs,
    export: "Export",
) -> "Evaluations":
    from srm_ray.evaluation.hacks import PROBED, Found, HackProbe
    from srm_ray.evaluation.in_training import Evaluations, HeldOut

    limit = None if inputs.plan else config.alarms.hackable  # what is tried are completions of one turn

    def report(found: Found) -> None:
        watch.raise_alarm("hackable", found.kind, found.share, found.chance + (limit or 0.0), found.text())

    answer = watch.calls("evaluation", workers.answer)
    return Evaluations(
        config.eval.every,
        HeldOut(inputs.held_out, answer, samples=config.eval.samples) if inputs.held_out else None,
        suites_in_training(config, folder, workers, inputs, export) if inputs.suites else None,
        HackProbe(inputs.stream.first(PROBED), workers.rewards.score, report, limit=limit) if limit else None,
    )


def suites_in_training(
    config: GRPOConfig, folder: RunFolder, workers: "WorkerGroups", inputs: Inputs, export: "Export"
) -> "InTraining":
    from actors.rollout.scoring import PoolCompleter
    from srm_ray.config.evaluate import PromptConfig
    from srm_ray.evaluation.evaluator import Evaluator
    from srm_ray.evaluation.in_training import InTraining
    from srm_ray.inference.completers import Sampling
    from srm_ray.runs.final import keep_best

    async def ready() -> "RolloutPool":
        return workers.rollouts

    async def keep(step: int) -> None:
        await keep_best(folder, export, step)

    evaluator = Evaluator(
        workers.rewards,
        Sampling(max_new_tokens=config.rollout.max_new_tokens),
        seed=config.seed,
        prompt=PromptConfig(system=config.data.system),
    )
    completer = PoolCompleter(ready, inputs.info.tokenizer, inputs.context)
    return InTraining(inputs.suites, completer, evaluator, keep, guard=config.eval.guard)
