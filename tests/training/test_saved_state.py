"""Training state on disk: random states come back as they were, and a hostile checkpoint runs nothing."""

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

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


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "random.json").write_text(json.dumps(saved_state.random_state() | {"version": 99}))
    with pytest.raises(ValueError, match="a random state of version 99, 1 is read"):
        saved_state.read_random_state(tmp_path / "random.json")


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
