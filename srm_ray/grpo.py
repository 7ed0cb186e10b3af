"""GRPO with DAPO's improvements: sample groups, grade them, learn from those with signal, push the weights.

    prompts -> rollout workers (vLLM, G completions each) -> reward workers -> advantages
            -> groups with signal -> learner (DeepSpeed, DAPO loss) -> weights back to the rollout workers

`train` below is the algorithm. Machinery lives in actors/ (Ray, vLLM, DeepSpeed) and srm_ray/rl/ (the
mathematics). Deviations from DAPO (arXiv 2503.14476): the learning rate is constant after a linear
warm-up; completions whose grader could not decide are masked out.
"""

import asyncio
import json
import pickle
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.config.base import to_plain
from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig, bounds
from srm_ray.console.progress import Progress, duration, say
from srm_ray.console.text_table import aligned
from srm_ray.errors import LearnerLost, UserError, command
from srm_ray.process import memory
from srm_ray.report.page import write_report
from srm_ray.runs import checkpoints, rollout_log
from srm_ray.runs.folder import RunFolder, find_run
from srm_ray.runs.metrics import MetricsLog, metric_name
from srm_ray.runs.trackers import open_trackers
from srm_ray.runs.watch import Watch

if TYPE_CHECKING:
    from actors.worker_groups import Crew
    from srm_ray.data.prompts import PromptStream
    from srm_ray.evaluation.accuracy import Evaluation
    from srm_ray.evaluation.grading import Graders
    from srm_ray.evaluation.in_training import InTraining
    from srm_ray.evaluation.suites import Item
    from srm_ray.model.loading import ModelFacts
    from srm_ray.rl.collection import Collected, InOrder, Queue
    from srm_ray.rl.recorded import Recorded
    from srm_ray.rl.streaming import Stream
    from srm_ray.rl.types import Group, Prompt

BEST = "best"  # folder in the run folder with the weights that eval.suite found best, in a folder named for their step
SOURCES_SHOWN = 20


@dataclass
class State:
    """What the driver must remember to go on: saved with every checkpoint."""

    step: int = 0
    keep_rate: float = 0.7
    seconds: float = 0.0
    before: dict[str, Any] | None = field(default=None)
    suites: dict[str, Any] = field(default_factory=dict)
    curriculum: dict[str, Any] = field(default_factory=dict)
    queue: "Queue | None" = field(default=None)


async def train(
    config: GRPOConfig,
    folder: RunFolder,
    crew: "Crew",
    stream: "PromptStream",
    held_out: "list[Prompt]",
    state: State,
    log: MetricsLog,
    watch: Watch,
    suites: "InTraining | None" = None,
) -> None:
    """The loop. Leaves `state` at the last step done."""
    from srm_ray.rl.types import TrainBatch

    source = groups_of(config, crew, stream, state, watch)
    progress = Progress(config.steps)
    learn, push = watch.calls("learner", crew.learn), watch.calls("weight push", crew.push_weights)
    try:
        while state.step < config.steps:
            began = time.perf_counter()
            collected = await crew.learner.unless_lost(source.take())
            batch = TrainBatch(collected.groups, state.step)
            learned = await learn(batch, learning_rate(config, state.step))
            state.step += 1
            pushing = time.perf_counter()
            await push(state.step)
            source.advance(state.step)
            pushed = time.perf_counter()
            metrics = {"step": state.step, **describe(collected, batch.version), **learned.metrics, **source.describe()}
            metrics |= {"weights/version": state.step, **crew.describe()}
            metrics |= {"time/sync": pushed - pushing, "time/step": pushed - began}
            metrics |= by_source(collected.judged) | stream.curriculum.describe()
            for name, level in stream.curriculum.observe(collected.judged, source.queue().cursor).items():
                say(f"  {name} goes up to level {level}")
            state.curriculum = stream.curriculum.to_plain()
            metrics |= await measure(config, state, crew, held_out, suites, watch)
            metrics |= watch.judge(metrics)
            state.queue, state.keep_rate = source.queue(), source.keep_rate.value
            state.seconds += time.perf_counter() - began
            rollout_log.write(
                folder.rollouts,
                state.step,
                (*collected.judged, *collected.stale),
                collected.kept,
                learner=zip(collected.groups, learned.logprobs, strict=True),
            )
            log.write(metrics)
            progress.step(metrics)
            watch.tell()
            memory.give_back(state.step)
            if state.step % config.checkpoint.every == 0 or state.step == config.steps:
                await watch.calls("checkpoint", save)(config, folder, crew, state, log)
    finally:
        await source.close()


