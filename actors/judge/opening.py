"""A run's judge: an endpoint, or a frozen model's engines; the verdicts are `srm_ray.distillation.judging`'s.

config.reward.judge --settle--> dtype, context; its cache checked --open_judge--> JudgeWorkers
Group --> JudgeWorkers.verdicts --> Judge --messages--> Endpoint, or EngineAsked --> RolloutPool of its own
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actors.rollout.engine_spec import spec_of
from actors.rollout.pool import RolloutPool, TimeLimits
from actors.rollout.scoring import PoolCompleter
from actors.runtime.compute import settle_engine
from actors.runtime.placement import Need, Places, resources
from actors.runtime.pool import OnEvent, PoolOptions
from rewards.sandbox.processes import Failure
from rewards.user import Own
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.lengths import PROMPT, option
from srm_ray.distillation.endpoint import Endpoint
from srm_ray.distillation.judging import Judge
from srm_ray.distillation.ledger import REFUSED, Answer
from srm_ray.errors import UserError
from srm_ray.inference.completers import ContextOverflow, Sampling
from srm_ray.rl.types import Group

if TYPE_CHECKING:
    from srm_ray.model.loading import ModelInfo

OPTION = "--reward.judge.model"


class EngineAsked:
    """The engines of a judge's model, which answer greedily."""

    def __init__(self, pool: RolloutPool, info: "ModelInfo", max_new_tokens: int) -> None:
        self.pool, self.sampling = pool, Sampling(0.0, max_new_tokens)
        self.completer = PoolCompleter(self._ready, info.tokenizer, pool.spec.max_model_len)

    async def _ready(self) -> RolloutPool:
        return self.pool

    async def answer(self, messages: Sequence[dict[str, str]], seed: int) -> Answer:
        """A question too long for the judge's context is one that it refuses."""
        try:
            (one,) = await self.completer.answer(list(messages), (seed,), self.sampling)
        except ContextOverflow:
            return Answer("", REFUSED, 0, 0)
        return Answer(one.text, "length" if one.truncated else "stop", 0, one.tokens)


class JudgeWorkers:
    """`start` before anything else, `close` whatever happens."""

    def __init__(self, judge: Judge, model: "Endpoint | RolloutPool") -> None:
        self.judge, self.model = judge, model
        self.open = False

    async def start(self) -> None:
        if isinstance(self.model, RolloutPool):
            await self.model.start()
        else:
            await self.model.__aenter__()
        self.open = True

    async def verdicts(self, group: Group) -> list[Own | Failure]:
        return await self.judge.verdicts(group)

    def describe(self) -> dict[str, float]:
        return self.judge.describe()

    async def close(self) -> None:
        self.judge.close()
        if isinstance(self.model, RolloutPool):
            await self.model.close()
        elif self.open:
            await self.model.__aexit__()


def has_engines(config: GRPOConfig) -> bool:
    return bool(config.reward.judge.model and not config.replay)


def settle(config: GRPOConfig) -> GRPOConfig:
    """The config with dtype and context of the judge's engines. Raises `UserError`, in one line, where its model is
    none, or its cache does not hold one question."""
    from srm_ray.model.loading import check_cache, open_named, require_attention

    if not has_engines(config):
        return config
    options = config.reward.judge
    info = open_named(OPTION, options.model)
    require_attention(info, OPTION)
    context = options.max_model_len or min(info.context, options.max_new_tokens + 2 * PROMPT)
    if not options.max_new_tokens < context <= info.context:
        raise UserError(
            f"{OPTION} {options.model} has {info.context} tokens ({info.context_stated_by}), for a question "
            f"and {option('reward.judge.max_new_tokens', options.max_new_tokens, config.origins)} of an answer; "
            f"reward.judge.max_model_len {options.max_model_len}: lower reward.judge.max_new_tokens"
        )
    chosen = settle_engine(options, info.path, quiet=True)
    options = options.model_copy(update={"dtype": chosen, "max_model_len": context})
    check_cache(options, context, info, config.origins, "reward.judge")
    return config.model_copy(update={"reward": config.reward.model_copy(update={"judge": options})})


def need(config: GRPOConfig) -> Need:
    options = config.reward.judge
    return Need(options.workers, resources(options.cpus, options.gpus), "sampling")


def open_judge(config: GRPOConfig, places: dict[str, Places], on_event: OnEvent, folder: Path) -> JudgeWorkers | None:
    """None where nobody judges. config: settled."""
    options = config.reward.judge
    if config.replay or not options.judges:
        return None
    if options.endpoint.url:
        limit = options.max_new_tokens
        endpoint = Endpoint(options.endpoint, temperature=0.0, max_new_tokens=limit, option="reward.judge.endpoint")
        return JudgeWorkers(Judge(options, endpoint, folder), endpoint)
    from srm_ray.model.loading import open_named

    info = open_named(OPTION, options.model)
    pool = RolloutPool(
        PoolOptions(places["judge"], (options.workers, options.workers), config.recovery, on_event),
        spec_of(
            options,
            info.path,
            options.max_model_len,
            info.stop_token_ids,
            seed=config.seed,
            workers=options.workers,
            role="judge",
        ),
        limits=TimeLimits(options.start_timeout, start_option="reward.judge.start_timeout"),
    )
    return JudgeWorkers(Judge(options, EngineAsked(pool, info, options.max_new_tokens), folder), pool)
