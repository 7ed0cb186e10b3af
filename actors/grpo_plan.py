"""`--dry-run` of GRPO: the model, the memory of each kind of process, and whether this machine or cluster has it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.grpo_run import open_model
from actors.runtime.cluster import disconnect
from actors.runtime.compute import settle_run
from actors.train.memory import GIB, cluster, memory, size_of
from actors.worker_groups import needs
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.lengths import Lengths
from srm_ray.config.stages import LoraConfig
from srm_ray.console.progress import say
from srm_ray.model.loading import cache_values

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from srm_ray.model.loading import ModelInfo

# GiB of a process before it holds a model: the interpreter, Ray, PyTorch, vLLM (measured on Linux, x86-64).
BARE = {"driver": 0.7, "learner": 0.9, "rollout": 1.1, "reward": 0.4, "environment": 0.4}


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
        return show_plan(*open_model(config, settle_run))
    finally:
        disconnect()


def show_plan(config: GRPOConfig, info: "ModelInfo", lengths: Lengths) -> int:
    from transformers import AutoConfig

    model_config = AutoConfig.from_pretrained(info.path, trust_remote_code=False)
    parameters = size_of(model_config, LoraConfig()).parameters
    say(f"parameters     {parameters:,}")
    say(f"lengths        {lengths.context} tokens, at most {lengths.completion} of them the completion's")
    completions = config.prompts_per_step * config.rollout.group_size
    say(
        f"step           {config.prompts_per_step} groups of {config.rollout.group_size}: {completions:,} completions, "
        f"at most {completions * lengths.completion:,} tokens to learn from"
    )
    parts = parts_of(config, model_config)
    for part in parts:
        say(f"{part.role:<14} {part.count} x {part.gib:6.2f} GiB  {part.what}")
    for role, need in needs(config).items():
        asked = ", ".join(f"{amount:g} {name}" for name, amount in need.each.items()) or "nothing"
        say(f"reserved       {need.count} x {asked} for {role}")
    if config.rollout.gpus or config.learner.gpus:
        largest = max(part.gib - BARE[part.role] for part in parts if part.role in ("learner", "rollout"))
        say(f"cluster        {cluster(config.learner.workers, largest * GIB)}")
    else:
        say(f"all            {sum(part.count * part.gib for part in parts):.2f} GiB on one machine")
        say(f"cluster        {cluster(1, sum(part.count * part.gib for part in parts) * GIB)}")
    return 0


def parts_of(config: GRPOConfig, model_config: "PretrainedConfig") -> list[Part]:
    """Every kind of process that the run starts with."""
    learner, rollout = config.learner, config.rollout
    size = size_of(model_config, LoraConfig())
    trained = memory(size, learner, workers=learner.workers, tokens=learner.micro_batch_tokens).total
    width = 4 if rollout.dtype == "float32" else 2
    pushed = width * size.parameters
    frozen = 4 * size.parameters if config.loss.kl_beta else 0
    cache = rollout.kv_cache_gb * GIB
    if rollout.gpus:
        cache = rollout.max_num_seqs * rollout.max_model_len * cache_values(model_config) * width
    counts = {role: need.count for role, need in needs(config).items()}
    whats = {
        "driver": (0, "the loop"),
        "learner": (trained + pushed + frozen, "weights, gradients, optimizer, activations, the copy that is pushed"),
        "rollout": (width * size.parameters + cache, f"weights, KV cache of {cache / GIB:.2f} GiB"),
        "reward": (0, "graders and their processes"),
        "environment": (0, "episodes and their processes"),
    }
    return [
        Part(role, counts.get(role, 1), BARE[role] + need / GIB, what)
        for role, (need, what) in whats.items()
        if role == "driver" or role in counts
    ]
