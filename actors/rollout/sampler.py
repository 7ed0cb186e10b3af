"""Rollout and reward workers without a learner: a model's completions, graded.

prompt --RolloutPool--> G completions --RewardPool--> group with rewards
"""

import asyncio
from dataclasses import replace
from types import TracebackType

from actors.reward.pool import RewardPool
from actors.rollout.engine_spec import USUAL_START
from actors.rollout.pool import RolloutPool, TimeLimits
from actors.runtime import placement
from actors.runtime.pool import PoolOptions, report_deaths
from actors.worker_groups import engine_spec, needs, reward_spec
from srm_ray.config.grpo import GRPOConfig, bounds
from srm_ray.console.progress import phase
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling
from srm_ray.model.loading import ModelInfo
from srm_ray.rl.seeds import completion_seed
from srm_ray.rl.types import Completion, Group, Prompt, Reward


class Sampler:
    """`async with Sampler(...) as sampler` starts the workers and ends them whatever happens.

    config: its `rollout`, `reward` and `seed` are used. context: prompt + completion, tokens. graded: False
    starts no reward workers. Ray must be initialised.
    """

    def __init__(self, config: GRPOConfig, info: ModelInfo, *, context: int, graded: bool = True):
        rollout, reward = config.rollout, config.reward
        if graded and reward.judge.judges:
            raise UserError("reward.judge holds in srm_ray.grpo alone: grade with the graders, a function or a model")
        self.reservation = placement.reserve(
            needs(config, learns=False, graded=graded), lower="rollout.workers, reward.workers or their cpus and gpus"
        )
        places = self.reservation.places
        self.config, self.model = config, info.path
        self.sampling = Sampling(rollout.temperature, rollout.max_new_tokens)
        spec = engine_spec(config, info.path, context, info.stop_token_ids)
        self.rollouts = RolloutPool(
            PoolOptions(places["rollout"], bounds(rollout.workers), config.recovery, report_deaths),
            spec,
            limits=TimeLimits(rollout.start_timeout),
        )
        self.rewards = (
            RewardPool(
                PoolOptions(places["reward"], bounds(reward.workers), config.recovery, report_deaths),
                reward_spec(config),
            )
            if graded
            else None
        )

    async def __aenter__(self) -> "Sampler":
        try:
            starting = [self.rollouts.start()]
            with phase(
                f"starting {bounds(self.config.rollout.workers)[0]} engine(s) for {self.model}",
                remember=True,
                usual=USUAL_START,
            ):
                await asyncio.gather(*starting, *([self.rewards.start()] if self.rewards else []))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(self.rollouts.close(), *([self.rewards.close()] if self.rewards else []))
        self.reservation.release()

    async def sample(self, prompt: Prompt, samples: range) -> Group:
        """The completions of these sample numbers, unscored. The seeds are those of training."""
        seeds = tuple(completion_seed(self.config.seed, prompt.index, 0, sample) for sample in samples)
        return Group(prompt, await self.rollouts.generate(prompt.token_ids, seeds, self.sampling))

    async def turn(self, ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
        """One turn of an episode; worker: who sampled the one before. See `srm_ray.environments.episode.Generate`."""
        asked = replace(self.sampling, max_new_tokens=most)
        (one,) = await self.rollouts.generate(ids, (seed,), asked, prefer=worker)
        return one

    async def graded(self, prompt: Prompt) -> Group:
        """A whole group, scored."""
        group = await self.sample(prompt, range(self.config.rollout.group_size))
        return replace(group, rewards=await self.score(group))

    async def score(self, group: Group) -> tuple[Reward, ...]:
        """What each of its completions is worth, whoever sampled them."""
        assert self.rewards is not None, "this sampler was made without reward workers"
        return (await self.rewards.score(group)).rewards
