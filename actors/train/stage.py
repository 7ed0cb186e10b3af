"""What the training stages have in common around `actors.train.run`: run folder, job, plan, summary."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actors.runtime.compute import StageT, settle_optim
from srm_ray.config.base import flatten, to_plain
from srm_ray.config.stages import TrainStage
from srm_ray.console import interrupts, output
from srm_ray.console.progress import duration, echo, phase
from srm_ray.errors import UserError
from srm_ray.files import yaml_file
from srm_ray.files.atomic import discard
from srm_ray.files.roots import lasting
from srm_ray.intervals import Share
from srm_ray.model.lineage import read_lineage
from srm_ray.runs.folder import RunFolder
from srm_ray.training.job import TrainSpec
from srm_ray.training.schedule import Schedule

Measure = Callable[[str], Share]
LINES = 100  # progress lines of a run, about: metrics.jsonl has every step


def open_run(config: StageT, stage: str) -> tuple[StageT, RunFolder] | None:
    """The config to go on with, its precision settled, and the run folder, ready to be continued.

    None when the run is complete already. Ray must be initialised.
    """
    folder = RunFolder(config.run_dir, stage=stage)
    folder.create()
    if config.resume == "never":
        folder.clear()
    output.log_to(folder.logs)
    if not folder.config.is_file():
        # Data prepared for another config, or by a try that never got as far as training.
        for part in ("data", "start", "best", "ray"):
            discard(folder.path / part)
    config = folder.check_config(config)
    check_held_out(config, folder)
    done = folder.read_summary()
    if done and (not config.steps or done["steps"] >= config.steps):
        echo(f"{folder.path} is complete ({done['steps']} steps); --resume never starts it over")
        return None
    return settle_optim(config), folder


def check_held_out(config: TrainStage, folder: RunFolder) -> None:
    """A continued run must hold out what it held out before: the rest of `eval` may change."""
    if not folder.config.is_file():
        return
    saved = flatten(yaml_file.read(folder.config)).get("eval.share", config.eval.share)
    if saved != config.eval.share:
        raise UserError(
            f"{folder.path} was run with eval.share {saved}, this command has {config.eval.share}: "
            "give another --run_dir, or --resume never to start it over"
        )


def check_data(checkpoint: Path, data: dict[str, Any]) -> None:
    """Raise `UserError` where the rows are not those that the checkpoint was trained on."""
    recorded = read_lineage(checkpoint / "model").get("data", {}).get("rows")
    if recorded != data["rows"]:
        raise UserError(
            f"the data is not what {checkpoint} was trained on (fingerprint {recorded}, now {data['rows']}): "
            "give another --run_dir, or --resume never to start it over"
        )


def steps_of(config: TrainStage, units: int, epochs: float, *, what: str) -> int:
    """Optimizer steps: those asked for, else `epochs` passes over the data.

    Raises `UserError` when the data does not fill one step, or the schedule asked for is longer than the data.
    """
    if units < config.optim.batch:
        raise UserError(f"optim.batch {config.optim.batch} is more than the data holds: {units} {what}")
    available = max(1, math.floor(units * epochs / config.optim.batch))
    if config.steps > available:
        raise UserError(
            f"--steps {config.steps} is longer than the data: {units} {what} x {epochs:g} epochs give {available} "
            f"steps of {config.optim.batch}"
        )
    return config.steps or available


def schedule(config: TrainStage, steps: int) -> Schedule:
    made = Schedule.of(config.optim, steps)
    if made.warmup >= steps > 1:
        raise UserError(f"the warm-up of {made.warmup} steps is not shorter than the run of {steps} steps")
    return made


def job_of(
    config: TrainStage,
    folder: RunFolder,
    *,
    stage: str,
    model: str,
    rows: Path,
    steps: int,
    **more: Any,
) -> TrainSpec:
    """The job of a stage that trains the weights of `model`; `more` are the fields of `TrainSpec` that the stages do
    not share."""
    path = folder.path.absolute()
    job = TrainSpec(
        name=stage,
        model=lasting(model),
        rows=str(rows.absolute()),
        destination=str(path / "final"),
        schedule=schedule(config, steps),
        optim=config.optim,
        seed=config.seed,
        run_dir=str(path),
        eval_every=config.eval.every,
        best=config.eval.best,
        checkpoint_every=config.checkpoint.every,
        log_every=max(1, steps // LINES),
        keep=config.checkpoint.keep,
        lineage={"stage": stage, "parent": config.model, "config": to_plain(config)},
    )
    return replace(job, **more)


def train(
    config: TrainStage, folder: RunFolder, job: TrainSpec, *, data: dict[str, Any], measure: Measure | None = None
) -> int:
    """Run the job, write the summary, print where everything is.

    data: fingerprints. measure: accuracy of a model's folder, measured before and after.
    """
    from actors.runtime import cluster, placement
    from actors.train import run
    from srm_ray.model.folder import weights_fingerprint
    from srm_ray.runs import checkpoints, metrics

    began = time.time()
    with interrupts.advising(folder.how_to_go_on), cluster.session():
        placement.require(run.needs_of_each(config.workers), config.workers, lower="workers")
        folder.save_config(config)
        continued = checkpoints.newest(folder.checkpoints)
        if continued:
            check_data(continued[1], data)
            folder.record_event("continued", step=continued[0])
        checkpoints.discard_partial(folder.checkpoints)
        discard(folder.final)  # of fewer steps than are asked for now
        with phase("measuring accuracy"):
            before = measure(job.model) if measure else None
        if before:
            echo(f"held-out greedy accuracy before: {before} of {before.n}")
        lineage = {**job.lineage, "parent_weights": weights_fingerprint(job.model), "data": data}
        final = run.run(
            [replace(job, lineage=lineage)],
            workers=config.workers,
            storage=folder.path / "ray",
            progress=echo,
            placement=config.placement,
        )
    seconds = time.time() - began
    logged = metrics.read(folder.metrics)
    held_out = [line["eval/loss"] for line in logged if "eval/loss" in line]
    newest = checkpoints.newest(folder.checkpoints)
    summary = {
        "steps": job.schedule.steps,
        "wall_seconds": seconds,
        "loss_first": logged[0]["train/loss"],
        "loss_last": logged[-1]["train/loss"],
        "eval_loss_best": min(held_out) if held_out else None,
        "checkpoint": str(newest[1]) if newest else None,
        "final": str(final),
        "restarts": folder.count_events("continued"),
        "data": data,
        "schedule": asdict(job.schedule),
    }
    if measure and before:
        with phase("measuring accuracy"):
            after = measure(str(final))
        summary |= {"accuracy_before": before.to_plain(), "accuracy_after": after.to_plain()}
        echo(f"held-out greedy accuracy   before {before}   after {after}   of {after.n}")
        apart = after.low > before.high or after.high < before.low
        gain = 100 * (after.value - before.value)
        echo(f"gain                       {gain:+.1f} points, 95 % intervals {'do not touch' if apart else 'touch'}")
    folder.write_summary(summary)
    echo(f"{job.schedule.steps} steps in {duration(seconds)}; run folder {folder.path}, model {final}")
    return 0
