"""Options of `python -m srm_ray.distill`."""

from typing import Any

from pydantic import Field, model_validator

from srm_ray.config.base import CHAT_TEMPLATE, Section, StageConfig
from srm_ray.config.data import DataConfig
from srm_ray.config.endpoints import Address, KeyVariable
from srm_ray.config.environment import EnvironmentConfig, Tools
from srm_ray.config.grpo import GRPOConfig, RewardConfig, RolloutConfig


class EndpointConfig(Section):
    """An OpenAI-compatible server to ask, in place of a local model."""

    url: Address = Field("", description="its address, e.g. http://localhost:8000/v1; empty: --model answers, here")
    model: str = Field("", description="name of the model there; empty: the only one that it serves")
    key: KeyVariable = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key, where one is needed"
    )
    concurrency: int = Field(16, ge=1, description="requests under way at once")
    timeout: float = Field(600, gt=0, description="seconds that one completion may take")
    attempts: int = Field(6, ge=1, description="times that a request is tried which fails for a reason that may pass")
    backoff: float = Field(1.0, ge=0, description="seconds before the second attempt, doubled for each further one")
    body: dict[str, Any] = Field({}, description="further fields of each request, e.g. {top_p: 0.95}")
    price_in: float = Field(0.0, ge=0, description="price of a million prompt tokens, dollars")
    price_out: float = Field(0.0, ge=0, description="price of a million completion tokens, dollars")


class DistillConfig(StageConfig):
    """Everything that `python -m srm_ray.distill` can be told."""

    chat_template: str = Field("", description=CHAT_TEMPLATE)
    samples: int = Field(1, ge=1, description="completions asked for each prompt")
    limit: int = Field(0, ge=0, description="prompts; 0: one pass over the data")
    per_prompt: int = Field(0, ge=0, description="accepted completions kept of one prompt; 0: all that differ")
    budget: float = Field(0.0, ge=0, description="dollars after which nothing more is asked; 0: no limit")
    inspect: int = Field(0, ge=0, description="print this many problems with their gold and grader, then stop")
    keep_system: bool = Field(False, description="keep data.system, which the teacher is told, in the SFT data too")
    environment: EnvironmentConfig = Field(EnvironmentConfig(), description="what an endpoint plays with, as grpo's")
    tools: Tools = Field([], description="functions that it may call, package.module:function,...")
    endpoint: EndpointConfig = EndpointConfig()
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()

    @property
    def plays_episodes(self) -> bool:
        return bool(self.environment.name or self.tools)

    @model_validator(mode="after")
    def _one_teacher(self):
        if bool(self.model) == bool(self.endpoint.url):
            given = f"got {self.model!r} and {self.endpoint.url!r}"
            raise ValueError(f"one teacher is needed: --model (a local one) or --endpoint.url ({given})")
        if self.budget and not (self.endpoint.price_in or self.endpoint.price_out):
            raise ValueError(f"budget needs endpoint.price_in or endpoint.price_out (got budget {self.budget:g})")
        if self.plays_episodes and self.model:
            raise ValueError(
                "environment and tools want an endpoint that calls tools, endpoint.url: serve the model "
                f"(python -m srm_ray.chat --model {self.model} --serve_command true)"
            )
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
