"""The real loop on workers that live in this process and really learn: no Ray, vLLM or DeepSpeed.

The policy is a vector, one number a problem: the probability that a completion is right is its sigmoid. Rollout
workers hold the weights that were last pushed to them, samples depend on seeds and weights alone, and the learner
follows the gradient; only how long each call takes is left to chance.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import actors.grpo_run
from actors.grpo_run import Run
from rewards.verdict import Reward
from srm_ray import grpo
from srm_ray.config.grpo import GRPOConfig
from srm_ray.data.curriculum import Curriculum
from srm_ray.data.difficulty import Difficulty
from srm_ray.errors import LearnerLost
from srm_ray.evaluation.in_training import Evaluations, HeldOut
from srm_ray.rl.seeds import completion_seed
from srm_ray.rl.types import Completion, Group, Learned, Prompt, TrainBatch
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog, read, without_times
from srm_ray.runs.saving import Saver
from srm_ray.runs.watch import Watch

T = TypeVar("T")
Blow = Callable[["Toy"], None]  # strikes at a call; may raise


class Learner:
    """weights: [P] float64. calls: how often each method was called, over all its lives."""

    def __init__(self, toy: "Toy"):
        self.toy = toy
        self.weights = toy.first.copy()
        self.numerics = {"threads": 1}
        self.dead = False

    async def step(self, batch: TrainBatch, lr: float) -> Learned:
        await self.toy.takes_a_while()
        gradient = np.zeros_like(self.weights)
        for group in batch.groups:
            assert group.advantages is not None
            for completion, advantage in zip(group.completions, group.advantages, strict=True):
                problem = int(group.prompt.answer or 0)
                gradient[problem] += advantage * (
                    float(completion.text == "right") - self.toy.chance(self.weights, problem)
                )
        self.toy.blow("in learn")
        self.weights = self.weights + lr * gradient
        numbers = {
            "policy/loss": -float(gradient.sum()), "policy/lr": lr, "policy/entropy": 0.5, "policy/mismatch_abs": 0.0,
            "policy/mismatch_kl": 0.0, "policy/mismatch_max": 0.0, "policy/clip_fraction_high": 0.0,
            "policy/clip_fraction_low": 0.0, "policy/grad_norm": float(np.linalg.norm(gradient)),
            "throughput/learner_tokens_per_s": 1.0,
        }  # fmt: skip
        return Learned(numbers, tuple(tuple(c.logprobs for c in group.completions) for group in batch.groups))

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    async def save(self, folder: Path) -> None:
        if self.dead:
            raise LearnerLost("learner-0 is dead")
        self.toy.blow("save")
        np.save(folder / "weights.npy", self.weights)

    async def load(self, folder: Path) -> None:
        self.weights = np.load(folder / "weights.npy")


class Toy:
    """Workers of every role, and the run that they do. `blows`: by name of a moment, what strikes then.

    moments: sample, score, learn, in learn (before the weights move), push, save, answer.
    timing: seed of how many turns each call takes.
    """

    def __init__(self, path: Path, *, first: np.ndarray, timing: int = 0, **config: Any):
        self.folder = RunFolder(path, stage="grpo")
        self.config = config_of(str(path), **config)
        self.first = first
        self.turns = random.Random(timing)
        self.blows: dict[str, Blow] = {}
        self.calls: Counter[str] = Counter()
        self.learner = Learner(self)
        self.rewards = self.rollouts = self
        self.capacity = 64
        self.pushed, self.version = first.copy(), 0
        self.reason: Callable[[Completion], str | None] = lambda completion: None
        self.curriculum = Curriculum({}, raise_at=1.0, window=1)
        options = self.config.difficulty
        group_size = self.config.rollout.group_size
        self.difficulty = Difficulty(options, seed=self.config.seed, group_size=group_size) if options.follow else None

    # Workers

    def blow(self, moment: str) -> None:
        self.calls[moment] += 1
        if moment in self.blows:
            self.blows[moment](self)

    async def takes_a_while(self) -> None:
        for _ in range(self.turns.randrange(12)):
            await asyncio.sleep(0)

    @staticmethod
    def chance(weights: np.ndarray, problem: int) -> float:
        return float(1 / (1 + np.exp(-weights[problem])))

    async def sample(self, prompt: Prompt, draw: int = 0) -> Group:
        self.blow("sample")
        began = self.version
        completions = []
        for number in range(self.config.rollout.group_size):
            seed = completion_seed(self.config.seed, prompt.index, draw, number)
            await self.takes_a_while()
            right = random.Random(seed).random() < self.chance(self.pushed, int(prompt.answer or 0))
            completions.append(completion_of("right" if right else "wrong", seed, (began, self.version)))
        return Group(prompt, tuple(completions), draw)

    async def score(self, group: Group) -> Group:
        await self.takes_a_while()
        self.blow("score")
        return replace(group, rewards=tuple(self._grade(completion) for completion in group.completions))

    def _grade(self, completion: Completion) -> Reward:
        if reason := self.reason(completion):
            return Reward(0.0, None if reason == "bad_gold" else False, reason)
        right = completion.text == "right"
        return Reward(float(right), right, "correct" if right else "wrong", parts={"math": float(right)})

    async def answer(self, prompt: Prompt) -> Group:
        self.blow("answer")
        text = "right" if self.chance(self.pushed, int(prompt.answer or 0)) > 0.5 else "wrong"
        return await self.score(Group(prompt, (completion_of(text, 0, (self.version,)),)))

    async def learn(self, batch: TrainBatch, lr: float) -> Learned:
        self.blow("learn")
        return await self.learner.step(batch, lr)

    async def push_weights(self, version: int) -> float:
        self.blow("push")
        await self.takes_a_while()
        self.pushed, self.version = self.learner.weights.copy(), version
        return 0.0

    async def restart_learner(self, lost: LearnerLost) -> None:
        self.calls["restart"] += 1
        self.learner = Learner(self)
        self.saver.learner = self.learner

    def describe(self) -> dict[str, float]:
        return {"restarts/learner": self.calls["restart"]}

    def doing(self) -> str:
        return "sampling"

    # Problems

    def __getitem__(self, index: int) -> Prompt:
        """Its answer is the number of its problem."""
        problem, count = index % len(self.first), len(self.first)
        if self.difficulty is not None and index >= 0:  # below 0: held out
            usual = problem
            problem = self.difficulty.row(index, "toy", count, lambda: usual, lambda row: f"problem {row}")
        return Prompt(index, (1, 2), f"problem {index}", answer=str(problem), source="toy")

    # The run

    @contextlib.asynccontextmanager
    async def opened(self, config: GRPOConfig, folder: RunFolder) -> AsyncIterator[Run]:
        """In place of `actors.grpo_run.opened`."""
        log = MetricsLog(folder.metrics)
        toy: Any = self
        self.saver = Saver(folder, self.learner, log, keep=config.checkpoint.keep, limit=config.checkpoint.last_timeout)
        folder.save_config(config)
        async with Watch(config.alarms, folder, log, group_size=config.rollout.group_size) as watch:
            held_out = HeldOut([self[-1 - i] for i in range(config.eval.problems)], self.answer, samples=1)
            yield Run(
                config=config,
                folder=folder,
                workers=toy,
                stream=toy,
                saver=self.saver,
                evaluations=Evaluations(config.eval.every, held_out if config.eval.problems else None),
                export=self.export,
                log=log,
                watch=watch,
                started={"model": "toy", "cluster": "none"},
            )

    async def export(self, path: Path, step: int) -> None:
        np.save(path / "weights.npy", self.learner.weights)
        (path / "step").write_text(str(step))

    def main(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """The command's exit status."""
        monkeypatch.setattr(actors.grpo_run, "opened", self.opened)
        path = self.folder.path.with_suffix(".json")
        path.write_text(json.dumps(self.config.model_dump(mode="json")))
        return grpo.main(["--config", str(path)])

    # What is left behind

    @property
    def lines(self) -> list[dict[str, Any]]:
        """metrics.jsonl without what depends on time."""
        return [without_times(line) for line in read(self.folder.metrics)]

    @property
    def recorded(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.folder.rollouts.glob("*.jsonl"))}

    @property
    def final(self) -> np.ndarray:
        return np.load(self.folder.final / "weights.npy")


