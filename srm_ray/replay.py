"""Recompute a step of a GRPO run from what the run stored, and compare loss and gradient norm with its log.

python -m srm_ray.replay --run NAME_OR_PATH --step N

    newest checkpoint before step N, else the model that the run began with
      -> the steps in between, done again     <- rollouts/step_<n>.jsonl: token ids, log-probabilities as
      -> step N                                  sampled, advantages, verdicts; the learning rate from the log

On a CPU the learner gives the same bits for the same batch, machine and number of threads, so in a healthy run
every difference is 0, asynchronous runs included: how a batch came about does not matter to the step. The run's
own number of threads is used; where PyTorch or processor are others than the run's, that is reported.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from srm_ray.config.base import Section
from srm_ray.config.command_line import build, parse, read_yaml
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console import interrupts
from srm_ray.console.command import command
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.runs import checkpoints, rollout_log
from srm_ray.runs import metrics as metrics_log
from srm_ray.runs.folder import RunFolder, find_run

COMPARED = ("policy/loss", "policy/grad_norm", "policy/entropy", "policy/mismatch_kl")


class ReplayConfig(Section):
    """Which step of which run."""

    run: str = Field("", description="name of a run under runs/, or the path of its folder")
    step: int = Field(0, ge=0, description="the step to recompute, 1 for the first")


@dataclass(frozen=True, slots=True)
class Plan:
    """config: the run's own. model: what it began with. numerics: what the bits depended on (threads, ...).

    first: step whose weights `checkpoint` holds; 0, and None, for the model that the run began with.
    logged: lines of metrics.jsonl by step.
    """

    config: GRPOConfig
    model: str
    numerics: dict[str, Any]
    first: int
    checkpoint: Path | None
    logged: dict[int, dict[str, Any]]


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    options = parse(ReplayConfig, arguments, stage="replay", about=__doc__)
    folder = find_run(options.run)
    plan = make_plan(folder, options.step)
    from actors.runtime import cluster

    cluster.connect()
    try:
        interrupts.run(replay(folder, plan, options.step))
    finally:
        cluster.disconnect()
    return 0


def make_plan(folder: RunFolder, step: int) -> Plan:
    """Raises UserError with what is missing for the step to be recomputed."""
    logged = {int(line["step"]): line for line in metrics_log.read(folder.metrics)} if folder.metrics.is_file() else {}
    if step not in logged:
        there = f"it has steps {min(logged)} to {max(logged)}" if logged else "it has no step yet"
        raise UserError(f"--step {step}: {folder.path} has no such step ({there})")
    if not logged[step].get("groups/kept", 1):
        raise UserError(f"--step {step}: {folder.path} skipped this step, it had no group with signal to train on")
    starts = [start for event in folder.read_events() if (start := start_of(event)) and start["step"] < step]
    if not starts:
        raise UserError(f"{folder.path} does not say how it was started: its events.jsonl lacks it")
    earlier = [found for found in checkpoints.complete(folder.checkpoints) if found[0] < step]
    first, checkpoint = earlier[-1] if earlier else (0, None)
    missing = [n for n in range(first + 1, step + 1) if not rollout_log.path_of(folder.rollouts, n).is_file()]
    if missing:
        raise UserError(f"step {step} needs the completions of step {missing[0]}, which {folder.rollouts} lacks")
    for number in range(first + 1, step + 1):
        check_logged(folder, number, logged.get(number, {}))
    config = build(GRPOConfig, read_yaml(folder.config))
    return Plan(config, starts[-1]["model"], starts[-1]["learner"], first, checkpoint, logged)


def start_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """What an event says of how the run was started; None where it is another, or does not say it."""
    if event["event"] != "started" or not isinstance(event.get("step"), int):
        return None
    numerics = event.get("learner")
    known = isinstance(numerics, dict) and isinstance(numerics.get("threads"), int)
    return event if known and isinstance(event.get("model"), str) else None


def check_logged(folder: RunFolder, step: int, line: dict[str, Any]) -> None:
    """Raises UserError where the log lacks what a step that was trained on has."""
    if not line.get("groups/kept", 1):
        return
    needed = ("weights/version", "policy/lr", *COMPARED)
    if lacks := [name for name in needed if not isinstance(line.get(name), int | float)]:
        raise UserError(f"{folder.metrics} has no number for {', '.join(lacks)} in step {step}")


async def replay(folder: RunFolder, plan: Plan, step: int) -> None:
    """Print the step's numbers as logged, as recomputed, and their differences."""
    from actors.learner.group import LearnerGroup
    from actors.runtime import compute, placement
    from actors.worker_groups import learner_spec
    from srm_ray.rl.types import TrainBatch

    config = compute.settle_learner(plan.config)  # the run's own; what this machine does not have is reported
    options = config.learner
    need = placement.Need(options.workers, placement.resources(options.cpus, options.gpus))
    reservation = placement.reserve({"learner": need}, lower="learner.workers, learner.cpus or learner.gpus")
    learner = LearnerGroup(
        options.workers,
        learner_spec(config, plan.model, threads=plan.numerics["threads"]),
        max_new_tokens=plan.config.rollout.max_new_tokens,
        mismatch_limit=float("inf"),  # a difference is what is looked for here, so it must not stop the step
        places=reservation.places["learner"],
    )
    try:
        await learner.start()
        for line in heading(folder, plan, step, learner.numerics):
            echo(line)
        if plan.checkpoint is not None:
            await learner.load(plan.checkpoint.absolute())
        for number in range(plan.first + 1, step + 1):
            groups = rollout_log.read(folder.rollouts, number)
            if not groups:
                continue  # skipped: its weights are those of the step before
            log = plan.logged[number]
            batch = TrainBatch(groups, int(log["weights/version"]) - 1, log.get("policy/entropy_beta", 0.0))
            found = (await learner.step(batch, plan.logged[number]["policy/lr"])).metrics
            apart = [name for name in COMPARED if found[name] != plan.logged[number][name]]
            if number < step and apart:
                echo(f"step {number}, done again, already differs from the log in {', '.join(apart)}")
        for line in comparison(plan.logged[step], found):
            echo(line)
    finally:
        await learner.close()
        reservation.release()


def heading(folder: RunFolder, plan: Plan, step: int, numerics: dict[str, Any]) -> Iterator[str]:
    since = str(plan.checkpoint) if plan.checkpoint else f"{plan.model}, which the run began with"
    between = step - 1 - plan.first
    yield f"step {step} of {folder.path}: weights of {since}" + (f", {between} steps done again" if between else "")
    for name, value in plan.numerics.items():
        if numerics.get(name) != value:
            yield f"{name} was {value} in the run and is {numerics.get(name)} here: last digits may differ"


def comparison(logged: dict[str, Any], found: dict[str, float]) -> Iterator[str]:
    yield f"{'':20}{'logged':>24}{'recomputed':>24}{'difference':>12}"
    for name in COMPARED:
        yield f"{name:20}{logged[name]!r:>24}{found[name]!r:>24}{found[name] - logged[name]:>12.3g}"
    same = all(found[name] == logged[name] for name in COMPARED)
    yield "the same bits" if same else "not the same bits"


if __name__ == "__main__":
    sys.exit(main())
