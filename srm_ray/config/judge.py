"""Options of rewards that a frozen model gives: a judge that is asked in words, and a reward model."""

import re
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from srm_ray.config.base import Section
from srm_ray.config.endpoints import EndpointConfig
from srm_ray.config.engine import EngineConfig

ASKED = """Question:
{{ question }}
{% if gold %}
Reference answer:
{{ gold }}
{% endif %}
Response:
{{ answer }}

Is the response right? End with one word, yes or no."""
WORDS = {"yes": True, "true": True, "no": False, "false": False}


class JudgeConfig(EngineConfig):
    """A judge: a model that is asked what a completion is worth (docs/data.md). Off by default."""

    shorthand: ClassVar[str | None] = "model"

    model: str = Field("", description="judge's model, a folder or a hub name, in vLLM engines of its own")
    endpoint: EndpointConfig = Field(EndpointConfig(), description="a served judge in its place")
    template: str = Field(
        ASKED,
        description="what it is asked, in Jinja, with question (the last user message), answer (the completion behind "
        "its thinking), completion (all of it), gold",
    )
    pattern: str = Field(
        r"(?i)\b(yes|no|true|false)\b",
        description="regular expression with one group; its last match (yes, no, true, false, a number) is the verdict",
    )
    scale: float = Field(1.0, gt=0, description="a number is divided by this, e.g. 10 for marks of 0 to 10")
    max_new_tokens: int = Field(512, ge=1, description="limit of its answer, tokens")
    calls: int = Field(0, ge=0, description="times that it is asked in all; 0: no limit. Verdicts beyond them are null")
    budget: float = Field(0.0, ge=0, description="dollars after which it is not asked; 0: no limit (endpoint.price_*)")
    timeout: float = Field(120.0, gt=0, description="seconds that one verdict may take, with every attempt")
    workers: int = Field(1, ge=1, description="engines of the judge's model, each an actor of its own")
    cpus: float = Field(0.25, ge=0, description="CPUs that Ray reserves for one of them, which wait while others work")

    @property
    def judges(self) -> bool:
        """Whether there is one."""
        return bool(self.model or self.endpoint.url)

    @field_validator("pattern")
    @classmethod
    def _with_one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        if groups != 1:
            raise ValueError(f"one group, the verdict, is needed (got {groups})")
        return pattern

    @model_validator(mode="after")
    def _one_judge(self):
        if self.model and self.endpoint.url:
            raise ValueError("a run has one judge (got judge.model and judge.endpoint.url)")
        if self.budget and not (self.endpoint.price_in or self.endpoint.price_out):
            raise ValueError(f"judge.budget needs endpoint.price_in or price_out (got budget {self.budget:g})")
        return self


class RewardModelConfig(Section):
    """A reward model, in a process of the reward worker. Off by default."""

    shorthand: ClassVar[str | None] = "path"

    path: str = Field("", description="folder or hub name of a sequence classifier with one label (transformers)")
    max_length: int = Field(4096, ge=1, description="tokens of prompt and completion that it reads, the last ones")