def completion_of(text: str, seed: int, versions: tuple[int, ...]) -> Completion:
    return Completion(
        token_ids=np.arange(len(versions), dtype=np.int32),
        logprobs=np.full(len(versions), -0.1, np.float32),
        versions=np.array(versions, np.int32),
        finish_reason="stop",
        seed=seed,
        text=text,
        worker="rollout-0",
    )


def config_of(run_dir: str, **options: Any) -> GRPOConfig:
    """A run of ten steps of three groups of four, a checkpoint after every fourth."""
    values: dict[str, Any] = {
        "run_dir": run_dir,
        "steps": 10,
        "prompts_per_step": 3,
        "rollout": {"group_size": 4},
        "learner": {"lr": 0.1},
        "checkpoint": {"every": 4, "last_timeout": 5.0},
        "eval": {"problems": 0},
        "alarms": {"no_signal": None, "slow": None},
    }
    return GRPOConfig.model_validate(values | options)


def strike(call: int, blow: Callable[[], None]) -> Blow:
    """`blow` at the `call`-th time that the moment comes."""
    count = Counter[str]()

    def struck(toy: Toy) -> None:
        count["calls"] += 1
        if count["calls"] == call:
            blow()

    return struck


def raises(error: BaseException) -> Callable[[], None]:
    def blow() -> None:
        raise error

    return blow
