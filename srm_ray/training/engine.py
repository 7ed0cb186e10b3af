"""The DeepSpeed engine of a supervised or preference stage: model, optimizer, precision, whole weights.

DeepSpeed holds FP32 parameters (the master weights); with bf16_autocast the model's own forward pass computes in BF16,
entered inside the module, not around the engine, so that gradients are reduced over ranks in FP32.
"""

from typing import Any

from srm_ray.training.job import TrainSpec
from srm_ray.training.objectives import loss_module


def start_engine(job: TrainSpec, world: int) -> Any:
    """Load the model and hand it, with its optimizer, to DeepSpeed."""
    import logging

    import deepspeed
    from deepspeed.utils import logger

    from srm_ray.model.adapters import load_policy
    from srm_ray.training import saved_state
    from srm_ray.training.deepspeed_ops import no_compiled_collectives
    from srm_ray.training.losses import backbone_of

    logger.setLevel(logging.ERROR)
    no_compiled_collectives()
    model = load_policy(job.model, job.adapter, attention=job.attention, liger=job.liger, precision=job.precision)
    if job.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if job.compile:
        backbone_of(model).compile()
    model.train()
    module = loss_module(model, job)
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=make_optimizer(module, job), config=deepspeed_config(job, world)
    )
    saved_state.read_as_data(engine)
    return engine


def make_optimizer(module: Any, job: TrainSpec) -> Any:
    from srm_ray.training.schedule import decay_groups

    groups = decay_groups(module, job.weight_decay)
    options: dict[str, Any] = {"lr": job.schedule.at(0), "betas": job.betas, "eps": job.eps}
    if job.adam_bits == 8:
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(groups, **options)
    import torch

    return torch.optim.AdamW(groups, fused=True, **options)


def clips_itself(job: TrainSpec) -> bool:
    """Without ZeRO and reduced weights DeepSpeed clips but does not tell the norm, so the rank does both."""
    return job.zero_stage == 0 and job.precision in ("float32", "bf16_autocast")


def deepspeed_config(job: TrainSpec, world: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": job.micro_batch,
        "gradient_accumulation_steps": -(-job.batch // (job.micro_batch * world)),
        "gradient_clipping": 0.0 if clips_itself(job) else job.clip,
        "zero_optimization": {"stage": job.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": job.precision == "bfloat16"},
        "fp16": {"enabled": job.precision == "float16"},
        "steps_per_print": 1_000_000_000,
    }


def full_weights(engine: Any, rank: int) -> dict[str, Any]:
    """Name -> whole FP32 tensor on rank 0, of the trained weights where there is an adapter. Collective."""
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    masters = engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled()
    adapted = hasattr(engine.module.model, "peft_config")
    for name, weight in engine.module.model.named_parameters():
        if adapted and not weight.requires_grad:
            continue
        full = safe_get_full_fp32_param(weight) if masters else weight
        if rank == 0:
            weights[name] = full.detach().float().cpu().contiguous()
    return weights
