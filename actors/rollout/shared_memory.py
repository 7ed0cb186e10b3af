"""vLLM's side of a weight push without collectives: the engine maps a file and loads from it.

Registered with vLLM's weight-transfer factory as "pull" when this module is imported in the process that vLLM
computes in, which actors/rollout/vllm_extension.py brings about.
"""

import mmap
import os
from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from actors.rollout import direct_load
from srm_ray.weights.flat import TensorSpec, digest, views

NAME = "pull"


@dataclass
class PullInitInfo(WeightTransferInitInfo):
    """Nothing to rendezvous with."""


@dataclass
class PullUpdateInfo(WeightTransferUpdateInfo):
    """path: file with the flat buffer. digest: what its bytes must hash to. specs: layout; None: as before."""

    path: str
    digest: str
    specs: list[dict[str, Any]] | None = None


class PullEngine(WeightTransferEngine[PullInitInfo, PullUpdateInfo]):
    """Loads weights from a memory-mapped flat buffer. Raises ValueError, nothing loaded, where the digest differs.

    The first load of a layout goes through vLLM's loader; later ones straight into the layers, where
    `actors.rollout.direct_load` has a plan that agrees with it.
    """

    init_info_cls = PullInitInfo
    update_info_cls = PullUpdateInfo

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.mapped: dict[tuple[int, int], mmap.mmap] = {}
        self.specs: list[TensorSpec] = []
        self.plan: list[direct_load.Target] | None = None

    def init_transfer_engine(self, init_info: PullInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        """Nothing: which way the weights go in is known with their layout."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: PullUpdateInfo) -> None:
        buffer = self._map(update_info.path)
        found = digest(buffer)
        if found != update_info.digest:
            raise ValueError(f"weights are corrupt: digest {found}, the learner wrote {update_info.digest}")
        if update_info.specs is not None:
            self.specs = [TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in update_info.specs]
            self.plan = None
            self._reload(buffer)
            plan = direct_load.make_plan(self.model, self.specs)
            if plan and direct_load.agrees(plan, buffer, self.model_config.dtype):
                self.plan = plan
        elif self.plan is None:
            self._reload(buffer)
        else:
            direct_load.load(self.plan, buffer, self.model_config.dtype)
        pack_tied_heads(self.model)

    def _reload(self, buffer: mmap.mmap) -> None:
        """vLLM's own way: right for every model, and slow."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

        initialize_layerwise_reload(self.model)
        self.model.load_weights(views(buffer, self.specs))
        finalize_layerwise_reload(self.model, self.model_config)

    def _map(self, path: str) -> mmap.mmap:
        """The file's memory. The learner writes two files in turn: both stay mapped."""
        descriptor = os.open(path, os.O_RDWR)  # torch wants memory that it may write
        try:
            info = os.fstat(descriptor)
            key = (info.st_dev, info.st_ino)
            if key not in self.mapped:
                self.mapped = dict(list(self.mapped.items())[-1:])
                self.mapped[key] = mmap.mmap(descriptor, 0)
            return self.mapped[key]
        finally:
            os.close(descriptor)

    def finish_weight_update(self) -> None:
        """Nothing: `receive_weights` leaves the model whole."""

    def shutdown(self) -> None:
        self.mapped.clear()


def pack_tied_heads(model: Any) -> None:
    """Pack anew output heads that share the embedding's weights.

    On a CPU vLLM multiplies by a packed copy of the weights. A reload packs the embedding anew but not a
    head tied to it, which would go on with the old copy (vLLM 0.32).
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)


if NAME not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine(NAME, PullEngine)
