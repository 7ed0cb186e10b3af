"""Weights that stay where the learner has them: handles of its GPU memory, for an engine on the same card.

The payload is that of vLLM's built-in "ipc" backend (`IPCWeightTransferUpdateInfo`), which opens each handle
with CUDA IPC and loads from it. Nothing is copied on the learner's side; the optimizer changes parameters in
place, so that a handle of this version must not be read after the next step.
"""

import base64
import pickle
from collections.abc import Callable
from typing import Any

from srm_ray.weights.flat import TensorSpec, WeightUpdate, lay_out

Handle = dict[str, tuple[Any, ...]]


def share(
    version: int, parameters: list[tuple[str, Any]], handle: Callable[[Any], Handle] | None = None
) -> WeightUpdate:
    """An update whose tensors are `parameters` themselves, which must be whole and contiguous on one GPU."""
    specs, _ = lay_out(parameters)
    for name, tensor in parameters:
        if not tensor.is_contiguous():
            raise ValueError(f"{name} is not contiguous: CUDA IPC shares memory as it lies")
    handles = [(handle or cuda_handle)(tensor) for _, tensor in parameters]
    return WeightUpdate(version, "", "", "", specs, handles=pickle.dumps(handles))


def cuda_handle(tensor: Any) -> Handle:
    """The GPU's identity and what opens the tensor's memory in another process, once all work on it is done."""
    import torch
    from torch.multiprocessing.reductions import reduce_tensor

    torch.cuda.synchronize(tensor.device)
    _, arguments = reduce_tensor(tensor)
    return {str(torch.cuda.get_device_properties(tensor.device).uuid): arguments}


def update_info(specs: tuple[TensorSpec, ...], handles: bytes) -> dict[str, Any]:
    """vLLM's request for one update."""
    return {
        "names": [spec.name for spec in specs],
        "dtype_names": [spec.dtype for spec in specs],
        "shapes": [list(spec.shape) for spec in specs],
        "ipc_handles_pickled": base64.b64encode(handles).decode(),
    }
