"""vLLM's side of a weight push by CUDA IPC: its own "ipc" engine, which reads nothing that the learner did not publish.

Registered with vLLM's weight-transfer factory as "checked_ipc" when this module is imported in the process that vLLM
computes in, which actors/rollout/vllm_extension.py brings about.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.multiprocessing.reductions import rebuild_cuda_tensor
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine, IPCWeightTransferUpdateInfo

from srm_ray.weights.ipc import checksum

NAME = "checked_ipc"


@dataclass
class CheckedUpdateInfo(IPCWeightTransferUpdateInfo):
    """digest: the `srm_ray.weights.ipc.checksum` that the tensors must have."""

    digest: str = ""


class CheckedIPCEngine(IPCWeightTransferEngine):
    """Loads weights from the learner's memory. Raises ValueError, nothing loaded, where the checksum differs: handles
    that lead to weights of another step, or to memory that has been used for something else since."""

    update_info_cls = CheckedUpdateInfo

    def start_weight_update(self) -> None:
        """Nothing yet: the engine keeps its weights until the new ones are proved."""

    def receive_weights(self, update_info: CheckedUpdateInfo) -> None:
        weights = self.opened(update_info)
        found = checksum(tensor for _, tensor in weights)
        if found != update_info.digest:
            raise ValueError(f"weights are not those that were published: digest {found}, not {update_info.digest}")
        super().start_weight_update()
        self.model.load_weights(weights)

    def opened(self, update_info: CheckedUpdateInfo) -> list[tuple[str, Tensor]]:
        """The learner's tensors, on this card. Raises ValueError where they lie on another."""
        import torch

        device = self.device.index
        card = str(torch.cuda.get_device_properties(device).uuid)
        found = []
        for name, handle in zip(update_info.names, update_info.ipc_handles or (), strict=True):
            if card not in handle:
                raise ValueError(f"{name} lies on GPU {', '.join(handle)}, and this engine is on {card}")
            arguments = list(handle[card])
            arguments[6] = device  # the number that the card has here
            found.append((name, rebuild_cuda_tensor(*arguments)))
        return found


if NAME not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine(NAME, CheckedIPCEngine)
