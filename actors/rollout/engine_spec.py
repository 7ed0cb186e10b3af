"""Options of an engine to what a rollout worker starts."""

import os
from typing import Any

from actors.rollout.worker import EngineSpec
from actors.runtime.compute import engine_dtype
from srm_ray.config.engine import EngineConfig

USUAL_START = 45.0  # seconds until an engine is ready, on two cores


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
        model=model,
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
