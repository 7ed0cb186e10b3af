"""What vLLM reads from the environment of a rollout worker."""

import os
from typing import TYPE_CHECKING

from srm_ray.process import scratch

if TYPE_CHECKING:
    from actors.rollout.engine_spec import EngineSpec


def prepare_environment(spec: "EngineSpec") -> None:
    """Set before vLLM is imported here and in the engine process that it starts."""
    scratch.own()  # vLLM leaves sockets and rendezvous files behind
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    if spec.transport == "ipc":
        # Handles of GPU memory travel pickled, between processes of one run on one machine.
        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
    if spec.gpus:
        return
    threads = str(spec.threads)
    os.environ.update(
        OMP_NUM_THREADS=threads,
        # The engine runs inside this process: see actors/rollout/in_process_engine.py.
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        # vLLM compiles its sampler's helpers on first use; on a CPU that takes 20 s and gains nothing.
        TORCHDYNAMO_DISABLE="1",
        VLLM_CPU_CI_ENV="1",
        # Splitting a sequence's keys over threads when few sequences are left changes the last bit of
        # their log-probabilities; without it a completion does not depend on what else is in flight.
        VLLM_CPU_ATTN_SPLIT_KV="0",
    )
