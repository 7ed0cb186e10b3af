"""vLLM's side of a weight push without collectives: the engine maps a file and loads from it.

Registered with vLLM's weight-transfer factory as "pull" when this module is imported in the engine
process, which `worker_extension_cls="actors.weight_pull.PullExtension"` brings about.
"""

import ctypes
import mmap
import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from typing import Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from srm_ray.weights.flat import TensorSpec, digest, views

NAME = "pull"


@dataclass
class PullInitInfo(WeightTransferInitInfo):
    """Nothing to rendezvous with."""


@dataclass
class PullUpdateInfo(WeightTransferUpdateInfo):
    """path: file with the flat buffer. digest: what its bytes must hash to. specs: layout, as dicts."""

    path: str
    digest: str
    specs: list[dict[str, Any]] = field(default_factory=list)


class PullEngine(WeightTransferEngine[PullInitInfo, PullUpdateInfo]):
    """Loads weights from a memory-mapped flat buffer. Raises ValueError where the digest differs."""

    init_info_cls = PullInitInfo
    update_info_cls = PullUpdateInfo

    def init_transfer_engine(self, init_info: PullInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: PullUpdateInfo) -> None:
        descriptor = os.open(update_info.path, os.O_RDONLY)
        try:
            # Private and writable: torch refuses read-only memory; nothing is written, so nothing is copied.
            buffer = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        finally:
            os.close(descriptor)
        found = digest(buffer)
        if found != update_info.digest:
            raise ValueError(f"weights are corrupt: digest {found}, the learner wrote {update_info.digest}")
        specs = [TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in update_info.specs]
        self.model.load_weights(views(buffer, specs))

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        refresh_tied_heads(self.model)

    def shutdown(self) -> None:
        pass


def refresh_tied_heads(model: Any) -> None:
    """Repack output heads that share the embedding's weights.

    On a CPU vLLM multiplies by a packed copy of the weights. A reload packs the embedding anew but not a
    head tied to it, which would go on with the old copy (vLLM 0.32).
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)


if NAME not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine(NAME, PullEngine)


class PullExtension:
    """Mixed into vLLM's worker; importing this module is all that is asked of it."""


def end_with_parent() -> None:
    """Have the kernel end this engine process when the actor that started it dies, however it dies."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if multiprocessing.parent_process() is not None:
    end_with_parent()
