"""Between the steps of a GRPO run: when it is over, what a step leaves behind, what the next one is given."""

from functools import partial
from typing import Any

from actors.grpo_run import Run
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console.progress import echo
from srm_ray.rl import endings
from srm_ray.rl.endings import outcome_of
from srm_ray.rl.entropy import Bonus
from srm_ray.rl.sources import (
    AsyncSource,
    Calls,
    Choice,
    Collected,
    Flight,
    Grade,
    KeepRate,
    ReplaySource,
    Source,
    SyncSource,
)
from srm_ray.rl.state import State
from srm_ray.rl.types import Learned, TrainBatch
from srm_ray.runs import replayed, rollout_log
from srm_ray.training.schedule import Schedule


def is_over(run: Run, state: State) -> bool:
    return state.step >= run.config.steps or is_solved(run, state)


def is_solved(run: Run, state: State) -> bool:

    stop = run.config.stop
    return run.stream.curriculum.at_top and endings.solved(state.recent, stop.solved, stop.window)


def is_starved(run: Run, state: State) -> str:
    """Why the run ends with nothing to learn from; "" where it goes on, or has learned something and is over."""

    stop, over = run.config.stop, is_over(run, state)
    if over and state.version:
        return ""
    steps = len(state.recent) if over and stop.starved else stop.starved
    return endings.starved(state.recent, steps, stop.solved)


def advance(run: Run, state: State, source: Source, collected: Collected, learned: Learned | None) -> None:
    """A step is done: all that a checkpoint must know of it. Awaits nothing, so that an end comes before or after."""

    stop, curriculum = run.config.stop, run.stream.curriculum
    state.step += 1
    if learned:
        state.version += 1
        run.saver.moved(learned.metrics)
        bonus = bonus_of(run.config, state).after(learned.metrics["policy/entropy"])
        state.entropy_coefficient, state.entropy = bonus.coefficient, bonus.entropy
    outcome = outcome_of(collected.graded, len(collected.groups))
    state.recent = [*state.recent, outcome][-max(stop.window, stop.starved or 0) :]
    state.source, state.keep_rate = source.state(), source.keep_rate.value
    for name, level in curriculum.observe(collected.graded, state.source.cursor).items():
        echo(f"  {name} goes up to level {level}")
    state.curriculum = curriculum.to_plain()
    if run.stream.difficulty is not None:
        run.stream.difficulty.observe(collected.graded, state.source.cursor)
    state.difficulty = rates_of(run)


def rates_of(run: Run) -> dict[str, Any]:
    """Success rates of the problems, and which are under way; {} where problems come in the usual order."""
    return {} if run.stream.difficulty is None else run.stream.difficulty.to_plain()


def describe(run: Run, state: State, source: Source) -> dict[str, float]:
    """Metrics of what stands between two steps."""
    of_parts = source.describe() | run.workers.describe() | run.stream.curriculum.describe()
    if run.stream.difficulty is not None:
        of_parts |= run.stream.difficulty.describe()
    return of_parts | {"weights/version": state.version}


def learning_rate(config: GRPOConfig, step: int) -> float:
    """Of the step after `step` steps. By default constant after the warm-up: whatever number is still to come."""

    return Schedule.of(config.learner, config.steps).at(step)


def bonus_of(config: GRPOConfig, state: State) -> Bonus:
    """The entropy bonus of the step after those done."""

    loss, coefficient = config.loss, state.entropy_coefficient
    coefficient = loss.entropy_beta if coefficient is None else coefficient
    return Bonus(coefficient, loss.entropy_target, loss.entropy_change, state.entropy)


def batch_of(config: GRPOConfig, state: State, collected: Collected) -> TrainBatch:
    """What the learner is given."""
    return TrainBatch(collected.groups, state.version, bonus_of(config, state).weight)


def describe_batch(config: GRPOConfig, batch: TrainBatch) -> dict[str, float]:
    """Metrics of it: the weight of the entropy bonus, where there may be one."""
    return {"policy/entropy_beta": batch.entropy_beta} if config.loss.entropy_bonus else {}


def source_of(run: Run, state: State, grade: Grade, choice: Choice) -> Source:
    """Where the groups come from: sampled step by step, all the time (`max_staleness` above 0), or a record."""

    config = run.config
    if config.replay:
        read = partial(rollout_log.read_all, replayed.record_of(config.replay, config.steps))
        return ReplaySource(read, step=state.step, keep_rate=KeepRate(state.keep_rate), choice=choice)
    calls = Calls(run.stream.__getitem__, run.watch.calls("rollout", run.workers.sample), grade, choice)
    want, keep_rate = config.prompts_per_step, KeepRate(state.keep_rate)
    limit = int(config.max_refill * want)
    if not config.max_staleness:
        return SyncSource(state.source, calls, want=want, limit=limit, keep_rate=keep_rate)
    flight = Flight(config.max_staleness, config.rollout.group_size, lambda: run.workers.rollouts.capacity)
    return AsyncSource(state.source, calls, flight, version=state.version, want=want, limit=limit, keep_rate=keep_rate)
