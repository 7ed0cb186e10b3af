"""Episodes in the real loop: the same whatever finishes first, killed and continued bit for bit."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.environment.episodes import EpisodePlan, Episodes, WorkerLost
from srm_ray.environments import process
from srm_ray.environments.contract import load
from srm_ray.environments.episode import Limits
from srm_ray.environments.grading import own_rewards
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.sessions import EnvironmentSpec, EpisodeFailed, Outcome, Step
from srm_ray.errors import RunError
from srm_ray.rl.seeds import completion_seed, environment_seed
from srm_ray.rl.types import Completion, Group, Learned, Prompt, ToolCall, TrainBatch
from tests.environments import templates
from tests.loop_in_process.test_resume import killed
from tests.loop_in_process.toy import Toy

NAME = "tests.environments.samples:Luck"


class Here:
    """An episode in this process; environment workers die now and then, and some steps take too long."""

    def __init__(self, toy: "EpisodeToy"):
        self.toy = toy
        self.player = process.Player(toy.loaded, 1000)
        self.steps = 0

    async def reset(self, row: dict[str, Any], seed: int) -> str | None:
        await self.toy.takes_a_while()
        return self.player.reset(row, seed)

    async def call(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        raise NotImplementedError

    async def step(self, text: str) -> Step:
        await self.toy.takes_a_while()
        self.steps += 1
        if self.toy.turns.random() < self.toy.workers_lost:
            raise WorkerLost("environment-0 died")
        if text == "c" and self.steps == 2:
            raise EpisodeFailed("timeout", "step took more than 1 s")
        return Step(**self.player.step(text))

    async def reward(self) -> Outcome:
        found = self.player.reward()
        assert found is not None
        return Outcome(*found)


class EpisodeToy(Toy):
    """A toy whose completions are episodes of up to three turns. workers_lost: chance that a worker dies in a step."""

    workers_lost = 0.02

    def __init__(self, path: Path, **options: Any):
        super().__init__(path, first=np.full(7, -1.5), **options)
        self.loaded = load(NAME, ())
        self.tokenizer = templates.tokenizer_with(templates.HERMES)
        renderer = TurnRenderer(self.tokenizer, [self.tokenizer.eos_token_id], "turns")
        plan = EpisodePlan(EnvironmentSpec(NAME), self.loaded.contract, renderer, Limits(4, 0, 500), 100)
        self.episodes = Episodes(plan, self)

    @contextlib.asynccontextmanager
    async def player(self) -> AsyncIterator[Here]:
        yield Here(self)

    async def sample(self, prompt: Prompt, draw: int = 0) -> Group:
        self.blow("sample")
        seeds = [completion_seed(self.config.seed, prompt.index, draw, n) for n in range(4)]

        async def generate(ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
            await self.takes_a_while()
            chance = self.chance(self.pushed, prompt.index % len(self.pushed))
            text = "a" if random.Random(f"{seed}{ids}").random() < chance else random.Random(seed).choice("bcd")
            token_ids = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
            shape = len(token_ids)
            return Completion(
                token_ids=np.array(token_ids, np.int32),
                logprobs=np.full(shape, -0.25, np.float32),
                versions=np.full(shape, self.version, np.int32),
                finish_reason="stop",
                seed=seed,
                text=text,
                worker=worker or "rollout-0",
            )

        seed = environment_seed(self.config.seed, prompt.index)
        return await self.episodes.group(prompt, draw, seeds, seed, generate)

    async def score(self, group: Group) -> Group:
        self.blow("score")
        return own_rewards(group, 0.0)

    async def learn(self, batch: TrainBatch, lr: float) -> Learned:
        """The toy's learner reads texts: whether an episode was won."""
        groups = [
            replace(
                group,
                completions=tuple(
                    replace(one, text="right" if one.episode and one.episode.reward else "wrong")
                    for one in group.completions
                ),
            )
            for group in batch.groups
        ]
        return await super().learn(TrainBatch(tuple(groups), batch.version), lr)

    def __getitem__(self, index: int) -> Prompt:
        return Prompt(index, (), "", row={}, source="toy")


OPTIONS: dict[str, Any] = {"alarms": {"no_signal": None, "slow": None, "undecided": None, "undecided_prompt": None}}


def test_episodes_train_and_do_not_depend_on_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = EpisodeToy(tmp_path / "one", timing=1, **OPTIONS)
    other = EpisodeToy(tmp_path / "other", timing=2, **OPTIONS)
    assert one.main(monkeypatch) == other.main(monkeypatch) == 0
    assert one.lines == other.lines
    assert one.recorded == other.recorded
    assert np.array_equal(one.final, other.final)
    assert max(line["episode/turns"] for line in one.lines) > 1.2
    assert any(line["episode/failed"] > 0 for line in one.lines)
    accuracy = [line["reward/accuracy"] for line in one.lines]
    assert sum(accuracy[-3:]) > sum(accuracy[:3])


@pytest.mark.parametrize("at", [1, 5, 8])
def test_a_killed_run_goes_on_bit_for_bit(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = EpisodeToy(tmp_path / "whole", **OPTIONS)
    assert whole.main(monkeypatch) == 0
    killed(EpisodeToy(tmp_path / "broken", **OPTIONS), monkeypatch, at)
    broken = EpisodeToy(tmp_path / "broken", timing=9, **OPTIONS)
    assert broken.main(monkeypatch) == 0
    assert broken.lines == whole.lines
    assert broken.recorded == whole.recorded
    assert np.array_equal(broken.final, whole.final)


def test_asynchronous_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = EpisodeToy(tmp_path / "run", max_staleness=2, **OPTIONS)
    assert toy.main(monkeypatch) == 0
    assert all(line["staleness/max"] <= 2 for line in toy.lines if line["groups/kept"])
    assert toy.main(monkeypatch) == 0


def test_workers_that_die_over_one_episode_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = EpisodeToy(tmp_path / "run", **OPTIONS)
    toy.workers_lost = 1.0
    assert toy.main(monkeypatch) == 1
    assert "4 environment workers died over one episode; the first: environment-0 died" in capsys.readouterr().err


def test_episodes_of_a_prompt_begin_alike(tmp_path: Path) -> None:
    toy = EpisodeToy(tmp_path / "run")
    toy.loaded = load("tests.environments.samples:Unlike", ())
    with pytest.raises(RunError, match="reset returns different texts"):
        asyncio.run(toy.sample(toy[0]))
