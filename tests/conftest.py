"""Fixtures that several folders of tests share: one Ray session a process, a fresh tiny model.

Two tiers (tests/tiers.py): a test that starts a process, or needs Ray, vLLM or DeepSpeed, is marked `integration`; all
others are fast, and held to it. docs/development.md says how to run them.
"""

import os
import signal
from pathlib import Path

import pytest

pytest_plugins = ["tests.failures", "tests.tiers"]

# Thread pools that spin while they wait starve each other on two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_worker_niceness", "0")
# No test joins a cluster that happens to run here.
os.environ["RAY_ADDRESS"] = "local"
# Where the tests themselves were started in the background, Ctrl-C is ignored, by what they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files that share something that takes long to start, once a process: the workers of tests/loop, the engine of
# tests/evaluation, the model that speaks. One process runs them all.
SHARED = {
    "workers": ("loop/test_lora", "loop/test_rollout_workers", "loop/test_weights_arrive", "loop/test_workers_die"),
    "engine": ("evaluation/test_engine", "evaluation/test_harness", "evaluation/test_in_training"),
    "model": ("inference/test_chat_terminal", "inference/test_conversation", "inference/test_serving", "test_export"),
}
GROUP = {f"tests/{name}.py": group for group, names in SHARED.items() for name in names}


# Whole jobs, a minute and more each: they come first, so that none is left to run alone at the end.
LONGEST = (
    "tests/test_tutorials.py",
    "tests/loop/test_chaos.py",
    "tests/stages/test_end_to_end.py",
    "tests/stages/test_training.py",
    "tests/speedrun/test_speedrun.py",
    "tests/loop/test_resume.py",
    "tests/loop/test_workers_die.py",
    "tests/loop/test_rollout_workers.py",
    "tests/loop/test_weights_arrive.py",
    "tests/loop/test_scale_command.py",
    "tests/loop/test_node_dies.py",
    "tests/actors/test_replay.py",
)


def pytest_collection_modifyitems(items):
    rank = {file: number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::")[0], len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each process of `pytest -n 2` takes a file at a time, or all files of a group."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrGroup(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return GROUP.get(file, file)

    config.option.loadscopereorder = False  # the order of the files, not that of their numbers of tests
    return ByFileOrGroup(config, log)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A randomly initialised model of the tiny shape with its tokenizer, as a Hugging Face folder."""
    from actors.train.warm_start import RECIPE, fresh_model

    return fresh_model(tmp_path_factory.mktemp("model"), RECIPE, seed=0)


@pytest.fixture
def norms_in_fp64(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers computes RMSNorm in FP32 whatever the weights are, which would hide errors below 1e-7."""
    import torch
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

    def forward(self, hidden):
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(Qwen3RMSNorm, "forward", forward)


@pytest.fixture(scope="session")
def ray_session():
    """A local Ray of twelve logical CPUs, the only one of a test process."""
    import ray

    from actors.runtime import ray_start

    ray_start.start("local", num_cpus=12, include_dashboard=False)  # patient where the machine is busy
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def trained_model(tiny_model, tmp_path_factory) -> Path:
    """The tiny model after some seconds of plain SFT: it thinks, closes its thinking and boxes an answer, seldom the
    right one. For tests of what is done with a model that speaks, without Ray or DeepSpeed."""
    from tests.quick_sft import speak

    return speak(tiny_model, tmp_path_factory.mktemp("trained"))
