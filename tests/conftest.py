"""Fixtures that several folders of tests share: a Ray session, a fresh tiny model."""

import os
from pathlib import Path

import pytest

# Thread pools that spin while they wait starve each other on two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_worker_niceness", "0")
# No test joins a cluster that happens to run here.
os.environ["RAY_ADDRESS"] = "local"


# Files whose tests share the crew of tests/loop/conftest.py.
CREW = {f"tests/loop/test_{name}.py" for name in ("rollout_workers", "weights_arrive", "workers_die")}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each process of `pytest -n 2` takes a file at a time, or all files that share a crew."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrCrew(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "crew" if file in CREW else file

    return ByFileOrCrew(config, log)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A randomly initialised model of the tiny shape with its tokenizer, as a Hugging Face folder."""
    from actors.warm_start import RECIPE, fresh_model

    return fresh_model(tmp_path_factory.mktemp("model"), RECIPE, seed=0)


@pytest.fixture(scope="session")
def ray_session():
    """A local Ray of twelve logical CPUs, shared by the tests of a session."""
    import ray

    ray.init(address="local", num_cpus=12, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def trained_model(tiny_model, tmp_path_factory) -> Path:
    """The tiny model after some seconds of plain SFT: it thinks, closes its thinking and boxes an answer, seldom the
    right one. For tests of what is done with a model that speaks, without Ray or DeepSpeed."""
    from tests.quick_sft import speak

    return speak(tiny_model, tmp_path_factory.mktemp("trained"))
