"""`--dry-run` of GRPO: the model, the memory of each kind of process, and whether this machine or cluster has it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.grpo_run import adapter_of, open_model, settle_untrained
from actors.judge import opening as judge
from actors.runtime.cluster import disconnect
from actors.runtime.compute import settle_run
from actors.teacher import opening as teacher
from actors.train.memory import GIB, ModelSize, cluster, memory, size_of
from actors.worker_groups import needs
from srm_ray.config.engine import EngineConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.lengths import Lengths
from srm_ray.config.lora import LoraConfig
from srm_ray.console.progress import echo
from srm_ray.model.adapters import plain_model
from srm_ray.model.loading import cache_values, open_named

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from srm_ray.model.loading import ModelInfo

ENGINES = ("rollout", "teacher", "judge")
# GiB of a process before it holds a model: the interpreter, Ray, PyTorch, vLLM (measured on Linux, x86-64).
BARE = {"driver": 0.7, "learner": 0.9, "reward": 0.4, "environment": 0.4} | dict.fromkeys(ENGINES, 1.1)
LIBRARIES = 0.4  # GiB of PyTorch and transformers in a grader's process


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of process. gib: of one of them. what: it is made of."""

    role: str
    count: int
    gib: float
    what: str


def show(config: GRPOConfig) -> int:
    """Print the plan; exit status 0. Starts nothing but, where no model is named, what makes the base model."""
    try:
        config, info, lengths = open_model(config, settle_run)
        return show_plan(settle_untrained(config, info, lengths.context), info, lengths)
    finally:
        disconnect()


def show_plan(config: GRPOConfig, info: "ModelInfo", lengths: Lengths) -> int:
    model_config = config_of(info.path)
    adapter_of(config, info)
    size = size_of(model_config, config.learner.lora)
    echo(f"parameters     {size.parameters:,}" + (f" ({size.trained:,} trained)" if config.learner.lora.rank else ""))
    echo(f"lengths        {lengths.context} tokens, at most {lengths.completion} of them the completion's")
    completions = config.prompts_per_step * config.rollout.group_size
    echo(
        f"step           {config.prompts_per_step} groups of {config.rollout.group_size}: {completions:,} completions, "
        f"at most {completions * lengths.completion:,} tokens to learn from"
    )
    parts = parts_of(config, model_config)
    base, each = pushed_bytes(config, size)
    echo(f"push           {each / 1e6:,.1f} MB a step" + (f", {base / 1e6:,.1f} MB once" if base else ""))
    for part in parts:
        echo(f"{part.role:<14} {part.count} x {part.gib:6.2f} GiB  {part.what}")
    for role, need in needs(config).items():
        asked = ", ".join(f"{amount:g} {name}" for name, amount in need.each.items()) or "nothing"
        echo(f"reserved       {need.count} x {asked} for {role}")
    if config.rollout.gpus or config.learner.gpus:
        on_cards = ("learner", *ENGINES)
        largest = max(part.gib - BARE[part.role] for part in parts if part.role in on_cards)
        echo(f"cluster        {cluster(config.learner.workers, largest * GIB)}")
    else:
        echo(f"all            {sum(part.count * part.gib for part in parts):.2f} GiB on one machine")
        echo(f"cluster        {cluster(1, sum(part.count * part.gib for part in parts) * GIB)}")
    return 0


def parts_of(config: GRPOConfig, model_config: "PretrainedConfig") -> list[Part]:
    """Every kind of process that the run starts with."""
    learner, rollout = config.learner, config.rollout
    size = size_of(model_config, learner.lora)
    trained = memory(size, learner, workers=learner.workers, tokens=learner.micro_batch_tokens).total
    base, each = pushed_bytes(config, size)
    pushed = base + 2 * each  # two copies in turn
    frozen = 4 * size.parameters if config.loss.kl_beta and not learner.lora.rank else 0
    counts = {role: need.count for role, need in needs(config).items()}
    whats = {
        "driver": (0, "the loop"),
        "learner": (
            trained + pushed + frozen,
            "weights, gradients, optimizer, activations, copies that are pushed",
        ),
        "rollout": of_engine(rollout, model_config, rollout.max_model_len),
        "teacher": of_teacher(config),
        "judge": of_judge(config),
        "reward": of_graders(config),
        "environment": (0, "episodes and their processes"),
    }
    return [
        Part(role, counts.get(role, 1), BARE[role] + need / GIB, what)
        for role, (need, what) in whats.items()
        if role == "driver" or role in counts
    ]


def of_engine(options: EngineConfig, model_config: "PretrainedConfig", context: int) -> tuple[float, str]:
    """Bytes of an engine, and what they are."""
    width = 4 if options.dtype == "float32" else 2
    cache = options.kv_cache_gb * GIB
    if options.gpus:
        cache = options.max_num_seqs * context * cache_values(model_config) * width
    weights = width * size_of(model_config, LoraConfig()).parameters
    return weights + cache, f"weights, KV cache of {cache / GIB:.2f} GiB"


def of_teacher(config: GRPOConfig) -> tuple[float, str]:
    """Bytes of one of the teacher's engines, and what they are; 0 where it has none."""
    if not teacher.has_engines(config):
        return 0, ""
    context = teacher.engine_context(config, config.rollout.max_model_len)
    model_config = config_of(plain_model(config.teacher.model))
    engine, what = of_engine(config.teacher, model_config, context)
    logits = 2 * 4 * context * model_config.vocab_size  # of a whole prompt at once, and their log-softmax
    return engine + logits, f"{what}, logits of {logits / GIB:.2f} GiB"


def of_judge(config: GRPOConfig) -> tuple[float, str]:
    """Bytes of one of the judge's engines, and what they are; 0 where it has none."""
    if not judge.has_engines(config):
        return 0, ""
    options = config.reward.judge
    return of_engine(options, config_of(open_named(judge.OPTION, options.model).path), options.max_model_len)


def of_graders(config: GRPOConfig) -> tuple[float, str]:
    """Bytes of a reward worker beside its own, and what they are: each process of a reward model holds it in FP32."""
    path = config.reward.model.path
    if not path:
        return 0, "graders and their processes"
    weights = 4 * size_of(config_of(path), LoraConfig()).parameters
    each = weights + LIBRARIES * GIB
    return (
        config.reward.processes * each,
        f"graders and their processes, a reward model of {each / GIB:.2f} GiB in each",
    )


def config_of(model: str) -> "PretrainedConfig":
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(model, trust_remote_code=False)


def pushed_bytes(config: GRPOConfig, size: ModelSize) -> tuple[int, int]:
    """What goes to the rollout workers once, and with each step."""
    lora, whole = config.learner.lora, (4 if config.rollout.dtype == "float32" else 2) * size.parameters
    return (0, whole) if lora.rank == 0 or lora.push == "merged" else (whole, 4 * size.trained)