def groups_of(
    config: GRPOConfig, crew: "Crew", stream: "PromptStream", state: State, watch: Watch
) -> "InOrder | Stream | Recorded":
    """Where the groups come from: sampled step by step, all the time (`max_staleness` above 0), or a record."""
    from srm_ray.rl.collection import InOrder, KeepRate, Queue
    from srm_ray.rl.recorded import Recorded
    from srm_ray.rl.streaming import Stream

    if config.replay:
        read = partial(rollout_log.read_all, record_of(config))
        return Recorded(read, step=state.step, keep_rate=KeepRate(state.keep_rate))
    queue = state.queue or Queue()
    options: dict[str, Any] = {
        "want": config.prompts_per_step,
        "limit": int(config.max_refill * config.prompts_per_step),
        "prompt": stream.__getitem__,
        "sample": watch.calls("rollout", crew.sample),
        "score": watch.calls("reward", crew.rewards.score),
        "keep_rate": KeepRate(state.keep_rate),
        "normalise_std": config.loss.normalise_std,
    }
    if not config.max_staleness:
        return InOrder(queue, **options)
    return Stream(
        queue,
        version=state.step,
        max_staleness=config.max_staleness,
        group_size=config.rollout.group_size,
        capacity=lambda: crew.rollouts.capacity,
        **options,
    )


def record_of(config: GRPOConfig) -> Path:
    """The folder with the groups of the run to replay. Raises `UserError` where it lacks some of the steps."""
    if not config.replay:
        return Path()
    folder = find_run(config.replay, option="--replay").rollouts
    for step in range(1, config.steps + 1):
        if not rollout_log.path_of(folder, step).is_file():
            raise UserError(
                f"--replay {config.replay}: {folder} lacks the groups of step {step} of {config.steps}; "
                "give --steps of as many as it has"
            )
    return folder


def learning_rate(config: GRPOConfig, step: int) -> float:
    """Linear warm-up, then constant: independent of how many steps are still to come."""
    return config.learner.lr * min(1.0, (step + 1) / max(1, config.learner.warmup_steps))


def describe(collected: "Collected", version: int) -> dict[str, float]:
    """Metrics of the sampled groups, those without signal included. version: the learner's, for staleness."""
    staleness = [version - group.oldest_version for group in collected.groups]
    rewards = [reward for group in collected.judged for reward in group.rewards]
    completions = [completion for group in collected.judged for completion in group.completions]
    tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        "reward/mean": sum(reward.value for reward in rewards) / len(rewards),
        "reward/accuracy": sum(reward.correct is True for reward in rewards) / len(rewards),
        "reward/undecided": sum(reward.correct is None for reward in rewards),
        "groups/kept": len(collected.groups),
        "groups/dropped_uniform": len(collected.judged) - len(collected.groups),
        "groups/dropped_stale": len(collected.stale),
        "completion/length_mean": tokens / len(completions),
        "completion/truncated_fraction": sum(c.truncated for c in completions) / len(completions),
        "staleness/mean": sum(staleness) / len(staleness),
        "staleness/max": max(staleness),
        "time/rollout": collected.seconds_rollout,
        "time/reward": collected.seconds_reward,
        "throughput/rollout_tokens_per_s": tokens / max(1e-9, collected.seconds_sampling),
    }


