"""Options of a vLLM engine, wherever one is started."""

from pydantic import Field, model_validator

from srm_ray.config.base import Section
from srm_ray.config.precision import DTYPE, Dtype


class EngineConfig(Section):
    """vLLM engines, one for each worker."""

    max_model_len: int = Field(
        0,
        ge=0,
        description="prompt + completion, tokens; 0: 2048 and max_new_tokens, at most the model's context",
    )
    max_num_seqs: int = Field(256, ge=1, description="sequences that an engine decodes at once")
    dtype: Dtype = Field("auto", description=DTYPE)
    kv_cache_gb: float = Field(1.0, gt=0, description="KV cache on a CPU, GiB")
    gpus: float = Field(0.0, ge=0, description="GPUs of one worker; below 1 the card is shared")
    cpus: float = Field(1.0, ge=0, description="CPUs that Ray reserves for one worker")
    threads: int = Field(0, ge=0, description="compute threads of one engine; 0: cores / workers")
    memory_fraction: float = Field(0.9, gt=0, lt=1, description="share of GPU memory that vLLM takes")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that one engine spreads over")
    eager: bool = Field(False, description="skip CUDA graphs")
    start_timeout: float = Field(600, gt=0, description="seconds a worker may take to start; more while it computes")

    @model_validator(mode="after")
    def _spreads_over_its_own_cards(self):
        if self.tensor_parallel > max(1.0, self.gpus):
            raise ValueError(
                f"tensor_parallel must not be above gpus, the GPUs of one worker (got {self.tensor_parallel} "
                f"and {self.gpus:g})"
            )
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus above 1 must be a whole number (got {self.gpus:g})")
        return self
