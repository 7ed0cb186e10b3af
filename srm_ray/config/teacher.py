"""Options of on-policy distillation: who scores the student's samples, and how that enters the loss."""

from typing import ClassVar

from pydantic import Field, model_validator

from srm_ray.config.endpoints import EndpointConfig
from srm_ray.config.engine import EngineConfig

SHOWN = """{{ question }}

An example of a response:

{{ demonstration }}

Now respond yourself."""


class TeacherConfig(EngineConfig):
    """The teacher of on-policy distillation (docs/algorithms.md), in engines of its own, behind an endpoint, or the
    policy itself; none by default."""

    shorthand: ClassVar[str | None] = "model"

    model: str = Field("", description="teacher's model, a folder or a hub name, in vLLM engines of its own")
    endpoint: EndpointConfig = Field(
        EndpointConfig(), description="a server that gives prompt log-probabilities as vLLM's does (prompt_logprobs)"
    )
    demonstration: str = Field(
        "", description="column with a demonstration that the policy is shown to be its own teacher; no other model"
    )
    template: str = Field(
        SHOWN,
        description="what the policy is shown as its own teacher, in Jinja, with question (the last user message) and "
        "demonstration",
    )
    weight: float = Field(1.0, gt=0, description="weight of the reverse KL beside the advantage of the rewards")
    top_k: int = Field(
        0,
        ge=0,
        le=1000,
        description="loss over the teacher's so many likeliest tokens; 0: the sampled token's log-probabilities as "
        "advantage",
    )
    workers: int = Field(1, ge=1, description="engines of teacher.model, each an actor of its own")
    cpus: float = Field(0.25, ge=0, description="CPUs that Ray reserves for one of them, which wait while others work")

    @property
    def teaches(self) -> bool:
        """Whether there is a teacher."""
        return bool(self.model or self.endpoint.url or self.demonstration)

    @model_validator(mode="after")
    def _one_teacher(self):
        given = [name for name in ("model", "demonstration") if getattr(self, name)]
        given += ["endpoint.url"] if self.endpoint.url else []
        if len(given) > 1:
            raise ValueError(f"a run has one teacher (got {' and '.join(f'teacher.{name}' for name in given)})")
        return self
