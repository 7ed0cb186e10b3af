"""GRPO with DAPO's improvements: sample groups, grade them, learn from those with signal, push the weights.

    prompts -> rollout workers (vLLM, G completions each) -> reward workers -> advantages
            -> groups with signal -> learner (DeepSpeed, DAPO loss) -> weights back to the rollout workers

`train` below is the algorithm. Machinery lives in actors/ (Ray, vLLM, DeepSpeed) and srm_ray/rl/ (the mathematics).
Deviations from DAPO (arXiv 2503.14476): the learning rate is constant by default; completions whose grader
could not decide are masked out; a step draws `max_refill` times its groups at most; if none has signal, it is skipped.
"""

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import phase, say
from srm_ray.errors import LearnerLost
from srm_ray.runs import replayed, rollout_log
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from actors.grpo_run import Run
    from srm_ray.evaluation.accuracy import Evaluation
    from srm_ray.rl.entropy import Bonus
    from srm_ray.rl.sources import Choice, Collected, Grade, Source
    from srm_ray.rl.state import State
    from srm_ray.rl.types import Group, Learned


async def train(run: "Run", state: "State") -> None:
    """The loop. Leaves `state` at the last step done; whatever ends it, weights that have moved are saved first.

    Raises `Starved` where nothing is to be learned from the problems, RunError for all that ends a run.
    """
    from srm_ray.rl import endings, step_metrics
    from srm_ray.rl.types import TrainBatch
    from srm_ray.runs.clock import StepClock
    from srm_ray.runs.step_log import StepLog
    from srm_ray.training.algorithm import algorithm_of

    config, workers, watch = run.config, run.workers, run.watch
    score, learn = watch.calls("reward", workers.score), watch.calls("learner", workers.learn)
    publish, save = watch.calls("weight push", workers.push_weights), watch.calls("checkpoint", run.saver.save)
    clock = StepClock(state.seconds)
    log = StepLog(run.folder, run.log, watch, clock, config.steps)

    algorithm = algorithm_of(config.algorithm, config.loss)

    async def grade(group: "Group") -> "Group":
        return algorithm.with_advantages(await score(group))

    source = source_of(run, state, grade, algorithm.choice)
    try:
        while not is_over(run, state):
            collected = await workers.learner.unless_lost(source.take())  # samples and grades until there are enough
            if not config.replay:  # a record has the advantages that were trained on
                collected = collected.with_groups(algorithm.across_step(collected.groups))
            learned, metrics = None, step_metrics.of_groups(collected, state.version)
            if collected.groups:
                beta, rate = bonus_of(config, state).weight, learning_rate(config, state.step)
                with clock.part("learn"):
                    learned = await run.saver.finished(learn(TrainBatch(collected.groups, state.version, beta), rate))
                if config.loss.entropy_bonus:
                    metrics["policy/entropy_beta"] = beta
            advance(run, state, source, collected, learned)
            log.begin(state.step, collected, learned, metrics | describe(run, state, source))
            if learned:
                with clock.part("sync"):
                    await publish(state.version)
                source.advance(state.version)
            if run.evaluations.due(state.step, last=is_over(run, state)):
                with clock.part("eval"):
                    found = await workers.learner.unless_lost(
                        run.evaluations.after_step(state, last=is_over(run, state))
                    )
                log.add(found)
            log.add(describe(run, state, source))
            await log.write(endings.shortage(state.recent[-1], config.prompts_per_step))
            if state.step % config.checkpoint.every == 0 or is_over(run, state):
                state.source, state.seconds, state.difficulty = source.state(), clock.total, rates_of(run)
                with clock.part("checkpoint"):
                    await save(state)
            if why := is_starved(run, state):
                raise endings.Starved(why, collected.judged)
    except LearnerLost:
        raise  # what it had learned since the checkpoint died with it
    except BaseException:
        await log.write_begun()
        state.seconds = clock.total
        await run.saver.save_last(state)
        raise
    finally:
        await source.close()


