"""The one-GPU recipe, as far as a machine without a GPU can tell: engine arguments, and who has the card when."""

import asyncio
from dataclasses import replace

import pytest

from actors.rollout.engine_spec import EngineSpec, engine_args
from actors.worker_groups import WorkerGroups, engine_spec
from srm_ray.config.command_line import build, config_file, read_yaml
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import UserError
from srm_ray.rl.types import TrainBatch

pytestmark = pytest.mark.integration


@pytest.fixture
def recipe():
    return read_yaml(config_file("grpo/one_gpu"))


def test_engine_sleeps_and_reads_the_learners_memory(recipe, monkeypatch):
    monkeypatch.setattr("vllm.engine.arg_utils.EngineArgs.__post_init__", lambda self: None)  # it looks for the GPU
    args = engine_args(engine_spec(build(GRPOConfig, recipe), "model", 1280, (2,)))
    from actors.rollout import ipc_engine

    assert args.enable_sleep_mode
    assert args.weight_transfer_config.backend == ipc_engine.NAME
    assert args.gpu_memory_utilization == 0.45


def test_a_worker_of_its_own_card_stays_awake_and_pulls(monkeypatch):
    monkeypatch.setattr("vllm.engine.arg_utils.EngineArgs.__post_init__", lambda self: None)
    args = engine_args(replace(EngineSpec("model", (2,), 1280, 128, "auto", 0), gpus=1.0))
    assert not args.enable_sleep_mode
    assert args.weight_transfer_config.backend == "pull"


class Recorder:
    """Stands where the rollout workers and the learner stand, and writes down what is asked of them."""

    def __init__(self):
        self.calls = []
        self.node = "here"

    def nodes(self):
        return {"here"}

    async def unless_lost(self, work):
        return await work

    def __getattr__(self, name):
        async def call(*args, **options):
            self.calls.append(name)

        return call


def workers_of(config):
    workers = WorkerGroups.__new__(WorkerGroups)
    workers.config, workers.asleep = config, False
    workers.rollouts = workers.learner = Recorder()
    return workers


async def a_step(workers):
    await workers.learn(TrainBatch((), 0), 1e-6)
    await workers.push_weights(1)


def test_engine_sleeps_while_the_learner_learns(recipe):
    workers = workers_of(build(GRPOConfig, recipe))
    asyncio.run(a_step(workers))
    asyncio.run(workers.push_weights(1))  # a checkpoint's weights: nobody sleeps
    assert workers.rollouts.calls == ["sleep", "step", "publish", "wake_up", "push", "publish", "push"]


def test_engines_with_cards_of_their_own_stay_awake():
    workers = workers_of(GRPOConfig())
    asyncio.run(a_step(workers))
    assert workers.rollouts.calls == ["step", "publish", "push"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rollout": {"sleep": True, "gpus": 0}}, r"rollout\.sleep true frees a GPU's memory \(got rollout\.gpus 0\)"),
        ({"weights": {"transport": "ipc"}}, r"weights\.transport ipc wants .*\(got 0 and 0, 1 and 1 workers\)"),
        (
            {"weights": {"transport": "ipc"}, "rollout": {"gpus": 0.5}, "learner": {"gpus": 0.5, "zero_stage": 3}},
            r"learner\.zero_stage below 3 \(got 3\)",
        ),
    ],
)
def test_what_one_card_cannot_do_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        build(GRPOConfig, changes)
