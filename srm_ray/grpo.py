"""GRPO with DAPO's improvements: sample groups, grade them, learn from those with signal, push the weights.

    prompts -> rollout workers (vLLM, G completions each) -> reward workers -> advantages
            -> groups with signal -> learner (DeepSpeed, DAPO loss) -> weights back to the rollout workers

`train` below is the algorithm. Machinery lives in actors/ (Ray, vLLM, DeepSpeed) and srm_ray/rl/ (the
mathematics). Deviations from DAPO (arXiv 2503.14476): the learning rate is constant after a linear
warm-up; completions whose grader could not decide are masked out.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import command
from srm_ray.report.page import write_report
from srm_ray.runs import checkpoints, rollout_log
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog, metric_name
from srm_ray.runs.progress import Progress, duration, say

if TYPE_CHECKING:
    from actors.crew import Crew
    from srm_ray.data.prompts import PromptStream
    from srm_ray.model.loading import ModelFacts
    from srm_ray.rl.accuracy import Evaluation
    from srm_ray.rl.collection import Collected
    from srm_ray.rl.types import Group, Prompt

SOURCES_SHOWN = 20


@dataclass
class State:
    """What the driver must remember to go on: saved with every checkpoint."""

    step: int = 0
    cursor: int = 0
    keep_rate: float = 0.7
    seconds: float = 0.0
    before: dict[str, Any] | None = field(default=None)
    curriculum: dict[str, Any] = field(default_factory=dict)


async def train(
    config: GRPOConfig,
    folder: RunFolder,
    crew: "Crew",
    stream: "PromptStream",
    held_out: "list[Prompt]",
    state: State,
    log: MetricsLog,
) -> None:
    """The loop. Leaves `state` at the last step done."""
    from srm_ray.rl.collection import KeepRate, collect
    from srm_ray.rl.types import TrainBatch

    keep_rate = KeepRate(state.keep_rate)
    progress = Progress(config.steps)
    while state.step < config.steps:
        began = time.perf_counter()
        collected = await collect(
            state.cursor,
            want=config.prompts_per_step,
            limit=int(config.max_refill * config.prompts_per_step),
            prompt=stream.__getitem__,
            sample=crew.sample,
            score=crew.rewards.score,
            keep_rate=keep_rate,
            normalise_std=config.loss.normalise_std,
        )
        learned = await crew.learner.step(TrainBatch(collected.groups, state.step), learning_rate(config, state.step))
        state.step += 1
        pushing = time.perf_counter()
        await crew.push_weights(state.step)
        pushed = time.perf_counter()
        metrics = {"step": state.step, **describe(collected), **learned, "weights/version": state.step}
        metrics |= {"time/sync": pushed - pushing, "time/step": pushed - began}
        metrics |= by_source(collected.judged) | stream.curriculum.describe()
        for source, level in stream.curriculum.observe(collected.judged, collected.cursor).items():
            say(f"  {source} goes up to level {level}")
        state.curriculum = stream.curriculum.to_plain()
        if config.eval.every and state.step % config.eval.every == 0 and state.step < config.steps:
            metrics |= await evaluate_now(crew, held_out, config)
        state.cursor, state.keep_rate = collected.cursor, keep_rate.value
        state.seconds += time.perf_counter() - began
        rollout_log.write(
            folder.rollouts, state.step, collected.judged, {group.prompt.index for group in collected.groups}
        )
        log.write(metrics)
        progress.step(metrics)
        if state.step % config.checkpoint.every == 0 or state.step == config.steps:
            await save(config, folder, crew, state, log)


def learning_rate(config: GRPOConfig, step: int) -> float:
    """Linear warm-up, then constant: independent of how many steps are still to come."""
    return config.learner.lr * min(1.0, (step + 1) / max(1, config.learner.warmup_steps))


def describe(collected: "Collected") -> dict[str, float]:
    """Metrics of the sampled groups, those without signal included."""
    rewards = [reward for group in collected.judged for reward in group.rewards]
    completions = [completion for group in collected.judged for completion in group.completions]
    tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        "reward/mean": sum(reward.value for reward in rewards) / len(rewards),
        "reward/accuracy": sum(reward.correct is True for reward in rewards) / len(rewards),
        "reward/undecided": sum(reward.correct is None for reward in rewards),
        "groups/kept": len(collected.groups),
        "groups/dropped_uniform": len(collected.judged) - len(collected.groups),
        "groups/dropped_stale": 0,
        "completion/length_mean": tokens / len(completions),
        "completion/truncated_fraction": sum(c.truncated for c in completions) / len(completions),
        "staleness/mean": 0.0,
        "staleness/max": 0,
        "time/rollout": collected.seconds_rollout,
        "time/reward": collected.seconds_reward,
        "throughput/rollout_tokens_per_s": tokens / collected.seconds_rollout,
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


async def evaluate(crew: "Crew", held_out: "list[Prompt]", samples: int) -> "Evaluation":
    """One greedy completion of every held-out problem, graded."""
    from srm_ray.rl.accuracy import summarise

    return summarise(await asyncio.gather(*(crew.answer(prompt) for prompt in held_out)), samples=samples)


async def evaluate_now(crew: "Crew", held_out: "list[Prompt]", config: GRPOConfig) -> dict[str, float]:
    began = time.perf_counter()
    accuracy = (await evaluate(crew, held_out, config.eval.samples)).accuracy
    say(f"  held-out greedy accuracy {accuracy}")
    return {
        "eval/accuracy": accuracy.value,
        "eval/accuracy_low": accuracy.low,
        "eval/accuracy_high": accuracy.high,
        "time/eval": time.perf_counter() - began,
    }


# Checkpoints


async def save(config: GRPOConfig, folder: RunFolder, crew: "Crew", state: State, log: MetricsLog) -> None:
    """Model, optimizer, random state and the driver's own state, committed as one."""
    log.flush()
    with checkpoints.writing(folder.checkpoints, state.step, keep=config.checkpoint.keep) as path:
        await crew.learner.save(path.absolute())
        (path / "driver.json").write_text(json.dumps(asdict(state)))


