"""What a learner rank is made from: its options, and the config that DeepSpeed gets from them."""

from dataclasses import dataclass
from typing import Any

from srm_ray.config.grpo import LearnerConfig, LossConfig


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """model: Hugging Face folder or hub name. temperature: the sampler's. threads: of one rank.

    publish_dtype: of published weights, torch's name; empty: that of the learner's own. transport: "pull" or "ipc".
    """

    model: str
    learner: LearnerConfig
    loss: LossConfig
    temperature: float
    seed: int
    threads: int
    publish_dtype: str = ""
    transport: str = "pull"


def engine_config(options: LearnerConfig) -> dict[str, Any]:
    """DeepSpeed's config. Accumulation is steered by hand (`set_gradient_accumulation_boundary`)."""
    zero: dict[str, Any] = {"stage": options.zero_stage}
    if options.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": options.clip_grad,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": options.precision == "bfloat16"},
        "fp16": {"enabled": options.precision == "float16"},
        "steps_per_print": 1 << 30,
    }
