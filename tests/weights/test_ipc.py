"""Weights by CUDA IPC, as far as a machine without a GPU can tell: what vLLM's backend is asked, and in what order."""

import pickle

import pytest
import torch

from srm_ray.weights.ipc import share, update_info


def handle_of(tensor):
    return {"GPU-0": (tuple(tensor.shape), tensor.data_ptr())}


def parameters():
    return [("embed.weight", torch.zeros(6, 4)), ("norm.weight", torch.ones(4).bfloat16())]


@pytest.mark.integration
def test_request_is_what_vllm_reads(monkeypatch):
    from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferUpdateInfo

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
    shared = parameters()
    update = share(7, shared, handle_of)
    info = IPCWeightTransferUpdateInfo(**update_info(update.specs, update.handles))
    assert update.version == 7
    assert info.names == ["embed.weight", "norm.weight"]
    assert info.dtype_names == ["float32", "bfloat16"]
    assert info.shapes == [[6, 4], [4]]
    assert info.ipc_handles == [handle_of(tensor) for _, tensor in shared]


def test_update_crosses_to_another_process_whole():
    update = share(1, parameters(), handle_of)
    assert pickle.loads(pickle.dumps(update)) == update


def test_memory_with_gaps_is_refused():
    with pytest.raises(ValueError, match=r"wide\.weight is not contiguous"):
        share(1, [("wide.weight", torch.zeros(6, 4)[:, :2])], handle_of)