async def restore(folder: RunFolder, crew: "Crew", log: MetricsLog) -> State:
    """State of the newest complete checkpoint, loaded into the learner and pushed to the rollout workers."""
    found = checkpoints.newest(folder.checkpoints)
    step, path = found or (0, None)
    checkpoints.discard_partial(folder.checkpoints)
    rollout_log.discard_after(folder.rollouts, step)
    log.after(step)
    if path is None:
        return State()
    state = State(**json.loads((path / "driver.json").read_text()))
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
    from actors.warm_start import open_base
    from srm_ray.data.prompts import held_out_prompts, training_stream
    from srm_ray.model.loading import context_of

    began = time.time()
    facts = open_base(config.model, config.data, config.seed, say)
    context = context_of(facts, config.rollout)
    room = context - config.rollout.max_new_tokens
    stream = training_stream(
        config.data,
        facts.tokenizer,
        seed=config.seed,
        limit=room,
        graded=not config.reward.function,
        curriculum=config.curriculum,
    )
    stream.check()  # a prompt that does not fit is the user's to hear of now, not after the workers have started
    held_out = (
        held_out_prompts(config.data, facts.tokenizer, count=config.eval.problems, limit=room)
        if config.eval.problems
        else []
    )

    from actors import placement, reward
    from actors.crew import Crew, reward_spec

    reward.check(reward_spec(config))
    placement.connect()
    try:
        log = MetricsLog(folder.metrics, folder.tensorboard, ray_metrics=True, tags={"run": folder.path.name})
        say(
            f"starting {config.rollout.workers} rollout, {config.learner.workers} learner and "
            f"{config.reward.workers} reward worker(s); run folder {folder.path}"
        )
        async with Crew(config, facts.path, context=context, stop_token_ids=facts.stop_token_ids) as crew:
            say(f"workers ready after {duration(time.time() - began)}")
            folder.save_config(config)  # not before: what could not start does not bind the next command
            state = await restore(folder, crew, log)
            stream.curriculum.restore(state.curriculum)
            if state.before is None and held_out:
                state.before = summary_of(await evaluate(crew, held_out, config.eval.samples))
                say(f"held-out greedy accuracy before GRPO: {show(state.before)}")
            await train(config, folder, crew, stream, held_out, state, log)
            after = await evaluate(crew, held_out, config.eval.samples) if held_out else None
            await export(config, folder, crew, facts, state)
    finally:
        placement.disconnect()
    log.close()
    finish(config, folder, state, after, time.time() - began)
    return 0


async def export(config: GRPOConfig, folder: RunFolder, crew: "Crew", facts: "ModelFacts", state: State) -> None:
    """`final/`: a Hugging Face folder that any later stage takes as its model."""
    from srm_ray.runs.lineage import write_lineage

    folder.final.mkdir(exist_ok=True)
    await crew.learner.export(folder.final.absolute())
    facts.tokenizer.save_pretrained(folder.final)
    (folder.final / "generation_config.json").write_text(json.dumps({"eos_token_id": list(facts.stop_token_ids)}))
    write_lineage(folder.final, stage="grpo", parent=facts.path, config=config, steps=state.step)


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
            "checkpoint": str(newest[1]) if newest else None,
            "final": str(folder.final),
            "restarts": folder.count_events("continued"),
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
    say(f"\n{state.step} steps in {duration(seconds)}; run folder {folder.path}, model {folder.final}")
    say(f"report {write_report(folder)}")


def show_sources(before: dict[str, Any], after: dict[str, Any]) -> None:
    """A line for each source of held-out problems, where there are several."""
    if not 2 <= len(after) <= SOURCES_SHOWN:
        return
    width = max(map(len, after))
    say(f"\n{'source':<{width}}   before GRPO (95 %)               after GRPO (95 %)                gain")
    for source, share in after.items():
        earlier = before.get(source)
        gain = f"{100 * (share['value'] - earlier['value']):+.1f}" if earlier else ""
        apart = " *" if earlier and share["low"] > earlier["high"] else ""
        was = show({"accuracy": earlier}) if earlier else "-"
        say(f"{source:<{width}}   {was:<32} {show({'accuracy': share}):<32} {gain}{apart}")
    say("* intervals do not touch")


def show_sample(group: Any) -> None:
    completion, reward = group.completions[0], group.rewards[0]
    say(f"\n--- {group.prompt.source} problem, gold answer {group.prompt.answer}")
    say(group.prompt.text + completion.text)
    say(f"--- graded: {reward.reason}, reward {reward.value:g}")


if __name__ == "__main__":
    sys.exit(main())