def by_source(groups: "Sequence[Group]") -> dict[str, float]:
    """`reward/accuracy/<source>` of each, where there are several, and few enough to look at."""
    grades: dict[str, list[bool]] = {}
    for group in groups:
        name = metric_name(group.prompt.source)
        grades.setdefault(name, []).extend(reward.correct is True for reward in group.rewards)
    if not 2 <= len(grades) <= SOURCES_SHOWN:
        return {}
    return {f"reward/accuracy/{source}": sum(right) / len(right) for source, right in sorted(grades.items())}


# Evaluation


async def evaluate(
    crew: "Crew", held_out: "list[Prompt]", samples: int, answer: "Callable[[Prompt], Awaitable[Group]] | None" = None
) -> "Evaluation":
    """One greedy completion of every held-out problem, graded."""
    from srm_ray.evaluation.accuracy import summarise

    answer = answer or crew.answer

    async def all_of_them() -> "list[Group]":
        return list(await asyncio.gather(*(answer(prompt) for prompt in held_out)))

    return summarise(await crew.learner.unless_lost(all_of_them()), samples=samples)


async def measure(
    config: GRPOConfig, state: State, crew: "Crew", held_out: "list[Prompt]", suites: "InTraining | None", watch: Watch
) -> dict[str, float]:
    """Metrics of a step after which something is measured: every `eval.every` steps, and after the last one the
    suites, which decide on `final/` (held-out accuracy after the run is the summary's)."""
    found: dict[str, float] = {}
    began = time.perf_counter()
    last, due = state.step == config.steps, config.eval.every and state.step % config.eval.every == 0
    if held_out and due and not last:
        found |= await evaluate_now(crew, held_out, config, watch, state.step)
    if suites and (due or last):
        found |= await watch.calls("evaluation", suites.look)(state.step, state.suites)
    return found | ({"time/eval": time.perf_counter() - began} if found else {})


async def evaluate_now(
    crew: "Crew", held_out: "list[Prompt]", config: GRPOConfig, watch: Watch, step: int
) -> dict[str, float]:
    answer = watch.calls("evaluation", crew.answer)
    accuracy = (await evaluate(crew, held_out, config.eval.samples, answer)).accuracy
    say(f"  after step {step}: held-out greedy accuracy {accuracy}")
    return {
        "eval/accuracy": accuracy.value,
        "eval/accuracy_low": accuracy.low,
        "eval/accuracy_high": accuracy.high,
    }


# Checkpoints


async def save(config: GRPOConfig, folder: RunFolder, crew: "Crew", state: State, log: MetricsLog) -> None:
    """Model, optimizer, random state and the driver's own state, committed as one."""
    log.flush()
    with checkpoints.writing(folder.checkpoints, state.step, keep=config.checkpoint.keep) as path:
        await crew.learner.save(path.absolute())
        (path / "driver.json").write_text(json.dumps(asdict(replace(state, queue=None))))
        (path / "queue.pickle").write_bytes(pickle.dumps(state.queue))
    best = state.suites.get("best")
    for other in (folder.path / BEST).glob("*"):  # of no checkpoint that this run could go on from
        if not best or other.name != best_name(best["step"]):
            shutil.rmtree(other, ignore_errors=True)


async def restore(folder: RunFolder, crew: "Crew", log: MetricsLog) -> State:
    """State of the newest complete checkpoint, loaded into the learner and pushed to the rollout workers."""
    found = checkpoints.newest(folder.checkpoints)
    step, path = found or (0, None)
    checkpoints.discard_partial(folder.checkpoints)
    rollout_log.discard_after(folder.rollouts, step)
    log.after(step)
    if path is None:
        if crew.learner.budget.total:
            await crew.push_weights(0)  # the workers hold what a learner that died had taught them
        return State()
    state = State(**json.loads((path / "driver.json").read_text()))
    state.queue = pickle.loads((path / "queue.pickle").read_bytes())
    folder.record_event("continued", step=step)
    say(f"continuing from {path}")
    await crew.learner.load(path.absolute())
    await crew.push_weights(state.step)
    return state


