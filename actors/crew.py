"""Everyone that a GRPO run employs: rollout, reward and learner actors, started together, ended together."""

import asyncio
import os
from typing import Any

import ray

from actors import placement
from actors.learner import LearnerSpec
from actors.learner_group import LearnerGroup
from actors.reward import RewardSpec
from actors.reward_pool import RewardPool
from actors.rollout import EngineSpec, Sampling
from actors.rollout_pool import RolloutPool
from srm_ray.config.grpo import GRPOConfig
from srm_ray.rl.seeds import completion_seed
from srm_ray.rl.types import Group, Prompt


class Crew:
    """The loop's workers. `async with Crew(...) as crew` starts them and ends them whatever happens.

    model: Hugging Face folder or hub name. context: prompt + completion, tokens.
    """

    def __init__(
        self, config: GRPOConfig, model: str, *, context: int, stop_token_ids: tuple[int, ...], **classes: Any
    ):
        self.config = config
        placement.require(bundles(config))
        rollout, learner = config.rollout, config.learner
        nodes = len([node for node in ray.nodes() if node["Alive"]])
        self.rollouts = RolloutPool(
            rollout.workers, engine_spec(config, model, context, stop_token_ids), cpus=rollout.cpus, **classes
        )
        self.rewards = RewardPool(config.reward.workers, reward_spec(config), cpus=config.reward.cpus)
        self.learner = LearnerGroup(
            learner.workers,
            LearnerSpec(
                model=model,
                learner=learner,
                loss=config.loss,
                temperature=rollout.temperature,
                seed=config.seed,
                threads=learner.threads or cores_each(learner.workers),
                publish_to_nodes=nodes > 1,
            ),
            max_new_tokens=rollout.max_new_tokens,
            mismatch_limit=config.weights.mismatch_limit,
        )
        self.sampling = Sampling(rollout.temperature, rollout.max_new_tokens)
        self.greedy = Sampling(0.0, rollout.max_new_tokens)

    async def __aenter__(self) -> "Crew":
        try:
            await asyncio.gather(
                self.rollouts.start(self.config.rollout.start_timeout), self.learner.start(), self.rewards.start()
            )
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(self.rollouts.close(), self.learner.close(), self.rewards.close())

    async def sample(self, prompt: Prompt, draw: int = 0) -> Group:
        """A group of completions from the current weights, unscored."""
        seeds = tuple(
            completion_seed(self.config.seed, prompt.index, draw, i) for i in range(self.config.rollout.group_size)
        )
        return Group(prompt, await self.rollouts.generate(prompt.token_ids, seeds, self.sampling), draw)

    async def answer(self, prompt: Prompt) -> Group:
        """One greedy completion, scored."""
        return await self.rewards.score(
            Group(prompt, await self.rollouts.generate(prompt.token_ids, (0,), self.greedy))
        )

    async def push_weights(self, version: int) -> float:
        """The learner's weights to every rollout worker, as `version`. Returns the slowest load's seconds."""
        update = await self.learner.publish(version)
        return await self.rollouts.push(update, self.config.weights.push_timeout)


def bundle(cpus: float, gpus: float = 0.0) -> dict[str, float]:
    """Resources of one actor."""
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {})}


def bundles(config: GRPOConfig) -> list[dict[str, float]]:
    """Resources of each actor that a run starts with."""
    rollout, learner, reward = config.rollout, config.learner, config.reward
    return (
        [bundle(rollout.cpus, rollout.gpus)] * rollout.workers
        + [bundle(learner.cpus, learner.gpus)] * learner.workers
        + [bundle(reward.cpus)] * reward.workers
    )


def cores_each(workers: int) -> int:
    """Compute threads of each of `workers` processes that share this machine."""
    return max(1, len(os.sched_getaffinity(0)) // workers)


def engine_spec(config: GRPOConfig, model: str, context: int, stop_token_ids: tuple[int, ...]) -> EngineSpec:
    options = config.rollout
    return EngineSpec(
        model=model,
        stop_token_ids=stop_token_ids,
        max_model_len=context,
        max_num_seqs=options.max_num_seqs,
        dtype=options.dtype,
        seed=config.seed,
        threads=options.threads or cores_each(options.workers),
        kv_cache_gb=options.kv_cache_gb,
        gpus=options.gpus,
        memory_fraction=options.memory_fraction,
        tensor_parallel=options.tensor_parallel,
        eager=options.eager,
    )


def reward_spec(config: GRPOConfig) -> RewardSpec:
    options = config.reward
    used = {"length": bool(options.overlong_cache), "function": bool(options.function)}
    weights = {name: weight for name, weight in options.weights if weight and used.get(name, True)}
    return RewardSpec(
        weights=weights,
        math_timeout=options.timeout,
        code_timeout=options.timeout,
        function_timeout=options.timeout,
        allow_last_number=options.last_number,
        l_max=config.rollout.max_new_tokens,
        l_cache=options.overlong_cache,
        function=options.function,
        allow_unsafe=options.allow_unsafe,
        processes=options.processes,
    )
