"""Scripted rollout workers, for measurements alone: completions of set lengths at a set pace, and no model.

They answer the calls of `actors.rollout.worker.RolloutWorker`, so the real pools and the real loop run on them. What is
measured with them is the loop (does it overlap? what does the driver cost?), never a model or an engine.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actors.runtime.labels import node_id
from actors.runtime.replies import PingReply, WorkerInfo
from srm_ray.inference.completers import Sampling
from srm_ray.rl.types import Completion
from srm_ray.weights.flat import WeightUpdate

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

    ScriptedHosts = list[ActorHandle]


@dataclass(frozen=True, slots=True)
class Script:
    """tokens_per_s: of each sequence. longest: tokens; lengths have a long tail up to it. gpus: none, ever."""

    tokens_per_s: float
    longest: int
    max_num_seqs: int
    max_model_len: int
    vocabulary: int = 300
    gpus: float = 0.0
    role: str = "rollout"


class ScriptedWorker:
    """One worker's pace and answers; completions are the same for the same seed."""

    def __init__(self, index: int, script: Script):
        self.name, self.script = f"rollout-{index}", script
        self.version = self.in_flight = 0

    async def start(self) -> WorkerInfo:
        return WorkerInfo(self.name, os.getpid(), node_id(), self.version, in_flight=self.in_flight)

    async def generate(
        self,
        prompt_ids: tuple[int, ...],
        seeds: tuple[int, ...],
        sampling: Sampling,
        begun: tuple[Completion, ...] = (),
        ticket: int | None = None,
    ) -> list[Completion]:
        self.in_flight += len(seeds)
        version = self.version
        lengths = [self.length(seed) for seed in seeds]
        await asyncio.sleep(max(lengths) / self.script.tokens_per_s)
        self.in_flight -= len(seeds)
        return [self.completion(seed, length, version) for seed, length in zip(seeds, lengths, strict=True)]

    async def abandon(self, ticket: int) -> None:
        """Sleeps on: a scripted completion costs nothing."""

    def length(self, seed: int) -> int:
        tail = random.Random(seed).lognormvariate(0, 0.9) * self.script.longest / 4
        return max(2, min(self.script.longest, round(tail)))

    def completion(self, seed: int, length: int, version: int) -> Completion:
        ids = np.full(length, 20 + seed % (self.script.vocabulary - 20), np.int32)
        text = f"</think>\n\\boxed{{{seed % 2}}}"
        logprobs = np.full(length, -1.0, np.float32)
        return Completion(ids, logprobs, np.full(length, version, np.int32), "stop", seed, text, self.name)

    async def load_weights(self, update: WeightUpdate) -> float:
        self.version = update.version
        return 0.0

    async def hand_back(self) -> None:
        while self.in_flight:
            await asyncio.sleep(0.01)

    async def ping(self) -> PingReply:
        return PingReply(await self.start())

    async def close(self) -> None:
        """Nothing to end."""


class ScriptedHost:
    """Many scripted workers in one actor: a machine has not the memory for hundreds of actors."""

    def __init__(self, script: Script):
        self.script = script
        self.workers: dict[int, ScriptedWorker] = {}

    async def call(self, index: int, method: str, *args: object) -> object:
        worker = self.workers.setdefault(index, ScriptedWorker(index, self.script))
        return await getattr(worker, method)(*args)


@contextlib.contextmanager
def scripted_hosts(script: Script, count: int) -> "Iterator[ScriptedHosts]":
    """So many hosts, which end with the block."""
    import ray

    remote = ray.remote(ScriptedHost).options(num_cpus=0, max_concurrency=100_000)
    hosts = [remote.remote(script) for _ in range(count)]
    try:
        yield hosts
    finally:
        for host in hosts:
            ray.kill(host)


class HostedWorker:
    """The handle of one worker in a host: `worker.generate.remote(...)` as on an actor of its own."""

    def __init__(self, host: "ActorHandle", index: int):
        self._host, self._index = host, index

    def __getattr__(self, method: str) -> "HostedMethod":
        return HostedMethod(self._host, self._index, method)


@dataclass(frozen=True, slots=True)
class HostedMethod:
    host: "ActorHandle"
    index: int
    method: str

    def options(self, **options: object) -> "HostedMethod":
        return self

    def remote(self, *args: object) -> "ObjectRef":
        return self.host.call.remote(self.index, self.method, *args)
