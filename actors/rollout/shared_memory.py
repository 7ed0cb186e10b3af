"""vLLM's side of a weight push without collectives: the engine maps a file and loads from it.

Registered with vLLM's weight-transfer factory as "pull" when this module is imported in the process that vLLM
computes in, which actors/rollout/vllm_extension.py brings about.
"""

import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from actors.rollout import direct_load
from srm_ray.weights.flat import TensorSpec, digest
from srm_ray.weights.lora import MergedBuffers

if TYPE_CHECKING:
    import torch

NAME = "pull"


@dataclass
class PullInitInfo(WeightTransferInitInfo):
    """Nothing to rendezvous with."""


@dataclass
class PullUpdateInfo(WeightTransferUpdateInfo):
    """path: file with the flat buffer. digest: what its bytes must hash to. specs: layout; None: as before.

    scale: of an adapter, which is then all that the buffer holds; 0: it holds whole weights. base: path, digest and
    specs of what the adapter is added to; None: as before.
    """

    path: str
    digest: str
    specs: list[dict[str, Any]] | None = None
    scale: float = 0.0
    base: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """Weights that an adapter is added to, which stay mapped."""

    buffer: mmap.mmap
    specs: list[TensorSpec]


class PullEngine(WeightTransferEngine[PullInitInfo, PullUpdateInfo]):
    """Loads weights from a memory-mapped flat buffer. Raises ValueError, nothing loaded, where the digest differs.

    The first load of a layout goes through vLLM's loader; later ones straight into the layers, where
    `actors.rollout.direct_load` has a plan that agrees with it. Of an adapter alone only the layers that it changes
    are loaded, each merged into the base as the learner would have done it.
    """

    init_info_cls = PullInitInfo
    update_info_cls = PullUpdateInfo

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.mapped: dict[tuple[int, int], mmap.mmap] = {}
        self.specs: list[TensorSpec] = []
        self.plan: list[direct_load.Target] | None = None
        self.base: Base | None = None
        self.adapter_specs: list[TensorSpec] = []

    def init_transfer_engine(self, init_info: PullInitInfo) -> None:
        pass

    def start_weight_update(self) -> None:
        """Nothing: which way the weights go in is known with their layout."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: PullUpdateInfo) -> None:
        buffer = self._checked(update_info.path, update_info.digest)
        if update_info.scale:
            self._receive_adapter(buffer, update_info)
            return
        self.base = None
        self._receive_whole(buffer, _specs(update_info.specs))

    def _receive_whole(self, buffer: mmap.mmap, specs: list[TensorSpec] | None) -> None:
        weights = direct_load.Buffer(buffer)
        if specs is not None:
            self.specs = specs
            self.plan = None
            self._reload(weights)
            plan = direct_load.make_plan(self.model, self.specs)
            if plan and direct_load.agrees(plan, weights, self.model_config.dtype):
                self.plan = plan
        elif self.plan is None:
            self._reload(weights)
        else:
            direct_load.load(self.plan, weights, self.model_config.dtype)
        pack_tied_heads(self.model)

    def _receive_adapter(self, buffer: mmap.mmap, update_info: PullUpdateInfo) -> None:
        if (base := update_info.base) is not None:
            whole, specs = self._checked(base["path"], base["digest"]), _specs(base["specs"])
            assert specs is not None
            self._receive_whole(whole, specs)
            self.base = Base(whole, specs)
        if self.base is None:
            raise ValueError("an adapter came without the weights that it is added to")
        self.adapter_specs = _specs(update_info.specs) or self.adapter_specs
        device = next(self.model.parameters()).device
        merged = MergedBuffers(self.base.buffer, buffer, self.adapter_specs, update_info.scale, device)
        if self.plan is None:
            self._reload(merged)
            pack_tied_heads(self.model)
            return
        changed = [target for target in self.plan if any(merged.changes(spec) for spec in target.sources)]
        direct_load.load(changed, merged, self.model_config.dtype)

    def _checked(self, path: str, digest_wanted: str) -> mmap.mmap:
        buffer = self._map(path)
        found = digest(buffer)
        if found != digest_wanted:
            raise ValueError(f"weights are corrupt: digest {found}, the learner wrote {digest_wanted}")
        return buffer

    def _reload(self, weights: direct_load.Weights) -> None:
        """vLLM's own way: right for every model, and slow."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

        initialize_layerwise_reload(self.model)
        self.model.load_weights((spec.name, weights.one(spec)) for spec in self.specs)
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


def _specs(plain: list[dict[str, Any]] | None) -> list[TensorSpec] | None:
    return None if plain is None else [TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in plain]


def pack_tied_heads(model: "torch.nn.Module") -> None:
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
