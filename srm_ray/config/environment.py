"""Options of environments: what a policy talks to over several turns (docs/environments.md)."""

from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import BeforeValidator, Field

from srm_ray.config.base import Section, comma_separated

Tools = Annotated[list[str], BeforeValidator(comma_separated)]  # package.module:function, a list or separated by commas


class EnvironmentConfig(Section):
    """An environment of your own, and what its episodes may cost."""

    shorthand: ClassVar[str | None] = "name"

    name: str = Field("", description="package.module:Class of an environment; empty: none (docs/environments.md)")
    max_turns: int = Field(8, ge=1, description="turns that the policy may take in an episode; past it it is truncated")
    max_turn_tokens: int = Field(
        0, ge=0, description="limit of one turn, tokens; 0: none but rollout.max_new_tokens, which is the episode's"
    )
    calls: Literal["", "hermes", "llama", "mistral", "pythonic"] = Field(
        "", description="how the model writes tool calls; empty: as its chat template does"
    )
    describe_tools: bool = Field(
        False, description="describe the tools in the system message, for a chat template that knows none"
    )
    python: str = Field(
        "", description="interpreter of another Python environment that has what the environment needs; empty: this one"
    )
    timeout: float = Field(30.0, gt=0, description="seconds that one call of the environment may take")
    memory_gb: float = Field(4.0, gt=0, description="GiB of address space of an episode's process")
    max_characters: int = Field(8000, ge=1, description="characters of one answer of the environment; the rest is cut")
    workers: int = Field(1, ge=1, description="environment workers: actors, each with a process for every episode")
    at_once: int = Field(256, ge=1, description="episodes that are under way at once on one environment worker")
    cpus: float = Field(0.1, ge=0, description="CPUs that Ray reserves for one environment worker")


class Playing(Protocol):
    @property
    def environment(self) -> EnvironmentConfig: ...
    @property
    def tools(self) -> Tools: ...


class PlaysEpisodes:
    """A config with options of an environment and of tools."""

    @property
    def plays_episodes(self: Playing) -> bool:
        """Whether the policy talks to an environment, or calls tools."""
        return bool(self.environment.name or self.tools)
