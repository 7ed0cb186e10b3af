"""The real loop over workers that live in this process: what each step is like is written down beforehand.

Nothing here learns or samples; groups, grades and the learner's numbers are made up, so that what the loop makes
of them can be provoked within milliseconds.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from actors.grpo_run import Run
from rewards.verdict import Reward
from srm_ray.config.grpo import GRPOConfig
from srm_ray.data.curriculum import Curriculum
from srm_ray.evaluation.in_training import Evaluations
from srm_ray.grpo import train
from srm_ray.rl.state import State
from srm_ray.rl.types import Completion, Group, Learned, Prompt, TrainBatch
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from srm_ray.runs.saving import Saver
from srm_ray.runs.watch import Watch

if TYPE_CHECKING:
    from actors.runtime.metrics import RayMetrics

TOKENS = 4

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One step as it will be. signal_every: only every so-manieth group has signal. seconds: of each sample.

    truncated, undecided: of the group's completions. late: versions by which a prompt's first draw lags behind. The
    rest are the learner's numbers.
    """

    signal_every: int = 1
    truncated: int = 0
    undecided: int = 0
    late: int = 0
    seconds: float = 0.0
    entropy: float = 0.3
    mismatch: float = 1e-3
    grad_norm: float = 0.4
    learner_rate: float = 4000.0


class WorkerGroups:
    """What `srm_ray.grpo.train` asks of `actors.worker_groups.WorkerGroups`, and no more."""

    def __init__(self, script: Callable[[int], Step], group_size: int):
        self.script, self.group_size = script, group_size
        self.version = 0
        self.rewards = self.learner = self.rollouts = self
        self.capacity = 8 * group_size

    @property
    def now(self) -> Step:
        return self.script(self.version + 1)

    async def sample(self, prompt: Prompt, draw: int = 0) -> Group:
        await asyncio.sleep(self.now.seconds)
        version = self.version - (0 if draw else self.now.late)
        return Group(prompt, tuple(self._completion(i, version) for i in range(self.group_size)), draw)

    def _completion(self, sample: int, version: int) -> Completion:
        return Completion(
            token_ids=np.arange(TOKENS, dtype=np.int32),
            logprobs=np.full(TOKENS, -0.5, np.float32),
            versions=np.full(TOKENS, version, np.int32),
            finish_reason="length" if sample < self.now.truncated else "stop",
            seed=sample,
            text="made up",
            worker="rollout-0",
        )

    async def score(self, group: Group) -> Group:
        uniform = group.prompt.index % self.now.signal_every != 0
        grades = [None if i < self.now.undecided else bool(i % 2) and not uniform for i in range(self.group_size)]
        return replace(group, rewards=tuple(Reward(float(bool(right)), right, "made_up") for right in grades))

    async def learn(self, batch: TrainBatch, lr: float) -> Learned:
        numbers = {
            "policy/loss": 0.1, "policy/lr": lr, "policy/entropy": self.now.entropy,
            "policy/clip_fraction_high": 0.001, "policy/clip_fraction_low": 0.0,
            "policy/mismatch_kl": self.now.mismatch**2, "policy/mismatch_abs": self.now.mismatch,
            "policy/mismatch_max": 10 * self.now.mismatch, "policy/grad_norm": self.now.grad_norm,
            "time/learn": 0.01, "throughput/learner_tokens_per_s": self.now.learner_rate,
        }  # fmt: skip
        return Learned(numbers, tuple(tuple(c.logprobs - 0.01 for c in group.completions) for group in batch.groups))

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    async def push_weights(self, version: int) -> float:
        self.version = version
        return 0.0

    def describe(self) -> dict[str, float]:
        return {"rollout/workers": 1, "reward/workers": 1, "restarts/rollout": 0, "restarts/reward": 0,
                "restarts/learner": 0}  # fmt: skip

    async def save(self, path: Path) -> None:
        (path / "learner").write_text("made up")


class Prompts:
    def __init__(self) -> None:
        self.curriculum = Curriculum({"made_up": 1}, raise_at=1.0, window=1)
        self.difficulty = None

    def __getitem__(self, index: int) -> Prompt:
        return Prompt(index, (1, 2), f"What is {index}?", answer=str(index))


def config_of(**alarms: Any) -> GRPOConfig:
    """Alarms at their defaults but for the window, and for throughput, which a busy machine may well lose."""
    return GRPOConfig.model_validate(
        {
            "steps": 12,
            "prompts_per_step": 4,
            "max_refill": 100,
            "rollout": {"group_size": 4},
            "checkpoint": {"every": 1000},
            "eval": {"problems": 0},
            "alarms": {"window": 3, "slow": None, **alarms},
        }
    )


def run(path: Path, script: Callable[[int], Step], config: GRPOConfig, *, first: int = 0, ray: bool = False) -> None:
    """Steps after `first`. Raises what the loop raises."""
    folder = RunFolder(path, stage="grpo")
    folder.create()

    async def whole() -> None:
        workers: Any = WorkerGroups(script, config.rollout.group_size)
        workers.version = first
        log = MetricsLog(folder.metrics, cluster=ray_metrics(path.name) if ray else None)
        log.after(first)
        async with Watch(config.alarms, folder, log, group_size=config.rollout.group_size) as watch:
            stream: Any = Prompts()
            parts = Run(
                config=config, folder=folder, workers=workers, stream=stream,
                saver=Saver(folder, workers, log, keep=2, limit=10.0),
                evaluations=Evaluations(), export=workers.save, log=log, watch=watch, started={},
            )  # fmt: skip
            await train(parts, State(step=first, version=first))

    asyncio.run(whole())


def ray_metrics(name: str) -> "RayMetrics":
    from actors.runtime.metrics import RayMetrics  # imports Ray, which no fast test may

    return RayMetrics({"run": name})


def events(path: Path) -> list[dict[str, Any]]:
    return RunFolder(path, stage="grpo").read_events()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
