"""Before a run: is the environment one, and do its first rows begin? In processes of the driver's own."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from actors.environment.episodes import EpisodePlan, Episodes, unlike
from srm_ray.config.environment import EnvironmentConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.environments.contract import BadEnvironment, Contract
from srm_ray.environments.episode import Limits
from srm_ray.environments.prompts import row_of
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.sessions import EnvironmentSpec, EpisodeFailed, Sessions
from srm_ray.errors import UserError
from srm_ray.model.loading import ModelInfo
from srm_ray.rl.seeds import environment_seed
from srm_ray.rl.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def spec_of(config: GRPOConfig) -> EnvironmentSpec:
    options = config.environment
    return EnvironmentSpec(
        name=options.name,
        tools=tuple(config.tools),
        timeout=options.timeout,
        memory=int(options.memory_gb * (1 << 30)),
        characters=options.max_characters,
        at_once=options.at_once,
        python=os.path.abspath(os.path.expanduser(options.python)) if options.python else "",
    )


def option_of(spec: EnvironmentSpec) -> str:
    return "--environment" if spec.name else "--tools"


async def contract_of(config: GRPOConfig) -> Contract | None:
    """What the run's environment takes and offers; None where it has none. Raises `UserError`."""
    if not config.plays_episodes:
        return None
    spec = spec_of(config)
    sessions = Sessions(spec)
    try:
        contract = await sessions.start()
    except BadEnvironment as error:
        raise UserError(f"{option_of(spec)}: {error}") from None
    finally:
        sessions.close()
    if contract.rewards and config.reward.function:
        raise UserError(
            f"--environment {spec.name} has a reward of its own, and --reward {config.reward.function} would not be "
            "asked: leave one of them out"
        )
    return contract


def renderer_of(
    options: EnvironmentConfig, contract: Contract, tokenizer: "PreTrainedTokenizerFast", stops: Sequence[int]
) -> TurnRenderer:
    """Raises `UserError` where the chat template cannot serve."""
    return TurnRenderer(
        tokenizer, stops, contract.kind, contract.tools, calls=options.calls, describe=options.describe_tools
    )


def plan_of(config: GRPOConfig, info: ModelInfo, contract: Contract, prompt_limit: int) -> EpisodePlan:
    """How the run's episodes are played. Raises `UserError` where the chat template cannot serve."""
    options, spec = config.environment, spec_of(config)
    renderer = renderer_of(options, contract, info.tokenizer, info.stop_token_ids)
    limits = Limits(options.max_turns, options.max_turn_tokens, config.rollout.max_new_tokens)
    return EpisodePlan(spec, contract, renderer, limits, prompt_limit, config.reward.threshold)


async def rehearse(plan: EpisodePlan, prompts: Sequence[Prompt], seed: int) -> None:
    """Begin two episodes of each prompt. Raises `UserError` where that fails, or where they begin differently."""
    sessions = Sessions(plan.spec)
    named = f"{option_of(plan.spec)} {plan.spec.name or ','.join(plan.spec.tools)}"
    try:
        await sessions.start()
        for prompt in prompts:
            begun = []
            for _ in range(2):
                session = await sessions.open()
                try:
                    observation = await session.reset(row_of(prompt), environment_seed(seed, prompt.index))
                    begun.append(Episodes(plan, None).start(prompt, observation).token_ids)  # type: ignore[arg-type]
                finally:
                    await sessions.end_of(session)
            if begun[0] != begun[1]:
                raise UserError(unlike(plan.spec.name))
    except EpisodeFailed as failed:
        raise UserError(f"{named}: {failed.detail} (with the columns {', '.join(row_of(prompt)) or 'none'})") from None
    finally:
        sessions.close()
