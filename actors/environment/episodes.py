"""Groups of episodes: each completion of a prompt is played with a process of its own, the turns of all interleaved.

prompt --reset--> the conversation, rendered --play (srm_ray.environments.episode)--> completions of one group

An episode goes on with the engine that sampled its turn before, whose cache holds it. One whose environment worker dies
begins anew; what it sampled until then is sampled again, with the same seeds.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from srm_ray.console.progress import echo
from srm_ray.environments.contract import Contract
from srm_ray.environments.episode import Generate, Limits, Player, Start, Track, completion_of, play
from srm_ray.environments.prompts import row_of
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.sessions import EnvironmentSpec, EpisodeFailed, Outcome
from srm_ray.errors import RunError
from srm_ray.rl.types import Completion, Group, Prompt

ATTEMPTS = 4  # workers that may die over one episode before it is taken for the cause
REPORTED = 3  # different failures that a run reports on the terminal


class WorkerLost(Exception):
    """The environment worker of an episode is no more. The message says who and why."""


@dataclass(frozen=True)
class EpisodePlan:
    """How episodes of a run are played. prompt_limit: tokens that a prompt may have, with what `reset` returns.
    threshold: above it an environment's reward is right."""

    spec: EnvironmentSpec
    contract: Contract
    renderer: TurnRenderer
    limits: Limits
    prompt_limit: int
    threshold: float = 0.0


class Players(Protocol):
    """Where environments come from."""

    def player(self) -> AbstractAsyncContextManager[Player]: ...


class Episodes:
    """Plays groups. players: `EnvironmentPool`, or others in its place."""

    def __init__(self, plan: EpisodePlan, players: Players):
        self.plan, self.players = plan, players
        self.reported: set[str] = set()

    async def group(
        self, prompt: Prompt, draw: int, seeds: Sequence[int], environment_seed: int, generate: Generate
    ) -> Group:
        """An episode for each seed, unscored. Cancelling this ends them all.

        Raises RunError where `reset` does not return the same to all of them.
        """
        begun: list[Start] = []
        playing = [
            asyncio.ensure_future(self._episode(prompt, seed, environment_seed, generate, begun)) for seed in seeds
        ]
        try:
            completions = await asyncio.gather(*playing)
        finally:
            for task in playing:
                task.cancel()
            await asyncio.gather(*playing, return_exceptions=True)
        if begun:
            prompt = replace(prompt, token_ids=begun[0].token_ids, text=begun[0].text)
        return Group(prompt, tuple(completions), draw)

    async def _episode(
        self, prompt: Prompt, seed: int, environment_seed: int, generate: Generate, begun: list[Start]
    ) -> Completion:
        lost: list[str] = []
        while len(lost) < ATTEMPTS:
            try:
                async with self.players.player() as player:
                    return await self._once(player, prompt, seed, environment_seed, generate, begun)
            except WorkerLost as error:
                lost.append(str(error))
        raise RunError(f"{ATTEMPTS} environment workers died over one episode; the first: {lost[0]}")

    async def _once(
        self,
        player: Player,
        prompt: Prompt,
        seed: int,
        environment_seed: int,
        generate: Generate,
        begun: list[Start],
    ) -> Completion:
        plan = self.plan
        try:
            observation = await player.reset(row_of(prompt), environment_seed)
            start = self.start(prompt, observation)
        except EpisodeFailed as failed:
            self._report(failed)
            return completion_of(Track(), plan.renderer, seed, Outcome(None), failed.reason)
        begun.append(start)
        if start.token_ids != begun[0].token_ids:
            raise RunError(unlike(plan.spec.name))
        return await play(player, generate, plan.renderer, start, plan.limits, seed, self._report)

    def start(self, prompt: Prompt, observation: str | None) -> Start:
        """What the episodes of a prompt begin with. Raises `EpisodeFailed` where that is nothing, or too much."""
        renderer = self.plan.renderer
        if observation is None and not prompt.messages:
            raise EpisodeFailed("environment_error", "reset returns nothing, and the row has no prompt")
        messages = tuple(renderer.messages(prompt.messages, observation))
        ids = renderer.prompt(messages)
        if len(ids) > self.plan.prompt_limit:
            raise EpisodeFailed(
                "environment_error",
                f"with what reset returns the prompt has {len(ids)} tokens, {self.plan.prompt_limit} are left for it: "
                "lower rollout.max_new_tokens, or let it return less",
            )
        return Start(messages, ids, renderer.tokenizer.decode(list(ids), skip_special_tokens=False))

    def _report(self, failed: EpisodeFailed) -> None:
        """The first few different failures; all are counted, and in the log of the worker."""
        if failed.detail not in self.reported and len(self.reported) < REPORTED:
            self.reported.add(failed.detail)
            echo(f"  an episode's environment failed ({failed.reason}): {failed.detail}")


def unlike(name: str) -> str:
    return (
        f"--environment {name}: reset returns different texts in two episodes of the same prompt, which could not be "
        "compared: draw what is random from `random`, or take `seed`"
    )