# The command


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(GRPOConfig, arguments, stage="grpo", default="grpo/tiny", about=__doc__)
    folder = RunFolder(config.run_dir, stage="grpo")
    if config.replay and find_run(config.replay, option="--replay").path.resolve() == folder.path.resolve():
        raise UserError(f"--replay {config.replay}: a run cannot replay itself, give another --run_dir")
    record_of(config)
    folder.create()
    if config.resume == "never":
        folder.clear()
    folder.check_config(config)
    done = folder.read_summary()
    if done and done["steps"] >= config.steps:
        say(
            f"{folder.path} is complete ({done['steps']} steps); --resume never starts it over, "
            "--run_dir starts another"
        )
        return 0
    return asyncio.run(run(config, folder))


async def run(config: GRPOConfig, folder: RunFolder) -> int:
    """Check model and data, start the workers, train, and sum up."""
    from actors.train.warm_start import open_base
    from srm_ray.data.prompts import held_out_prompts, training_stream
    from srm_ray.model.loading import settle_lengths

    began = time.time()
    facts = open_base(config.model, config.data, config.seed, say)
    config, lengths = settle_lengths(config, facts)
    folder.check_config(config)
    stream = training_stream(
        config.data,
        facts.tokenizer,
        seed=config.seed,
        limit=lengths.prompt,
        limited_by=lengths.why,
        graded=not config.reward.function,
        curriculum=config.curriculum,
    )
    stream.check()  # a prompt that does not fit is the user's to hear of now, not after the workers have started
    held_out = (
        held_out_prompts(
            config.data, facts.tokenizer, count=config.eval.problems, limit=lengths.prompt, limited_by=lengths.why
        )
        if config.eval.problems
        else []
    )

    from actors.reward import worker
    from actors.runtime import cluster, control
    from actors.worker_groups import Crew, reward_spec

    worker.check(reward_spec(config))
    problems = load_suites(config)
    graders = make_graders(config)
    trackers = open_trackers(config.log, folder, to_plain(config))
    log = MetricsLog(
        folder.metrics, folder.tensorboard, ray_metrics=True, tags={"run": folder.path.name}, trackers=trackers
    )
    cluster.connect()
    try:
        say(
            f"starting {bounds(config.rollout.workers)[0]} rollout, {config.learner.workers} learner and "
            f"{bounds(config.reward.workers)[0]} reward worker(s); run folder {folder.path}"
        )
        steering = control.open_control(folder.path)

        def events(event: str, **known: Any) -> None:
            tell(folder, event, step=log.step + 1, **known)

        async with Crew(
            config,
            facts.path,
            context=lengths.context,
            stop_token_ids=facts.stop_token_ids,
            events=events,
        ) as crew:
            say(f"workers ready after {duration(time.time() - began)}")
            folder.save_config(config)  # not before: what could not start does not bind the next command
            suites = (
                suites_in_training(config, folder, crew, facts, lengths.context, problems, graders)
                if problems
                else None
            )
            async with (
                control.followed(steering, crew.scale, crew.staff, events),
                Watch(config.alarms, folder, log, group_size=config.rollout.group_size) as watch,
            ):
                state, after = await train_to_the_end(config, folder, facts, crew, stream, held_out, log, watch, suites)
    finally:
        graders.close()
        log.close()
        cluster.disconnect()
    finish(config, folder, state, after, time.time() - began)
    return 0


