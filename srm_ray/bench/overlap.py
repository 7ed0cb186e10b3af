"""Whether rollouts and learner overlap: the real loop and learner, with scripted rollout workers of a set pace.

Scripted, because on two cores a real engine and the learner share them, and then nothing can overlap.
"""

import asyncio
import time
from dataclasses import replace
from typing import Any

from rewards.verdict import Reward
from srm_ray.bench.loop import median, prompt_ids
from srm_ray.config.grpo import GRPOConfig
from srm_ray.rl.advantages import with_advantages
from srm_ray.rl.sources import AsyncSource, Calls, Flight, KeepRate, SourceState, SyncSource
from srm_ray.rl.types import Group, Prompt, TrainBatch

STEPS, WARM_UP, LONGEST, WANT = 10, 3, 96, 40


async def grade(group: Group) -> Group:
    """Half right, half wrong, by the seed."""
    rights = [completion.seed % 2 == 1 for completion in group.completions]
    graded = replace(group, rewards=tuple(Reward(float(right), right, "scripted") for right in rights))
    return with_advantages(graded, normalise_std=True)


def prompt(index: int) -> Prompt:
    return Prompt(index, prompt_ids(index), "")


async def measure(config: GRPOConfig, model: str) -> dict[str, Any]:
    """Step time, the learner's and the rollouts' alone, and the learner's idle share, for k = 0, 1, 2.

    The pace is set so that sampling a batch takes four fifths of learning from it.
    """
    learning = await run(config, model, bound=0, seconds=0.02)
    pace = 0.8 * learning["learn"]
    results = {}
    for bound in (0, 1, 2):
        found = results[bound] = await run(config, model, bound=bound, seconds=pace)
        print(
            f"overlap   k={bound}  step {found['step']:.2f} s, learner {found['learn']:.2f} s, "
            f"rollouts alone {pace:.2f} s: step / larger of the two {found['step'] / max(found['learn'], pace):.2f}, "
            f"learner idle {found['idle']:.1%}  (scripted engine)",
            flush=True,
        )
    return {str(bound): found for bound, found in results.items()}


async def run(config: GRPOConfig, model: str, *, bound: int, seconds: float) -> dict[str, float]:
    """seconds: that the longest completion takes."""
    from actors.rollout.pool import OtherEngine
    from actors.rollout.scripted_engine import Script, ScriptedWorker
    from actors.worker_groups import WorkerGroups

    config = config.model_copy(
        update={
            "max_staleness": bound,
            "weights": config.weights.model_copy(update={"mismatch_limit": 1e9}),  # scripted log-probabilities
            "learner": config.learner.model_copy(update={"threads": 1}),
        }
    )
    script = Script(LONGEST / seconds, LONGEST, max_num_seqs=4096, max_model_len=160)
    engine = OtherEngine(script, ScriptedWorker)
    async with WorkerGroups(config, model, context=160, stop_token_ids=(2,), engine=engine) as workers:
        calls, keep_rate = Calls(prompt, workers.sample, grade), KeepRate(1.0)
        source: SyncSource | AsyncSource
        if bound:
            flight = Flight(bound, group_size=8, capacity=lambda: 4096)
            source = AsyncSource(
                SourceState(), calls, flight, version=0, want=WANT, limit=8 * WANT, keep_rate=keep_rate
            )
        else:
            source = SyncSource(SourceState(), calls, want=WANT, limit=8 * WANT, keep_rate=keep_rate)
        steps, waits, learns = [], [], []
        for step in range(STEPS):
            began = time.perf_counter()
            collected = await source.take()
            waited = time.perf_counter()
            await workers.learner.step(TrainBatch(collected.groups, step), 1e-6)
            learned = time.perf_counter()
            await workers.push_weights(step + 1)
            source.advance(step + 1)
            steps.append(time.perf_counter() - began)
            waits.append(waited - began)
            learns.append(learned - waited)
        await source.close()
    kept = slice(WARM_UP, None)
    idle = sum(steps[kept]) - sum(learns[kept])
    return {"step": median(steps[kept]), "learn": median(learns[kept]), "idle": idle / sum(steps[kept])}


def main(config: GRPOConfig, model: str) -> dict[str, Any]:
    return asyncio.run(measure(config, model))
