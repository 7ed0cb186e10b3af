"""Options of low-rank adapters, under the same names wherever one is trained: `lora` of the stages, `learner.lora` of
GRPO."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from srm_ray.config.base import Section, comma_separated

ALL_LINEAR = "all-linear"
RATE = 10.0  # an adapter's learning rate over that of all weights


def times(rate: float, factor: float) -> float:
    """The product as a person writes it: 7.5e-5 times ten is 0.00075."""
    return float(f"{rate * factor:.12g}")


class LoraConfig(Section):
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = Field(0, ge=0, description="rank of the adapters; 0: train all weights")
    alpha: int = Field(32, ge=1, description="scale of the adapters is alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in front of the adapters")
    targets: list[str] = Field(
        [ALL_LINEAR],
        min_length=1,
        description="names of the layers that get an adapter, e.g. q_proj,v_proj; all-linear: every linear layer but "
        "the output head",
    )
    quantise: Literal["none", "nf4"] = Field("none", description="nf4: base weights in 4 bits (QLoRA, bitsandbytes)")

    @field_validator("targets", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return comma_separated(value)

    @model_validator(mode="after")
    def _quantised_base_needs_adapters(self):
        if self.quantise != "none" and self.rank == 0:
            raise ValueError(f"lora.quantise {self.quantise} trains adapters only: set lora.rank (got {self.rank})")
        return self


class PolicyLora(LoraConfig):
    """Adapters of a policy that is sampled while it learns."""

    push: Literal["adapter", "merged"] = Field(
        "adapter",
        description="what goes to the rollout workers: adapter: it alone, merged there into the base, which they keep; "
        "merged: all weights",
    )
    final: Literal["adapter", "merged"] = Field(
        "adapter", description="what final/ holds: the adapter, or plain weights with it merged in"
    )

    @model_validator(mode="after")
    def _samples_what_it_learns(self):
        if self.dropout:
            raise ValueError(
                f"learner.lora.dropout must be 0 (got {self.dropout:g}): the engines that sample know no dropout, and "
                "their log-probabilities are held against the learner's"
            )
        return self
