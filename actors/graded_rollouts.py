"""Completions of one model, graded and written as a GRPO run writes its own: sampling without learning.

prompts -> rollout workers (vLLM, G completions each) -> reward workers -> rollouts/step_000001.jsonl
"""

import asyncio
from pathlib import Path

from actors import placement
from actors.crew import bundle, engine_spec, reward_spec
from actors.reward_pool import RewardPool
from actors.rollout import Sampling
from actors.rollout_pool import RolloutPool
from srm_ray.config.grpo import GRPOConfig
from srm_ray.model.loading import ModelFacts
from srm_ray.rl.advantages import has_signal
from srm_ray.rl.collection import with_advantages
from srm_ray.rl.seeds import completion_seed
from srm_ray.rl.types import Group, Prompt
from srm_ray.runs import rollout_log


async def write_graded_rollouts(
    config: GRPOConfig, facts: ModelFacts, prompts: list[Prompt], rollouts: Path, *, context: int
) -> dict[str, int]:
    """Sample rollout.group_size completions of each prompt with the sampler and graders of `config`.

    rollouts: the folder of `srm_ray.runs.rollout_log`. Ray must be initialised. Returns counts:
    prompts, completions, correct, tokens (sampled), groups_with_signal (right and wrong completions).
    """
    rollout, reward = config.rollout, config.reward
    placement.require([bundle(rollout.cpus, rollout.gpus)] * rollout.workers + [bundle(reward.cpus)] * reward.workers)
    pool = RolloutPool(
        rollout.workers, engine_spec(config, facts.path, context, facts.stop_token_ids), cpus=rollout.cpus
    )
    rewards = RewardPool(reward.workers, reward_spec(config), cpus=reward.cpus)
    sampling = Sampling(rollout.temperature, rollout.max_new_tokens)

    async def one(prompt: Prompt) -> Group:
        seeds = tuple(completion_seed(config.seed, prompt.index, 0, place) for place in range(rollout.group_size))
        sampled = Group(prompt, await pool.generate(prompt.token_ids, seeds, sampling))
        return with_advantages(await rewards.score(sampled), normalise_std=config.loss.normalise_std)

    try:
        await asyncio.gather(pool.start(rollout.start_timeout), rewards.start())
        groups = await asyncio.gather(*(one(prompt) for prompt in prompts))
    finally:
        await asyncio.gather(pool.close(), rewards.close())
    informative = [group for group in groups if has_signal(group.rewards)]
    rollout_log.write(rollouts, 1, groups, {group.prompt.index for group in informative})
    return {
        "prompts": len(groups),
        "completions": sum(len(group.completions) for group in groups),
        "correct": sum(reward.correct is True for group in groups for reward in group.rewards),
        "tokens": sum(len(completion.token_ids) for group in groups for completion in group.completions),
        "groups_with_signal": len(informative),
    }
