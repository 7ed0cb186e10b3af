"""The optimizer's options, under the same names in every config that trains: `optim` of the stages, `learner` of GRPO.

Each stage adds what is its own (how a step is divided, where ranks run) and may set other defaults.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from srm_ray.config.base import Section
from srm_ray.config.lora import ALL_LINEAR
from srm_ray.config.precision import PRECISION, Precision


class OptimizerConfig(Section):
    """AdamW, its schedule, and how the model is held while it trains."""

    lr: float = Field(3e-4, gt=0, description="peak learning rate of AdamW")
    floor: float = Field(0.1, ge=0, le=1, description="learning rate at the end, as a share of the peak")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="shape after warm-up")
    schedule_steps: int = Field(
        0,
        ge=0,
        description="steps that the schedule is made for, past which the rate stays at `floor`: a run done in parts is "
        "then one run; 0: those of the run, and one that is given more goes on at the rates of one planned that long",
    )
    warmup: float = Field(0.02, ge=0, lt=1, description="share of the schedule's steps that warm up linearly")
    warmup_steps: int = Field(0, ge=0, description="steps that warm up; 0: as `warmup` says")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's betas")
    eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    weight_decay: float = Field(0.1, ge=0, description="decoupled weight decay, on matrices only")
    clip_grad: float = Field(1.0, gt=0, description="gradient norm is clipped to this")
    adam_bits: Annotated[Literal[32, 8], BeforeValidator(int)] = Field(
        32, description="8: bitsandbytes' 8-bit AdamW (needs bitsandbytes)"
    )
    offload_optimizer: bool = Field(
        False, description="keep optimizer state in CPU memory (ZeRO-Offload; zero_stage 1 or above)"
    )
    zero_stage: int = Field(0, ge=0, le=3, description="DeepSpeed ZeRO stage")
    precision: Precision = Field("auto", description=PRECISION)
    activation_checkpointing: bool = Field(False, description="recompute activations in the backward pass")

    @field_validator("betas")
    @classmethod
    def _decay(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and below 1")
        return betas

    @model_validator(mode="after")
    def _offload_fits(self):
        if self.offload_optimizer and not self.zero_stage:
            raise ValueError("offload_optimizer true wants zero_stage 1 or above (got 0)")
        if self.offload_optimizer and self.adam_bits == 8:
            raise ValueError("offload_optimizer true keeps 32 bits in CPU memory (got adam_bits 8)")
        return self


# All linear layers of the models that were tried, when `lora.targets` had no word for them.
FORMER_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def current_options(saved: dict[str, Any]) -> dict[str, Any]:
    """Options of a saved config, by dotted name, with those that have been renamed under their names of today.

    Before, the stages had `optim.clip`, `optim.beta1`, `optim.beta2` and `lora.r`, and GRPO `loss.name` alone for its
    algorithm and the ratio against the learner alone.
    """
    found = dict(saved)
    if isinstance(saved.get("loss.name"), str) and not saved.get("algorithm.name"):
        found |= {"algorithm.name": saved["loss.name"], "loss.name": ""}
    if "loss.name" in saved:
        found.setdefault("loss.ratio_against", "learner")
    for key in saved:
        section, _, name = key.rpartition(".")
        if name == "r" and section.endswith("lora"):
            found[f"{section}.rank"] = found.pop(key)
            if found.get(f"{section}.targets") == FORMER_TARGETS:
                found[f"{section}.targets"] = [ALL_LINEAR]
        if name == "clip" and section.endswith("optim"):
            found[f"{section}.clip_grad"] = found.pop(key)
        if name == "beta1" and section.endswith("optim"):
            found[f"{section}.betas"] = [found.pop(key), found.pop(f"{section}.beta2")]
    return found
