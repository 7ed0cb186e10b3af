"""The hardware that a run's workers compute on, and the dtypes that `auto` stands for there.

    config with `auto` --settle_*--> config with names, and one line that says which and why

The driver decides for everybody: on a cluster it asks every node on which the workers may be placed, and the one that
computes least decides for all. A continued run keeps what its config.yaml says (`RunFolder.check_config`).
"""

import functools
from typing import Any, TypeVar

from actors.runtime import cluster
from srm_ray.config.engine import EngineConfig
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.grpo import GRPOConfig, LearnerConfig
from srm_ray.config.precision import AUTO
from srm_ray.config.stages import TrainStage
from srm_ray.console.progress import echo
from srm_ray.model import precision
from srm_ray.model.precision import Hardware

SampledT = TypeVar("SampledT", bound=Any)  # a config with a `rollout` section
RunT = TypeVar("RunT", bound=GRPOConfig)
StageT = TypeVar("StageT", bound=TrainStage)
ANSWER = 120.0  # seconds in which a node says what it has: a worker there imports PyTorch first


def hardware(gpu: bool, asked: str = AUTO) -> Hardware:
    """Of the machines that may compute: this one, or the nodes of the cluster that runs.

    asked: BF16 by name has the slowdown measured where it is emulated.
    """
    measure = precision.is_bf16(asked)
    others = other_nodes(gpu)
    if others is None:
        return precision.probe(gpu, measure)
    return precision.least(ask(tuple(others), gpu, measure))


def other_nodes(gpu: bool) -> list[str] | None:
    """Ids of the cluster's nodes to ask, those with GPUs where GPUs compute; None where this machine is all there is.

    Joins a cluster that runs already.
    """
    import ray

    if not ray.is_initialized():
        if not cluster.running():
            return None
        cluster.connect()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and (not gpu or node["Resources"].get("GPU"))]
    here = ray.get_runtime_context().get_node_id()
    return None if nodes in ([], [here]) else nodes


@functools.lru_cache
def ask(nodes: tuple[str, ...], gpu: bool, measure: bool) -> tuple[Hardware, ...]:
    """What each node has, in the order of the nodes."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0)(precision.probe)
    calls = [
        remote.options(
            name="compute.probe", scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        ).remote(gpu, measure)
        for node in nodes
    ]
    return tuple(ray.get(calls, timeout=ANSWER))


def trains_on_gpus(workers: int) -> bool:
    """Whether a Ray Train stage has a GPU for each of its workers. Ray must be initialised."""
    import ray

    return int(ray.cluster_resources().get("GPU", 0)) >= workers


# Settling


def settle_optim(config: StageT) -> StageT:
    """A stage's config with `optim.precision` settled. Ray must be initialised."""
    chosen = settle_training(config.optim.precision, gpu=trains_on_gpus(config.workers))
    return config.model_copy(update={"optim": config.optim.model_copy(update={"precision": chosen})})


def settle_training(asked: str, *, gpu: bool) -> str:
    """The precision for `asked`, reported in one line."""
    found = hardware(gpu, asked)
    chosen = precision.training(asked, found)
    echo(f"compute: {chosen} ({found})")
    warn(found, chosen)
    return chosen


def settle_learner(config: RunT) -> RunT:
    """`learner.precision` settled, with a warning where it is emulated; `settle_run` reports the rest."""
    options = config.learner
    found = hardware(bool(options.gpus), options.precision)
    chosen = precision.training(options.precision, found)
    warn(found, chosen)
    return config.model_copy(update={"learner": options.model_copy(update={"precision": chosen})})


def settle_run(config: RunT, model: str) -> RunT:
    """The dtypes of a whole GRPO run settled, reported in one line. The learner's precision is settled already."""
    learner = config.learner.precision
    config = settle_rollout(config, model, quiet=True)
    found = hardware(bool(config.learner.gpus))
    echo(f"compute: {learner} in the learner, {config.rollout.dtype} in the engines ({found})")
    return config


def settle_rollout(config: SampledT, model: str, *, quiet: bool = False) -> SampledT:
    """`rollout.dtype` settled for a model folder or hub name."""
    options = config.rollout
    chosen = settle_engine(options, model, quiet=quiet)
    return config.model_copy(update={"rollout": options.model_copy(update={"dtype": chosen})})


def settle_evaluation(config: EvaluateConfig, model: str) -> EvaluateConfig:
    """`engine.dtype` settled for a model folder or hub name."""
    chosen = settle_engine(config.engine, model)
    return config.model_copy(update={"engine": config.engine.model_copy(update={"dtype": chosen})})


def settle_engine(options: EngineConfig, model: str, *, quiet: bool = False) -> str:
    found = hardware(bool(options.gpus), options.dtype)
    chosen = engine_dtype(options, model, found)
    if not quiet:
        echo(f"compute: {chosen} in the engines ({found})")
    warn(found, chosen)
    return chosen


def engine_dtype(options: EngineConfig, model: str, found: Hardware | None = None) -> str:
    """What an engine's `dtype` stands for."""
    if options.dtype != AUTO and found is None:
        return options.dtype
    parameters = precision.parameters_of(model) if options.dtype == AUTO and not options.gpus else 0
    return precision.answering(options.dtype, found or hardware(bool(options.gpus)), parameters)


def learner_precision(options: LearnerConfig) -> str:
    """What a learner's `precision` stands for."""
    if options.precision != AUTO:
        return options.precision
    return precision.training(AUTO, hardware(bool(options.gpus)))


def warn(found: Hardware, chosen: str) -> None:
    """Say it where BF16 was asked for by name and is emulated."""
    if line := precision.warning(chosen, found):
        echo(line)