def is_over(run: "Run", state: "State") -> bool:
    return state.step >= run.config.steps or is_solved(run, state)


def is_solved(run: "Run", state: "State") -> bool:
    from srm_ray.rl import endings

    stop = run.config.stop
    return run.stream.curriculum.at_top and endings.solved(state.recent, stop.solved, stop.window)


def is_starved(run: "Run", state: "State") -> str:
    """Why the run ends with nothing to learn from; "" where it goes on, or has learned something and is over."""
    from srm_ray.rl import endings

    stop, over = run.config.stop, is_over(run, state)
    if over and state.version:
        return ""
    steps = len(state.recent) if over and stop.starved else stop.starved
    return endings.starved(state.recent, steps, stop.solved)


def advance(run: "Run", state: "State", source: "Source", collected: "Collected", learned: "Learned | None") -> None:
    """A step is done: all that a checkpoint must know of it. Awaits nothing, so that an end comes before or after."""
    from srm_ray.rl.endings import outcome_of

    stop, curriculum = run.config.stop, run.stream.curriculum
    state.step += 1
    if learned:
        state.version += 1
        run.saver.moved(learned.metrics)
        bonus = bonus_of(run.config, state).after(learned.metrics["policy/entropy"])
        state.entropy_coefficient, state.entropy = bonus.coefficient, bonus.entropy
    outcome = outcome_of(collected.judged, len(collected.groups))
    state.recent = [*state.recent, outcome][-max(stop.window, stop.starved or 0) :]
    state.source, state.keep_rate = source.state(), source.keep_rate.value
    for name, level in curriculum.observe(collected.judged, state.source.cursor).items():
        say(f"  {name} goes up to level {level}")
    state.curriculum = curriculum.to_plain()
    if run.stream.difficulty is not None:
        run.stream.difficulty.observe(collected.judged, state.source.cursor)
    state.difficulty = rates_of(run)


def rates_of(run: "Run") -> dict[str, Any]:
    """Success rates of the problems, and which are under way; {} where problems come in the usual order."""
    return {} if run.stream.difficulty is None else run.stream.difficulty.to_plain()


def describe(run: "Run", state: "State", source: "Source") -> dict[str, float]:
    """Metrics of what stands between two steps."""
    of_parts = source.describe() | run.workers.describe() | run.stream.curriculum.describe()
    if run.stream.difficulty is not None:
        of_parts |= run.stream.difficulty.describe()
    return of_parts | {"weights/version": state.version}


def learning_rate(config: GRPOConfig, step: int) -> float:
    """Of the step after `step` steps. By default constant after the warm-up: whatever number is still to come."""
    from srm_ray.training.schedule import Schedule

    return Schedule.of(config.learner, config.steps).at(step)


def bonus_of(config: GRPOConfig, state: "State") -> "Bonus":
    """The entropy bonus of the step after those done."""
    from srm_ray.rl.entropy import Bonus

    loss, coefficient = config.loss, state.entropy_coefficient
    coefficient = loss.entropy_beta if coefficient is None else coefficient
    return Bonus(coefficient, loss.entropy_target, loss.entropy_change, state.entropy)


def source_of(run: "Run", state: "State", grade: "Grade", choice: "Choice") -> "Source":
    """Where the groups come from: sampled step by step, all the time (`max_staleness` above 0), or a record."""
    from srm_ray.rl.sources import AsyncSource, KeepRate, ReplaySource, SyncSource

    config = run.config
    if config.replay:
        read = partial(rollout_log.read_all, replayed.record_of(config.replay, config.steps))
        return ReplaySource(read, step=state.step, keep_rate=KeepRate(state.keep_rate), choice=choice)
    options: dict[str, Any] = {
        "want": config.prompts_per_step,
        "limit": int(config.max_refill * config.prompts_per_step),
        "prompt": run.stream.__getitem__,
        "sample": run.watch.calls("rollout", run.workers.sample),
        "grade": grade,
        "keep_rate": KeepRate(state.keep_rate),
        "choice": choice,
    }
    if not config.max_staleness:
        return SyncSource(state.source, **options)
    return AsyncSource(
        state.source,
        version=state.version,
        max_staleness=config.max_staleness,
        group_size=config.rollout.group_size,
        capacity=lambda: run.workers.rollouts.capacity,
        **options,
    )


