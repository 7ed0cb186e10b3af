"""Environment workers with real processes, in this process instead of Ray's: one that dies costs time, not episodes."""

import asyncio
from typing import Any

import numpy as np
import pytest
import ray

from actors.environment.check import contract_of, rehearse
from actors.environment.episodes import EpisodePlan, Episodes
from actors.environment.pool import EnvironmentPool
from actors.environment.worker import EnvironmentWorker
from actors.runtime.placement import Places
from actors.runtime.pool import PoolOptions
from srm_ray.config.grpo import GRPOConfig, RecoveryConfig
from srm_ray.environments.episode import Limits
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.sessions import EnvironmentSpec
from srm_ray.errors import UserError
from srm_ray.rl.types import Completion, Group, Prompt
from tests.actors.in_process import InProcess
from tests.environments import templates

pytestmark = pytest.mark.integration
HERE = "tests.environments.samples:"


class Played:
    """Episodes of an environment over workers in this process. said: what the policy says, turn by turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, said: list[str], **spec: Any):
        monkeypatch.setattr(ray, "kill", lambda actor: actor.end())
        monkeypatch.setattr("actors.runtime.pool._placed", lambda member: True)
        monkeypatch.setattr("actors.runtime.pool.end_process", self.ended)
        self.said, self.workers = said, list[EnvironmentWorker]()
        self.spec = EnvironmentSpec(HERE + name, **spec)
        self.events: list[str] = []
        recovery = RecoveryConfig(backoff=0.0)
        self.pool = EnvironmentPool(
            PoolOptions(Places({"CPU": 0.1}), recovery=recovery, on_event=lambda event, **_: self.events.append(event)),
            self.spec,
            spawn=self.spawn,
        )

    async def ended(self, pid: int | None, node: str | None) -> None:
        """The process of these workers is the test's own."""

    def spawn(self, number: int, name: str, place: Any) -> InProcess:
        self.workers.append(EnvironmentWorker(number, self.spec))
        return InProcess(self.workers[-1])

    async def generate(self, ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
        turn = self.tokenizer.decode(list(ids)).count("<|im_start|>assistant") - 1
        await asyncio.sleep(0.05)
        token_ids = [*self.tokenizer.encode(self.said[turn], add_special_tokens=False), self.tokenizer.eos_token_id]
        zeros = np.zeros(len(token_ids))
        return Completion(
            np.array(token_ids, np.int32), zeros.astype(np.float32), zeros.astype(np.int32), "stop", seed,
            self.said[turn], worker,
        )  # fmt: skip

    async def group(self, row: dict[str, Any], size: int, *, kill_after: float = 0.0) -> Group:
        self.tokenizer = templates.tokenizer_with(templates.HERMES)
        await self.pool.start()
        try:
            sessions = self.workers[0].sessions
            assert sessions is not None and sessions.contract is not None
            contract = sessions.contract
            renderer = TurnRenderer(self.tokenizer, [self.tokenizer.eos_token_id], contract.kind, contract.tools)
            plan = EpisodePlan(self.spec, contract, renderer, Limits(8, 0, 4000), 3000)
            prompt = Prompt(0, (), "", row=row, messages=({"role": "user", "content": "Go."},))
            playing = asyncio.ensure_future(Episodes(plan, self.pool).group(prompt, 0, range(size), 5, self.generate))
            if kill_after:
                await asyncio.sleep(kill_after)
                self.pool.pool.members[0].actor.end()
            return await playing
        finally:
            await self.pool.close()
            for worker in self.workers:
                await worker.close()


def call(name: str, **arguments: Any) -> str:
    import json

    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def test_a_group_is_played_and_its_processes_end(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, "Counter", [call("increment", by=2), call("increment", by=1), "Done."])
    group = asyncio.run(played.group({"goal": 3}, 6))
    assert [one.episode.reward for one in group.completions if one.episode] == [1.0] * 6
    assert len({one.token_ids.tobytes() for one in group.completions}) == 1
    assert "Go. Count to 3." in group.prompt.text
    assert not played.workers[0].playing and not played.workers[0].over


def test_a_process_that_dies_or_hangs_costs_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, reason in (("die", "worker_died"), ("slowly", "timeout")):
        arguments = {"seconds": 3600} if name == "slowly" else {}
        played = Played(monkeypatch, "Counter", [call(name, **arguments)], timeout=20.0)
        group = asyncio.run(played.group({"goal": 3}, 2))
        assert [one.episode.failure for one in group.completions if one.episode] == [reason] * 2
        assert played.events == []


def test_episodes_of_a_worker_that_dies_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, "Counter", [call("increment", by=1)] * 6 + ["Done."])
    group = asyncio.run(played.group({"goal": 6}, 3, kill_after=0.25))
    assert len(played.workers) == 2 and "restarted" in played.events
    assert [(one.episode.reward, len(one.episode.turns)) for one in group.completions if one.episode] == [(1.0, 7)] * 3


def config(name: str) -> GRPOConfig:
    return GRPOConfig.model_validate({"environment": {"name": HERE + name}})


def test_a_run_s_environment_is_tried_before_it_starts() -> None:
    async def tried(name: str, row: dict[str, Any]) -> None:
        contract = await contract_of(config(name))
        assert contract is not None
        tokenizer = templates.tokenizer_with(templates.HERMES)
        renderer = TurnRenderer(tokenizer, [tokenizer.eos_token_id], contract.kind, contract.tools)
        plan = EpisodePlan(EnvironmentSpec(HERE + name), contract, renderer, Limits(8, 0, 2000), 100)
        await rehearse(plan, [Prompt(0, (), "", row=row)], 1)

    asyncio.run(tried("Guess", {}))
    for name, row, said in [
        ("NoReset", {}, "has no reset"),
        ("Unlike", {}, "reset returns different texts in two episodes"),
        ("Columns", {"first": "x" * 900}, "the prompt has 9.. tokens, 100 are left"),
    ]:
        with pytest.raises(UserError, match=said):
            asyncio.run(tried(name, row))
