"""Weights that stay where the learner has them: handles of its GPU memory, for an engine on the same card.

The payload is that of vLLM's built-in "ipc" backend (`IPCWeightTransferUpdateInfo`), which opens each handle
with CUDA IPC and loads from it. Nothing is copied on the learner's side; the optimizer changes parameters in
place, so that a handle of this version must not be read after the next step. A checksum of all bits, made on the GPU by
the learner and again by the engine, proves that what is read is what was published.
"""

import base64
import pickle
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from srm_ray.weights.flat import WeightUpdate, lay_out

if TYPE_CHECKING:
    from torch import Tensor

Handle = dict[str, tuple[Any, ...]]
PIECE = 1 << 22  # words that are summed at a time: 64 MiB while it lasts
MIXING = 0x9E3779B97F4A7C15 - 2**64  # odd; 2**64 over the golden ratio, as PyTorch's 64 bits hold it


def share(
    version: int, parameters: "list[tuple[str, Tensor]]", handle: "Callable[[Tensor], Handle] | None" = None
) -> WeightUpdate:
    """An update whose tensors are `parameters` themselves, which must be whole and contiguous on one GPU."""
    specs, _ = lay_out(parameters)
    for name, tensor in parameters:
        if not tensor.is_contiguous():
            raise ValueError(f"{name} is not contiguous: CUDA IPC shares memory as it lies")
    handles = [(handle or cuda_handle)(tensor) for _, tensor in parameters]
    found = checksum(tensor for _, tensor in parameters)
    return WeightUpdate(version, "", "", found, specs, handles=pickle.dumps(handles))


def checksum(tensors: "Iterable[Tensor]") -> str:
    """Of the bits of contiguous tensors and of their order, 64 bits in hex; computed where the tensors lie.

    A sum, modulo 2**64, of every word times an odd number that follows from its place: another value of one word always
    gives another sum, and so do other values of many but for one chance in 2**64 or so.
    """
    import torch

    words_of = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    total: Tensor | None = None
    for tensor in tensors:
        words = tensor.detach().reshape(-1).view(words_of[tensor.element_size()])
        summed = torch.zeros((), dtype=torch.int64, device=tensor.device)
        for first in range(0, len(words), PIECE):
            piece = words[first : first + PIECE].to(torch.int64)
            odd = torch.arange(first + 1, first + 1 + len(piece), device=tensor.device) * MIXING
            summed += (piece * ((odd ^ (odd >> 29)) | 1)).sum()
        total = summed if total is None else total * MIXING + summed
    return f"{(0 if total is None else int(total)) % 2**64:016x}"


def cuda_handle(tensor: "Tensor") -> Handle:
    """The GPU's identity and what opens the tensor's memory in another process, once all work on it is done."""
    import torch
    from torch.multiprocessing.reductions import reduce_tensor

    torch.cuda.synchronize(tensor.device)
    _, arguments = reduce_tensor(tensor)
    return {str(torch.cuda.get_device_properties(tensor.device).uuid): arguments}


def update_info(update: WeightUpdate) -> dict[str, Any]:
    """The request to the engine for one update (`actors.rollout.ipc_engine`)."""
    return {
        "names": [spec.name for spec in update.specs],
        "dtype_names": [spec.dtype for spec in update.specs],
        "shapes": [list(spec.shape) for spec in update.specs],
        "ipc_handles_pickled": base64.b64encode(update.handles).decode(),
        "digest": update.digest,
    }
