"""Options of `python -m srm_ray.distill`."""

from pydantic import Field, model_validator

from srm_ray.config.base import CHAT_TEMPLATE, StageConfig
from srm_ray.config.data import DataConfig
from srm_ray.config.endpoints import EndpointConfig
from srm_ray.config.environment import EnvironmentConfig, PlaysEpisodes, Tools
from srm_ray.config.grpo import GRPOConfig, RewardConfig, RolloutConfig


class DistillConfig(StageConfig, PlaysEpisodes):
    """Options of `python -m srm_ray.distill`."""

    chat_template: str = Field("", description=CHAT_TEMPLATE)
    samples: int = Field(1, ge=1, description="completions asked for each prompt")
    limit: int = Field(0, ge=0, description="prompts; 0: one pass over the data")
    per_prompt: int = Field(0, ge=0, description="accepted completions kept of one prompt; 0: all that differ")
    budget: float = Field(0.0, ge=0, description="dollars after which nothing more is asked; 0: no limit")
    inspect: int = Field(0, ge=0, description="print this many problems with their gold and grader, then stop")
    keep_system: bool = Field(False, description="keep data.system, which the teacher has, in the SFT data too")
    environment: EnvironmentConfig = Field(EnvironmentConfig(), description="what the teacher plays with, as grpo's")
    tools: Tools = Field([], description="functions that it may call, package.module:function,...")
    endpoint: EndpointConfig = EndpointConfig()
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()

    @model_validator(mode="after")
    def _one_teacher(self):
        if bool(self.model) == bool(self.endpoint.url):
            given = f"got {self.model!r} and {self.endpoint.url!r}"
            raise ValueError(f"one teacher is needed: --model (a local one) or --endpoint.url ({given})")
        if self.budget and not (self.endpoint.price_in or self.endpoint.price_out):
            raise ValueError(f"budget needs endpoint.price_in or endpoint.price_out (got budget {self.budget:g})")
        if self.reward.judge.judges:
            raise ValueError("reward.judge holds in srm_ray.grpo alone: grade with the graders, a function or a model")
        return self

    def sampling(self) -> GRPOConfig:
        """The parts that the rollout and reward workers read."""
        return GRPOConfig(
            model=self.model,
            seed=self.seed,
            inspect=self.inspect,
            data=self.data,
            environment=self.environment,
            tools=self.tools,
            rollout=self.rollout,
            reward=self.reward,
        )
