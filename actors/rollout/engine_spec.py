"""Options of an engine to what a rollout worker starts, and from there to vLLM's arguments."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.rollout import cpu_kernels
from actors.runtime.compute import engine_dtype
from srm_ray.config.engine import EngineConfig
from srm_ray.files.roots import lasting

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

USUAL_START = 45.0  # seconds until an engine is ready, on two cores
# vLLM's name of the engine that takes weights in, by transport (actors/rollout/vllm_extension.py registers them).
BACKENDS = {"pull": "pull", "ipc": "checked_ipc"}


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start an engine. model: Hugging Face folder or hub name. Lengths in tokens.

    role: of the worker, by which it is named. top: the most log-probabilities of one place that it is asked for.
    block_size: tokens of a block of the KV cache, of which whole ones alone are found again; 0: vLLM's own.
    """

    model: str
    stop_token_ids: tuple[int, ...]
    max_model_len: int
    max_num_seqs: int
    dtype: str
    seed: int
    threads: int = 1
    kv_cache_gb: float = 1.0
    gpus: float = 0.0
    memory_fraction: float = 0.9
    tensor_parallel: int = 1
    eager: bool = True
    recompute_cache: bool = False
    sleep: bool = False
    transport: str = "pull"
    block_size: int = 0
    role: str = "rollout"
    top: int = 0


def cores_each(workers: int) -> int:
    """Compute threads of each of `workers` processes that share this machine."""
    return max(1, len(os.sched_getaffinity(0)) // workers)


def episode_block(options: EngineConfig) -> int:
    """Tokens of a block of the KV cache where prompts grow turn by turn; 0: vLLM's own. On a CPU that has 128, more
    than most turns, and only whole blocks are found again."""
    return 0 if options.gpus else 32


def spec_of(
    options: EngineConfig,
    model: str,
    context: int,
    stop_token_ids: tuple[int, ...],
    *,
    seed: int,
    workers: int,
    **others: Any,
) -> EngineSpec:
    """model: Hugging Face folder or hub name. context: prompt + completion, tokens. workers: engines in all.

    others: fields of `EngineSpec` that training alone sets.
    """
    return EngineSpec(
        model=lasting(model),
        stop_token_ids=stop_token_ids,
        max_model_len=context,
        max_num_seqs=options.max_num_seqs,
        dtype=engine_dtype(options, model),
        seed=seed,
        threads=options.threads or cores_each(workers),
        kv_cache_gb=options.kv_cache_gb,
        gpus=options.gpus,
        memory_fraction=options.memory_fraction,
        tensor_parallel=options.tensor_parallel,
        eager=options.eager,
        **others,
    )


def engine_args(spec: EngineSpec) -> "AsyncEngineArgs":
    """vLLM's arguments. Prefill is not chunked: with seeded requests that ends vLLM's CPU engine."""
    from vllm.config import WeightTransferConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    shared: dict[str, Any] = {
        "model": spec.model,
        "skip_tokenizer_init": True,
        "dtype": spec.dtype,
        "max_model_len": spec.max_model_len,
        "max_num_seqs": spec.max_num_seqs,
        "seed": spec.seed,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
        "weight_transfer_config": WeightTransferConfig(backend=BACKENDS[spec.transport]),
        "worker_extension_cls": "actors.rollout.vllm_extension.WorkerExtension",
        **({"block_size": spec.block_size} if spec.block_size else {}),
        **({"max_logprobs": spec.top} if spec.top else {}),
    }
    if spec.gpus:
        return AsyncEngineArgs(
            **shared,
            gpu_memory_utilization=spec.memory_fraction,
            tensor_parallel_size=spec.tensor_parallel,
            # Said, since in a placement group vLLM would have Ray start these processes, outside the worker's place.
            distributed_executor_backend="mp" if spec.tensor_parallel > 1 else "uni",
            enforce_eager=spec.eager,
            enable_sleep_mode=spec.sleep,
        )
    return AsyncEngineArgs(
        **shared,
        ir_op_priority=cpu_kernels.priorities(),
        enforce_eager=True,
        distributed_executor_backend="uni",
        enable_chunked_prefill=False,
        max_num_batched_tokens=max(4096, spec.max_model_len),
        kv_cache_memory_bytes=int(spec.kv_cache_gb * (1 << 30)),
    )
