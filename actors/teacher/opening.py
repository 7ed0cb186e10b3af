"""A run's teacher: checked before any worker starts, then made.

config.teacher --settle--> dtype; vocabulary, lengths and cache checked --open_teacher--> Teacher
"""

from typing import TYPE_CHECKING

from actors.rollout.engine_spec import EngineSpec, spec_of
from actors.rollout.pool import RolloutPool, TimeLimits
from actors.rollout.scoring import ScoringWorker
from actors.runtime.compute import settle_engine
from actors.runtime.placement import Need, Places, resources
from actors.runtime.pool import OnEvent, PoolOptions
from actors.teacher.scoring import EndpointTeacher, EngineTeacher, Teacher
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.lengths import option
from srm_ray.console.progress import phase
from srm_ray.errors import UserError
from srm_ray.inference.prompt_scores import ScoringClient
from srm_ray.model.adapters import plain_model

if TYPE_CHECKING:
    from srm_ray.model.loading import ModelInfo

ENDPOINT = "teacher.endpoint"


def has_engines(config: GRPOConfig) -> bool:
    """Whether the run starts engines for its teacher: a record that is replayed has the scores already."""
    return bool(config.teacher.model and not config.replay)


def engine_context(config: GRPOConfig, context: int) -> int:
    """Tokens: what is scored, and one that the engine has to sample."""
    return config.teacher.max_model_len or context + 1


def settle(config: GRPOConfig, info: "ModelInfo", context: int) -> GRPOConfig:
    """The config with the dtype of the teacher's engines. Raises `UserError`, in one line, where its vocabulary is not
    that of the policy `info`, or a prompt and completion, `context` tokens, do not fit into it."""
    from srm_ray.model.loading import check_cache, open_named, require_attention
    from srm_ray.model.vocabulary import check_same

    if not has_engines(config):
        return config
    options = config.teacher
    teacher = open_named("--teacher.model", options.model)
    require_attention(teacher, "--teacher.model")
    check_same(info.tokenizer, teacher.tokenizer, f"--teacher.model {options.model}")
    needed = engine_context(config, context)
    if not context < needed <= teacher.context:
        raise UserError(
            f"--teacher.model {options.model} must take {context + 1} tokens, prompt and completion "
            f"({option('rollout.max_model_len', context, config.origins)}) and one more; it has {teacher.context} "
            f"({teacher.context_stated_by}), teacher.max_model_len {options.max_model_len}: lower rollout.max_model_len"
        )
    chosen = settle_engine(options, teacher.path, quiet=True)
    options = options.model_copy(update={"dtype": chosen})
    check_cache(options, needed, teacher, config.origins, "teacher")
    return config.model_copy(update={"teacher": options})


async def check_endpoint(config: GRPOConfig, info: "ModelInfo") -> None:
    """Raises `UserError` where the teacher's server does not answer, or has another vocabulary."""
    url = config.teacher.endpoint.url
    if url and not config.replay:
        with phase(f"asking {url} whether its vocabulary is the policy's"):
            async with ScoringClient(config.teacher.endpoint, ENDPOINT) as client:
                await client.check(info.tokenizer)


def need(config: GRPOConfig) -> Need:
    options = config.teacher
    return Need(options.workers, resources(options.cpus, options.gpus), "sampling")


def engine_spec(config: GRPOConfig, context: int) -> EngineSpec:
    options = config.teacher
    return spec_of(
        options,
        plain_model(options.model),
        engine_context(config, context),
        (),
        seed=config.seed,
        workers=options.workers,
        role="teacher",
        top=options.top_k,
    )


def open_teacher(
    config: GRPOConfig, places: dict[str, Places], on_event: OnEvent, policy: RolloutPool, context: int
) -> Teacher | None:
    """None where nobody scores. places: by role. policy: the pool that is its own teacher, where it is one."""
    options = config.teacher
    if config.replay or not options.teaches:
        return None
    if options.endpoint.url:
        return EndpointTeacher(ScoringClient(options.endpoint, ENDPOINT), top_k=options.top_k)
    if options.demonstration:
        return EngineTeacher(policy, top_k=options.top_k, own=False)
    pool = RolloutPool(
        PoolOptions(places["teacher"], (options.workers, options.workers), config.recovery, on_event),
        engine_spec(config, context),
        limits=TimeLimits(options.start_timeout, start_option="teacher.start_timeout"),
        worker_class=ScoringWorker,
    )
    return EngineTeacher(pool, top_k=options.top_k, own=True)
