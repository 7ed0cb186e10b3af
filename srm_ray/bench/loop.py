"""Benchmarks of the loop's parts, each beside the bare library in the same run.

Lengths follow a long tail, as reasoning does: most completions are short, some run to the limit.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from rewards.verdict import Reward
from srm_ray.config.command_line import build, config_file, read_yaml
from srm_ray.config.grpo import GRPOConfig
from srm_ray.model.precision import torch_dtype
from srm_ray.rl.types import Completion, Group, Prompt, TrainBatch

if TYPE_CHECKING:
    from actors.worker_groups import WorkerGroups

GROUPS, GROUP_SIZE, LIMIT, ROUNDS = 64, 8, 96, 7


def long_tail(count: int, *, median: int, limit: int, seed: int = 0) -> list[int]:
    """Log-normal lengths in tokens, cut at `limit`: about one in twelve reaches four times the median."""
    draw = random.Random(f"lengths/{seed}")
    return [max(2, min(limit, round(draw.lognormvariate(0, 0.9) * median))) for _ in range(count)]


def measure(parts: list[str], model: str, rollout_options: dict[str, Any], precision: str = "") -> dict[str, Any]:
    """Run the named parts ("rollout", "learner", "push", "step") and print each as it is done.

    rollout_options: options of the rollout workers in place of the recipe's; precision: the learner's. Empty ones do
    not count.
    """
    from actors.runtime import cluster, compute
    from actors.train.warm_start import make_base_model
    from actors.worker_groups import WorkerGroups
    from srm_ray.files.roots import cache_root
    from srm_ray.model.loading import open_model

    recipe = read_yaml(config_file("grpo/tiny"))
    recipe["rollout"].update({name: value for name, value in rollout_options.items() if value})
    recipe["learner"].update({"precision": precision} if precision else {})
    config = build(GRPOConfig, {**recipe, "model": model})
    cluster.connect()
    config = compute.settle_learner(config)
    if not model:
        model = str(make_base_model(cache_root() / "tiny-base", seed=config.seed, precision=config.learner.precision))
    info = open_model(model)
    config = compute.settle_run(config, info.path)

    async def run() -> dict[str, Any]:
        results: dict[str, Any] = {}
        async with WorkerGroups(config, info.path, context=160, stop_token_ids=info.stop_token_ids) as workers:
            if "rollout" in parts:
                results["rollout"] = await rollout(workers, info.path)
            if "learner" in parts:
                results["learner"] = await learner(workers, config, info.path)
            if "push" in parts:
                results["push"] = await push(workers)
        return results

    try:
        results = asyncio.run(run()) if set(parts) - {"step", "overlap"} else {}
        if "overlap" in parts:
            from srm_ray.bench import overlap

            results["overlap"] = overlap.main(config, info.path)
    finally:
        cluster.disconnect()
    if "step" in parts:
        results["step"] = step(info.path)
    return {**results, "compute": {"learner": config.learner.precision, "engines": config.rollout.dtype}}


def prompt_ids(index: int) -> tuple[int, ...]:
    draw = random.Random(f"prompt/{index}")
    return tuple(draw.randrange(20, 300) for _ in range(24))


# Rollout


async def rollout(workers: "WorkerGroups", model: str) -> dict[str, Any]:
    """Rounds of the two take turns, so that what else the machine does meets both; the other one waits idle."""
    from dataclasses import asdict

    from actors.rollout.bare_engine import RATE, READY
    from actors.rollout.engine_spec import cores_each
    from actors.runtime.env import WAITING

    lengths = long_tail(GROUPS, median=LIMIT // 4, limit=LIMIT)
    ours, bare = [], []
    with tempfile.NamedTemporaryFile("w", suffix=".json") as job:
        prompts = [prompt_ids(index) for index in range(GROUPS)]
        spec = asdict(workers.rollouts.spec) | {"threads": cores_each(1)}
        json.dump({"spec": spec, "prompts": prompts, "lengths": lengths, "group_size": GROUP_SIZE}, job)
        job.flush()
        with subprocess.Popen(
            [sys.executable, "-m", "actors.rollout.bare_engine", job.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # It has the machine to itself: its threads wait as they do by default.
            env={name: value for name, value in os.environ.items() if name not in WAITING},
        ) as process:
            assert process.stdin
            answer_of(process, READY)
            for round_ in range(ROUNDS):
                ours.append(await rollout_round(workers, lengths, round_))
                print(round_, file=process.stdin, flush=True)
                bare.append(float(answer_of(process, RATE)))
            process.stdin.close()
    # The first round warms both up.
    result = {"tokens_per_s": median(ours[1:]), "bare_tokens_per_s": median(bare[1:])}
    ratios = sorted(mine / other for mine, other in zip(ours[1:], bare[1:], strict=True))
    result["ratio"] = median(ratios)
    engines = len(workers.rollouts.members)
    print(
        f"rollout   {result['tokens_per_s']:,.0f} tokens/s, engines: {engines}, bare vLLM "
        f"{result['bare_tokens_per_s']:,.0f}: {result['ratio']:.2f}, "
        f"median of {len(ratios)} pairs of rounds, {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )
    return {**result, "engines": engines, "rounds": ours, "bare_rounds": bare}


def answer_of(process: "subprocess.Popen[str]", beginning: str) -> str:
    """What follows `beginning` in the process's next line that starts so."""
    assert process.stdout is not None, "its output is a pipe"
    for line in process.stdout:
        if line.startswith(beginning):
            return line[len(beginning) :]
    raise RuntimeError("bare vLLM ended")


