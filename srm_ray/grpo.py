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
from typing import TYPE_CHECKING

from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import echo, phase
from srm_ray.errors import LearnerLost
from srm_ray.runs import replayed
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from actors.grpo_run import Run
    from srm_ray.evaluation.accuracy import Evaluation
    from srm_ray.rl.state import State
    from srm_ray.rl.types import Group


async def train(run: "Run", state: "State") -> None:
    """The loop. Leaves `state` at the last step done; whatever ends it, weights that have moved are saved first.

    Raises `Starved` where nothing is to be learned from the problems, RunError for all that ends a run.
    """
    from actors import grpo_steps
    from srm_ray.rl import endings, step_metrics
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

    source = grpo_steps.source_of(run, state, grade, algorithm.choice)
    try:
        while not grpo_steps.is_over(run, state):
            collected = await workers.learner.unless_lost(source.take())  # samples and grades until there are enough
            if not config.replay:  # a record has the advantages that were trained on
                collected = collected.with_groups(algorithm.across_step(collected.groups))
            learned, metrics = None, step_metrics.of_groups(collected, state.version)
            if collected.groups:
                batch = grpo_steps.batch_of(config, state, collected)
                metrics |= grpo_steps.describe_batch(config, batch)
                with clock.part("learn"):
                    learned = await run.saver.finished(learn(batch, grpo_steps.learning_rate(config, state.step)))
            grpo_steps.advance(run, state, source, collected, learned)
            log.begin(state.step, collected, learned, metrics | grpo_steps.describe(run, state, source))
            if learned:
                with clock.part("sync"):
                    await publish(state.version)
                source.advance(state.version)
            last = grpo_steps.is_over(run, state)
            if run.evaluations.due(state.step, last=last):
                with clock.part("eval"):
                    log.add(await workers.learner.unless_lost(run.evaluations.after_step(state, last=last)))
            log.add(grpo_steps.describe(run, state, source))
            await log.write(endings.shortage(state.recent[-1], config.prompts_per_step))
            if state.step % config.checkpoint.every == 0 or last:
                state.source, state.seconds, state.difficulty = source.state(), clock.total, grpo_steps.rates_of(run)
                with clock.part("checkpoint"):
                    await save(state)
            if why := grpo_steps.is_starved(run, state):
                raise endings.Starved(why, collected.graded)
    except LearnerLost:
        raise  # what it had learned since the checkpoint died with it
    except BaseException:
        await log.write_begun()
        state.seconds = clock.total
        await run.saver.save_last(state)
        raise
    finally:
        await source.close()


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
    from actors.grpo_steps import is_over
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
        echo(other)
    numerics = run.workers.learner.numerics
    run.folder.record_event("started", step=state.step, **run.started, learner=numerics, algorithm=algorithm)
    run.stream.curriculum.restore(state.curriculum)
    if run.stream.difficulty is not None:
        run.stream.difficulty.restore(state.difficulty)
    if not is_over(run, state) and discard_product(run.folder):
        echo("final/ and summary.json of the shorter run are removed: they come anew at the end")
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
        from actors.reward import spec
        from srm_ray.data.inspection import inspect

        return inspect(config, config.inspect, trial=spec.trial(config.reward))
    config = algorithm.settled(config)
    if config.dry_run:
        from actors import grpo_plan

        return grpo_plan.show(config)
    folder = RunFolder(config.run_dir, stage="grpo")
    replayed.check(config.replay, folder, config.steps)
    folder.create()
    if config.resume == "never":
        folder.clear()
    output.log_to(folder.logs)
    config = folder.check_config(config)
    saving.check(folder)
    if complete := final.complete(folder, config.steps, solved_ends=config.stop.solved is not None):
        echo(complete)
        return 0
    with interrupts.advising(folder.how_to_go_on):
        return interrupts.run(run(config, folder))


async def run(config: GRPOConfig, folder: RunFolder) -> int:
    """Start the workers, train, and sum up."""
    from actors.grpo_run import opened
    from actors.grpo_steps import is_solved
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
