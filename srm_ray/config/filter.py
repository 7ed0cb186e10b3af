"""Options of `python -m srm_ray.filter`: those of GRPO, and which problems to keep."""

from pydantic import Field, model_validator

from srm_ray.config.base import Section
from srm_ray.config.grpo import GRPOConfig


class KeepConfig(Section):
    """Which problems are kept, by how many of their rollout.group_size completions are right."""

    low: int = Field(1, ge=0, description="fewest right completions")
    high: int = Field(7, ge=0, description="most right completions")
    limit: int = Field(0, ge=0, description="problems to try; 0: one pass over the data")


class FilterConfig(GRPOConfig):
    """Options of `python -m srm_ray.filter`: any config of GRPO fits."""

    keep: KeepConfig = KeepConfig()

    @model_validator(mode="after")
    def _bounds(self):
        low, high, size = self.keep.low, self.keep.high, self.rollout.group_size
        if not low <= high <= size:
            raise ValueError(f"keep.low, keep.high and rollout.group_size must rise (got {low}, {high} and {size})")
        if self.plays_episodes:
            raise ValueError(
                "problems are filtered by completions of one turn: leave environment and tools out "
                f"(got {self.environment.name or ','.join(self.tools)})"
            )
        return self