async def rollout_round(workers: "WorkerGroups", lengths: list[int], round_: int) -> float:
    """Tokens/s of one completion of each length for each prompt and sample, by way of the rollout pool."""
    from srm_ray.inference.completers import Sampling

    began = time.perf_counter()
    groups = await asyncio.gather(
        *(
            workers.rollouts.generate(
                prompt_ids(index),
                tuple(1000 * round_ + 8 * index + sample for sample in range(GROUP_SIZE)),
                Sampling(1.0, length, ignore_stop=True),
            )
            for index, length in enumerate(lengths)
        )
    )
    tokens = sum(len(completion.token_ids) for group in groups for completion in group)
    return tokens / (time.perf_counter() - began)


# Learner


def long_tailed_batch(groups: int) -> TrainBatch:
    """Groups as they come from a rollout: a prompt of 24 tokens, 8 completions of differing length."""
    draw = np.random.default_rng(0)
    lengths = long_tail(groups * GROUP_SIZE, median=LIMIT // 4, limit=LIMIT)
    made = []
    for index in range(groups):
        completions = tuple(
            Completion(
                token_ids=draw.integers(20, 300, length).astype(np.int32),
                logprobs=np.full(length, -5.0, np.float32),
                versions=np.zeros(length, np.int32),
                finish_reason="stop",
                seed=0,
                text="",
                worker="bench",
            )
            for length in lengths[index * GROUP_SIZE : (index + 1) * GROUP_SIZE]
        )
        rewards = tuple(Reward(float(i % 2), i % 2 == 1, "bench") for i in range(GROUP_SIZE))
        advantages = np.asarray([1.0, -1.0] * (GROUP_SIZE // 2), np.float32)
        made.append(Group(Prompt(index, prompt_ids(index), ""), completions, 0, rewards, advantages))
    return TrainBatch(tuple(made), 0)


async def learner(workers: "WorkerGroups", config: GRPOConfig, model: str) -> dict[str, Any]:
    """The whole optimizer step on both sides: packing, forward, backward, clipping, AdamW."""
    batch = long_tailed_batch(GROUPS)
    tokens = sum(len(completion.token_ids) for completion in batch.completions)
    bare = BareLearner(model, config)
    workers.learner.mismatch_limit = float("inf")  # made-up log-probabilities
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await workers.learner.step(batch, 1e-6)
        ours.append(tokens / (time.perf_counter() - began))
        began = time.perf_counter()
        bare.step(batch)
        theirs.append(tokens / (time.perf_counter() - began))
    result = {"tokens_per_s": median(ours[1:]), "bare_tokens_per_s": median(theirs[1:])}
    result["ratio"] = result["tokens_per_s"] / result["bare_tokens_per_s"]
    print(
        f"learner   {result['tokens_per_s']:,.0f} completion tokens/s, bare PyTorch "
        f"{result['bare_tokens_per_s']:,.0f}: {result['ratio']:.2f}"
    )
    return result


class BareLearner:
    """What one would write by hand: equal lengths side by side, so that nothing is padded."""

    def __init__(self, model: str, config: GRPOConfig):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6)
        self.budget = config.learner.micro_batch_tokens
        self.autocast = torch_dtype(config.learner.precision)

    def step(self, batch: TrainBatch) -> None:
        import torch

        rows: dict[tuple[int, int], list[tuple[tuple[int, ...], np.ndarray, float]]] = {}
        total = 0
        for group in batch.groups:
            assert group.advantages is not None
            for completion, advantage in zip(group.completions, group.advantages, strict=True):
                key = (len(group.prompt.token_ids), len(completion.token_ids))
                rows.setdefault(key, []).append((group.prompt.token_ids, completion.token_ids, float(advantage)))
                total += len(completion.token_ids)
        for (start, length), members in sorted(rows.items()):
            at_once = max(1, self.budget // (start + length))
            for first in range(0, len(members), at_once):
                self._backward(members[first : first + at_once], start, total)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _backward(self, members: list[Any], start: int, total: int) -> None:
        import torch

        ids = torch.tensor(np.stack([np.concatenate([prompt, own]) for prompt, own, _ in members]), dtype=torch.long)
        advantages = torch.tensor([advantage for _, _, advantage in members])
        with torch.autocast("cpu", dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            logits = self.model(input_ids=ids, use_cache=False).logits[:, start - 1 : -1]
        logprobs = logits.float().log_softmax(-1).gather(2, ids[:, start:, None])[..., 0]
        ratio = (logprobs - logprobs.detach()).exp()
        clipped = ratio.clamp(0.8, 1.28)
        loss = -torch.minimum(ratio * advantages[:, None], clipped * advantages[:, None]).sum() / total
        loss.backward()


# Weight push


async def push(workers: "WorkerGroups") -> dict[str, Any]:
    """Publish and load on an idle worker, beside copying the same bytes once and beside two calls that do nothing.

    The copy is numpy's, one thread, between two arrays that are in memory already. The first two pushes are left
    out: the first goes through vLLM's loader, and each maps one of the two buffers.
    """
    pushes, publishes, copies, calls = [], [], [], []
    for version in range(1, 3 * ROUNDS):
        began = time.perf_counter()
        update = await workers.learner.publish(version)
        published = time.perf_counter()
        await workers.rollouts.push(update)
        pushes.append(time.perf_counter() - began)
        publishes.append(published - began)
        if version == 1:
            source = np.ones(sum(spec.nbytes for spec in update.specs), np.uint8)
            target = source.copy()
        began = time.perf_counter()
        target[:] = source
        copies.append(time.perf_counter() - began)
        began = time.perf_counter()
        await workers.learner.ping()
        await workers.rollouts.ping()
        calls.append(time.perf_counter() - began)
    result = {
        "bytes": len(source),
        "push_s": median(pushes[2:]),
        "publish_s": median(publishes[2:]),
        "copy_s": median(copies),
        "two_calls_s": median(calls),
    }
    result["ratio"] = result["push_s"] / result["copy_s"]
    print(
        f"push      {1e3 * result['push_s']:.1f} ms for {result['bytes'] / 1e6:.1f} MB, a memory copy "
        f"{1e3 * result['copy_s']:.1f} ms: {result['ratio']:.1f} (two empty calls {1e3 * result['two_calls_s']:.1f} ms)"
    )
    return result


# The loop's step


def step(model: str) -> dict[str, Any]:
    """A short run of the real command; its log has the step's seconds and its parts'."""
    from srm_ray.runs.metrics import read

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "srm_ray.grpo", "--config", "grpo/tiny", "--model", model]
        command += ["--run_dir", folder, "--steps", "12"]
        done = subprocess.run([*command, "--eval.problems", "0"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the loop failed: {done.stderr[-2000:]}")
        steps = read(Path(folder) / "metrics.jsonl")[2:]
    parts = [sum(line[f"time/{part}"] for part in ("rollout", "reward", "learn", "sync")) for line in steps]
    result = {"step_s": median([line["time/step"] for line in steps]), "parts_s": median(parts)}
    result["ratio"] = result["step_s"] / result["parts_s"]
    print(f"step      {result['step_s']:.2f} s, the sum of its parts {result['parts_s']:.2f} s: {result['ratio']:.2f}")
    return result
