"""Completions of one model, graded and written as a GRPO run writes its own: sampling without learning.

prompts -> rollout workers (vLLM, G completions each) -> reward workers -> rollouts/step_000001.jsonl
"""

import asyncio
from pathlib import Path

from actors.rollout.sampler import Sampler
from srm_ray.config.grpo import GRPOConfig
from srm_ray.model.loading import ModelInfo
from srm_ray.rl.advantages import has_signal
from srm_ray.rl.types import Prompt
from srm_ray.runs import rollout_log
from srm_ray.training.algorithm import algorithm_of


async def write_graded_rollouts(
    config: GRPOConfig, info: ModelInfo, prompts: list[Prompt], rollouts: Path, *, context: int
) -> dict[str, int]:
    """Sample rollout.group_size completions of each prompt with the sampler and graders of `config`.

    rollouts: the folder of `srm_ray.runs.rollout_log`. Ray must be initialised. Returns counts:
    prompts, completions, correct, tokens (sampled), groups_with_signal (right and wrong completions).
    """
    async with Sampler(config, info, context=context) as sampler:
        scored = await asyncio.gather(*(sampler.graded(prompt) for prompt in prompts))
    algorithm = algorithm_of(config.algorithm, config.loss)
    groups = [algorithm.with_advantages(group) for group in scored]
    informative = [group for group in groups if has_signal(group.rewards)]
    rollout_log.write(rollouts, 1, groups, {(group.prompt.index, group.draw) for group in informative})
    return {
        "prompts": len(groups),
        "completions": sum(len(group.completions) for group in groups),
        "correct": sum(reward.correct is True for group in groups for reward in group.rewards),
        "tokens": sum(len(completion.token_ids) for group in groups for completion in group.completions),
        "groups_with_signal": len(informative),
    }