async def train_to_the_end(
    config: GRPOConfig,
    folder: RunFolder,
    facts: "ModelFacts",
    crew: "Crew",
    stream: "PromptStream",
    held_out: "list[Prompt]",
    log: MetricsLog,
    watch: Watch,
    suites: "InTraining | None",
) -> "tuple[State, Evaluation | None]":
    """Train, evaluate, export; when the learner dies, go on from the newest checkpoint with a new one."""
    from actors.runtime import cluster

    before: dict[str, Any] | None = None
    while True:
        try:
            state = await restore(folder, crew, log)
            folder.record_event(
                "started",
                step=state.step,
                model=lasting(facts.path),
                learner=crew.learner.numerics,
                cluster=cluster.address(),
            )
            stream.curriculum.restore(state.curriculum)
            state.before = state.before or before
            if state.before is None and held_out:
                state.before = summary_of(await evaluate(crew, held_out, config.eval.samples))
                say(f"held-out greedy accuracy before GRPO: {show(state.before)}")
            before = state.before
            if suites:
                await suites.start(state.suites)
            await train(config, folder, crew, stream, held_out, state, log, watch, suites)
            after = await evaluate(crew, held_out, config.eval.samples) if held_out else None
            await export(config, folder, crew, facts, state)
            return state, after
        except LearnerLost as lost:
            await crew.restart_learner(lost)


def tell(folder: RunFolder, event: str, **facts: Any) -> None:
    """What happens to the workers, into events.jsonl and onto the terminal."""
    folder.record_event(event, **facts)
    shown = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts.items()
    )
    say(f"  {event}: {shown}")


def lasting(model: str) -> str:
    """The model by a name that holds in any working directory: a hub name, or an absolute path."""
    return str(Path(model).absolute()) if Path(model).exists() else model


async def export(config: GRPOConfig, folder: RunFolder, crew: "Crew", facts: "ModelFacts", state: State) -> None:
    """`final/`: a Hugging Face folder that any later stage takes as its model. The best checkpoint, where suites
    were measured and one was kept, else the last step's."""
    if best := state.suites.get("best"):
        shutil.copytree(folder.path / BEST / best_name(best["step"]), folder.final, dirs_exist_ok=True)
        return
    await export_to(folder.final, config, crew, facts, state.step)


def best_name(step: int) -> str:
    return f"step_{step:06d}"


async def export_to(path: Path, config: GRPOConfig, crew: "Crew", facts: "ModelFacts", step: int) -> None:
    from srm_ray.model.lineage import write_lineage

    path.mkdir(exist_ok=True)
    await crew.learner.export(path.absolute())
    facts.tokenizer.save_pretrained(path)
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": list(facts.stop_token_ids)}))
    write_lineage(path, stage="grpo", parent=config.model or facts.path, config=config, steps=step)


# Suites measured in training


def load_suites(config: GRPOConfig) -> "dict[str, list[Item]]":
    from srm_ray.evaluation.in_training import load

    return load(config.eval.suite, config.eval.suite_path, config.eval.suite_limit)


def make_graders(config: GRPOConfig) -> "Graders":
    from srm_ray.evaluation.grading import Graders

    options = config.reward
    return Graders(processes=options.processes, timeout=options.timeout, allow_unsafe=options.allow_unsafe)