# Around the loop


async def to_the_end(run: "Run") -> "tuple[State, Evaluation | None]":
    """Train, evaluate, export; when the learner dies, go on from the newest checkpoint with a new one."""
    from srm_ray.runs.final import write_final

    before, restarted = None, False
    while True:
        try:
            state = await restore(run, restarted=restarted)
            state.before = state.before or before
            await run.workers.learner.unless_lost(run.evaluations.before(state))
            before = state.before
            steps, done = run.config.steps, partial(getattr, state, "step")
            with phase("training", total=steps, done=done(), count=done, status=run.workers.doing, kind="talking"):
                await train(run, state)
            after = await run.workers.learner.unless_lost(run.evaluations.after(state))
            await write_final(run.folder, run.export, state.step, state.suites.get("best"))
            return state, after
        except LearnerLost as lost:
            await run.workers.restart_learner(lost)
            restarted = True


async def restore(run: "Run", *, restarted: bool) -> "State":
    """State of the newest checkpoint, loaded into the learner and pushed to the rollout workers; else of the start."""
    from srm_ray.rl.state import State
    from srm_ray.runs.final import discard_product
    from srm_ray.training.algorithm import changes, described

    found: State | None = await run.saver.restore()
    state = found or State()
    if found or restarted:  # else the workers hold the model's own weights already
        await run.workers.push_weights(state.version)
    algorithm = described(run.config)
    made_with = [event["algorithm"] for event in run.folder.read_events() if "algorithm" in event]
    if made_with and (other := changes(made_with[-1], algorithm)):
        say(other)
    numerics = run.workers.learner.numerics
    run.folder.record_event("started", step=state.step, **run.started, learner=numerics, algorithm=algorithm)
    run.stream.curriculum.restore(state.curriculum)
    if run.stream.difficulty is not None:
        run.stream.difficulty.restore(state.difficulty)
    if not is_over(run, state) and discard_product(run.folder):
        say("final/ and summary.json of the shorter run are removed: they come anew at the end")
    return state


@command
def main(argv: list[str] | None = None) -> int:
    from srm_ray.runs import final, saving
    from srm_ray.training import algorithm

    arguments = sys.argv[1:] if argv is None else argv
    config = parse(GRPOConfig, arguments, stage="grpo", default="grpo/tiny", about=__doc__)
    if config.inspect and config.plays_episodes:
        from actors.environment.inspection import inspect_run

        return interrupts.run(inspect_run(config))
    if config.inspect:
        from srm_ray.data.inspection import inspect

        return inspect(config, config.inspect)
    config = algorithm.settled(config)
    folder = RunFolder(config.run_dir, stage="grpo")
    replayed.check(config.replay, folder, config.steps)
    folder.create()
    if config.resume == "never":
        folder.clear()
    output.log_to(folder.logs)
    config = folder.check_config(config)
    saving.check(folder)
    if complete := final.complete(folder, config.steps, solved_ends=config.stop.solved is not None):
        say(complete)
        return 0
    with interrupts.advising(folder.how_to_go_on):
        return interrupts.run(run(config, folder))


async def run(config: GRPOConfig, folder: RunFolder) -> int:
    """Start the workers, train, and sum up."""
    from actors.grpo_run import opened
    from srm_ray.report import grpo_summary
    from srm_ray.rl.endings import Starved

    began = time.time()
    try:
        async with opened(config, folder) as parts:
            state, after = await to_the_end(parts)
            ended = "solved" if is_solved(parts, state) else "done"
    except Starved as starved:
        grpo_summary.show_starved(folder, starved.groups)
        raise
    grpo_summary.finish(folder, state, after, time.time() - began, ended=ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
