"""Weights by CUDA IPC, as far as a machine without a GPU can tell: what vLLM's backend is asked, and in what order."""

import pickle

import pytest
import torch

from srm_ray.weights.ipc import checksum, share, update_info


def handle_of(tensor):
    return {"GPU-0": (tuple(tensor.shape), tensor.data_ptr())}


def parameters():
    return [("embed.weight", torch.zeros(6, 4)), ("norm.weight", torch.ones(4).bfloat16())]


@pytest.mark.integration
def test_request_is_what_vllm_reads(monkeypatch):
    from actors.rollout.ipc_engine import CheckedUpdateInfo

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
    shared = parameters()
    update = share(7, shared, handle_of)
    info = CheckedUpdateInfo(**update_info(update))
    assert update.version == 7
    assert info.names == ["embed.weight", "norm.weight"]
    assert info.dtype_names == ["float32", "bfloat16"]
    assert info.shapes == [[6, 4], [4]]
    assert info.ipc_handles == [handle_of(tensor) for _, tensor in shared]
    assert info.digest == checksum(tensor for _, tensor in shared)


class Model(torch.nn.Module):
    """Stands for vLLM's: keeps what it is told to load."""

    def load_weights(self, weights):
        self.loaded = {name: tensor.clone() for name, tensor in weights}


@pytest.mark.integration
def test_weights_of_another_step_are_refused_however_small_the_step(monkeypatch):
    """The handles lead to the learner's memory, which a step changes by less than any mismatch limit tells."""
    from actors.rollout.ipc_engine import CheckedIPCEngine, CheckedUpdateInfo

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
    monkeypatch.setattr("vllm.model_executor.model_loader.reload.initialize_layerwise_reload", lambda model: None)
    learner = [("embed.weight", torch.randn(300, 40)), ("norm.weight", torch.ones(4).bfloat16())]
    engine = CheckedIPCEngine.__new__(CheckedIPCEngine)
    engine.model = Model()
    monkeypatch.setattr(engine, "opened", lambda info: learner, raising=False)  # no card to open handles on
    info = CheckedUpdateInfo(**update_info(share(3, learner, handle_of)))
    engine.receive_weights(info)
    assert all(torch.equal(engine.model.loaded[name], tensor) for name, tensor in learner)
    before = engine.model.loaded
    one = learner[0][1][7]
    one[3] = torch.nextafter(one[3], torch.tensor(9.0))  # by its last bit
    with pytest.raises(ValueError, match=r"not those that were published: digest [0-9a-f]{16}, not [0-9a-f]{16}"):
        engine.receive_weights(info)
    assert engine.model.loaded is before


def test_checksum_is_of_every_bit_and_its_place(monkeypatch):
    torch.manual_seed(1)
    whole = [torch.randn(50, 7), torch.randn(11).bfloat16(), torch.arange(5)]
    found = checksum(whole)
    assert found == checksum([tensor.clone() for tensor in whole])
    monkeypatch.setattr("srm_ray.weights.ipc.PIECE", 13)
    assert checksum(whole) == found, "it does not depend on how many words are summed at a time"
    changed = set()
    for tensor in whole:
        words = tensor.view(-1).view(torch.uint8)
        for place in range(0, len(words), 5):
            words[place] ^= 1
            changed.add(checksum(whole))
            words[place] ^= 1
    places = sum(len(range(0, tensor.nbytes, 5)) for tensor in whole)
    assert len(changed - {found}) == places
    assert checksum(whole[::-1]) != found
    assert checksum([whole[0].flip(0), *whole[1:]]) != found


def test_update_crosses_to_another_process_whole():
    update = share(1, parameters(), handle_of)
    assert pickle.loads(pickle.dumps(update)) == update


def test_memory_with_gaps_is_refused():
    with pytest.raises(ValueError, match=r"wide\.weight is not contiguous"):
        share(1, [("wide.weight", torch.zeros(6, 4)[:, :2])], handle_of)