def suites_in_training(
    config: GRPOConfig,
    folder: RunFolder,
    crew: "Crew",
    facts: "ModelFacts",
    context: int,
    problems: "dict[str, list[Item]]",
    graders: "Graders",
) -> "InTraining":
    from actors.rollout.scoring import PoolSpeaker
    from srm_ray.config.evaluate import PromptConfig
    from srm_ray.evaluation.in_training import InTraining

    async def ready() -> Any:
        return crew.rollouts

    async def keep(step: int) -> None:
        made, partial_folder = folder.path / BEST / best_name(step), folder.path / BEST / ".partial"
        for old in (made, partial_folder):  # as a killed run left them
            shutil.rmtree(old, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        await export_to(partial_folder, config, crew, facts, step)
        partial_folder.rename(made)

    return InTraining(
        problems,
        PoolSpeaker(ready, facts.tokenizer, context),
        keep,
        guard=config.eval.guard,
        seed=config.seed,
        max_new_tokens=config.rollout.max_new_tokens,
        instruction=PromptConfig().instruction,
        system=config.data.system,
        graders=graders,
    )


def summary_of(evaluation: "Evaluation") -> dict[str, Any]:
    return {
        "accuracy": evaluation.accuracy.to_plain(),
        "thinks": evaluation.thinks.to_plain(),
        "thinking_characters": evaluation.thinking_length,
        "tokens": evaluation.length,
        "truncated": evaluation.truncated,
        "by_source": {source: share.to_plain() for source, share in evaluation.by_source.items()},
    }


def show(summary: dict[str, Any]) -> str:
    a = summary["accuracy"]
    return f"{a['value']:.1%} [{a['low']:.1%}, {a['high']:.1%}] of {a['n']}"


def finish(
    config: GRPOConfig, folder: RunFolder, state: State, evaluation: "Evaluation | None", seconds: float
) -> None:
    """summary.json, and what was learned, in words and numbers."""
    from srm_ray.evaluation import in_training

    newest = checkpoints.newest(folder.checkpoints)
    before, after = state.before, summary_of(evaluation) if evaluation else None
    folder.write_summary(
        {
            "steps": state.step,
            "wall_seconds": seconds,
            "train_seconds": state.seconds,
            "accuracy_before": before["accuracy"] if before else None,
            "accuracy_after": after["accuracy"] if after else None,
            "before": before,
            "after": after,
            "suites": state.suites or None,
            "final_step": in_training.final_step(state.suites, state.step),
            "checkpoint": str(newest[1]) if newest else None,
            "final": str(folder.final),
            "restarts": folder.count_events("continued") + folder.count_events("restarted"),
        }
    )
    say("")
    if before and after and evaluation:
        say(f"held-out greedy accuracy   before GRPO {show(before)}   after {show(after)}")
        gain = after["accuracy"]["value"] - before["accuracy"]["value"]
        apart = after["accuracy"]["low"] > before["accuracy"]["high"]
        say(
            f"gain                       {100 * gain:+.1f} points, "
            f"95 % intervals {'do not touch' if apart else 'touch'}"
        )
        say(f"completions that think     before {before['thinks']['value']:.1%}   after {after['thinks']['value']:.1%}")
        say(
            f"mean length of thinking    before {before['thinking_characters']:.1f}   "
            f"after {after['thinking_characters']:.1f} characters"
        )
        show_sources(before.get("by_source", {}), after["by_source"])
        for group in evaluation.samples:
            show_sample(group)
    for line in in_training.summary(state.suites, state.step, measured_after=bool(after)):
        say(line)
    say(f"\n{state.step} steps in {duration(seconds)}; run folder {folder.path}, model {folder.final}")
    say(f"report {write_report(folder)}")


def show_sources(before: dict[str, Any], after: dict[str, Any]) -> None:
    """A line for each source of held-out problems, where there are several."""
    if not 2 <= len(after) <= SOURCES_SHOWN:
        return
    rows = [["source", "before GRPO (95 %)", "after GRPO (95 %)", "gain", ""]]
    for source, share in after.items():
        earlier = before.get(source)
        gain = f"{100 * (share['value'] - earlier['value']):+.1f}" if earlier else ""
        apart = "*" if earlier and share["low"] > earlier["high"] else ""
        rows.append([source, show({"accuracy": earlier}) if earlier else "-", show({"accuracy": share}), gain, apart])
    say("")
    say("\n".join(aligned(rows)))
    say("* intervals do not touch")


def show_sample(group: Any) -> None:
    completion, reward = group.completions[0], group.rewards[0]
    say(f"\n--- {group.prompt.source} problem, gold answer {group.prompt.answer}")
    say(group.prompt.text + completion.text)
    say(f"--- graded: {reward.reason}, reward {reward.value:g}")


if __name__ == "__main__":
    sys.exit(main())
