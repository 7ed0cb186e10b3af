"""Training state on disk: random states come back as they were, and a hostile checkpoint runs nothing."""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srm_ray.errors import RunError
from srm_ray.training import saved_state


def drawn() -> tuple[float, float, float, list[float]]:
    return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.rand(3).tolist()


def test_random_states_go_on_where_they_were(tmp_path: Path) -> None:
    random.seed(3)
    np.random.seed(4)
    torch.manual_seed(5)
    drawn()  # one of each pair of normal numbers is kept back by the generators
    saved_state.write_random_state(tmp_path / "random.json")
    first = [drawn() for _ in range(3)]
    assert first != [drawn() for _ in range(3)]
    saved_state.read_random_state(tmp_path / "random.json")
    assert [drawn() for _ in range(3)] == first
    plain = json.loads((tmp_path / "random.json").read_text())
    assert plain["version"] == saved_state.VERSION


def test_random_states_of_gpus_are_saved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, as torch shows their generators: 16 bytes each."""
    states = [torch.randint(256, (16,), dtype=torch.uint8) for _ in range(2)]
    cuda = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "get_rng_state_all": lambda: [state.clone() for state in states],
        "set_rng_state_all": lambda given: [state.copy_(one) for state, one in zip(states, given, strict=True)],
    }
    for name, stand_in in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    saved_state.write_random_state(tmp_path / "random.json")
    before = [state.clone() for state in states]
    for state in states:
        state.zero_()
    saved_state.read_random_state(tmp_path / "random.json")
    assert all(torch.equal(state, one) for state, one in zip(states, before, strict=True))


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "random.json").write_text(json.dumps(saved_state.random_state() | {"version": 99}))
    with pytest.raises(RunError, match="a random state of version 99, 1 is read"):
        saved_state.read_random_state(tmp_path / "random.json")


WRONG: list[Any] = [None, 5, "x", [], {}, {"version": True}, -1, 2**70, [None, None, None], [3, ["x"], 0.0], [[]], "zz"]


@pytest.mark.parametrize("field", ["", "version", "python", "numpy", "torch", "cuda"])
def test_wrong_types_are_one_clear_line(tmp_path: Path, field: str) -> None:
    path = tmp_path / "random_0.json"
    for wrong in WRONG:
        state = saved_state.random_state()
        if field == "cuda" and (not wrong or not torch.cuda.is_available()):
            continue  # of GPUs that are not here nothing is restored
        path.write_text(json.dumps(state | {field: wrong} if field else wrong))
        with pytest.raises(RunError) as told:
            saved_state.read_random_state(path)
        assert "\n" not in str(told.value)
        assert str(path) in str(told.value) and f"remove the checkpoint {tmp_path}" in str(told.value)


def test_a_damaged_part_or_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "random_0.json"
    numpy = saved_state.random_state()["numpy"]
    parts: list[Any] = [{"numpy": [*numpy[:2], 10**6, *numpy[3:]]}, {"numpy": ["PCG64", *numpy[1:]]}, {"torch": "00"}]
    parts += [{"numpy": [numpy[0], [2**40] * 624, *numpy[2:]]}, {"python": [3, [1, 2], None]}]
    for part in parts:
        path.write_text(json.dumps(saved_state.random_state() | part))
        with pytest.raises(RunError, match="no random state that can be restored"):
            saved_state.read_random_state(path)
    for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(data)
        with pytest.raises(RunError, match="no random state that can be restored"):
            saved_state.read_random_state(path)
    path.unlink()
    with pytest.raises(RunError, match="FileNotFoundError"):
        saved_state.read_random_state(path)


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.write_text, (self.marker, "ran"))


@pytest.mark.integration
def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path) -> None:
    """What `read_as_data` gives DeepSpeed to read with: tensors pass, code does not."""
    deepspeed_engine = type("Engine", (), {"_config": None})()
    saved_state.read_as_data(deepspeed_engine)
    read = deepspeed_engine.checkpoint_engine.load
    state = {"module": {"w": torch.ones(2)}, "client_state": {"version": 3}}
    torch.save(state, tmp_path / "good.pt")
    assert torch.equal(read(tmp_path / "good.pt")["module"]["w"], torch.ones(2))
    marker = tmp_path / "marker"
    torch.save(state | {"client_state": Hostile(marker)}, tmp_path / "bad.pt")
    with pytest.raises(pickle.UnpicklingError):
        read(tmp_path / "bad.pt")
    assert not marker.exists()
