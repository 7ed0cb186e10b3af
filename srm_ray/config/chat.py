"""Options of `python -m srm_ray.chat`."""

from pydantic import Field

from srm_ray.config.base import CHAT_TEMPLATE, Section
from srm_ray.config.environment import EnvironmentConfig, Tools
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.precision import DTYPE, Dtype


class ChatConfig(Section):
    """A conversation in the terminal."""

    model: str = Field(
        "", description="whom to talk to: a Hugging Face folder, an adapter's folder, a hub name, or a .gguf file"
    )
    chat_template: str = Field("", description=CHAT_TEMPLATE)
    temperature: float = Field(0.1, ge=0, le=2, description="sampling temperature; 0: greedy")
    max_new_tokens: int = Field(1024, ge=1, description="limit of an answer, thinking included, tokens")
    system: str = Field("", description="system message put before the conversation; empty: none")
    think: bool = Field(True, description="false: the model answers without thinking first")
    seed: int = Field(3407, ge=0, description="seed of the sampler")
    threads: int = Field(0, ge=0, description="compute threads; 0: all cores")
    dtype: Dtype = Field("auto", description=DTYPE)
    environment: EnvironmentConfig = Field(
        EnvironmentConfig(), description="an environment to try with the model, as grpo's"
    )
    tools: Tools = Field([], description="functions that the model may call, package.module:function,...")
    serve_command: bool = Field(False, description="print the vLLM command that serves the model, then stop")

    def playing(self) -> GRPOConfig:
        """What plays episodes reads, as a training run has it."""
        return GRPOConfig(model=self.model, seed=self.seed, environment=self.environment, tools=self.tools)
