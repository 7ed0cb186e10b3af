"""What a learner rank is made from, and what it answers."""

from dataclasses import dataclass, field

import numpy as np

from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import LearnerConfig

Numerics = dict[str, str | int]  # what the last bits of a step depend on besides config, weights and batch


@dataclass(frozen=True, slots=True)
class Taught:
    """How a teacher's scores enter the loss (`srm_ray.rl.distillation`). top_k: 0 for the sampled tokens alone."""

    weight: float
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """model: Hugging Face folder or hub name. temperature: the sampler's. threads: of one rank.

    publish_dtype: of published weights, torch's name; empty: that of the learner's own. transport: "pull" or "ipc".
    teacher: None where nobody scores the samples.
    """

    model: str
    learner: LearnerConfig
    loss: LossConfig
    temperature: float
    seed: int
    threads: int
    publish_dtype: str = ""
    transport: str = "pull"
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    teacher: Taught | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """What the micro-batches of an optimizer update share. denominator: of the whole update (see `srm_ray.rl.loss`).

    entropy_beta: weight of the entropy bonus.
    """

    denominator: float
    entropy_beta: float = 0.0


@dataclass(frozen=True, slots=True)
class Started:
    """A rank that is ready. pid, node: where it is, node as Ray's id of it."""

    pid: int
    node: str
    numerics: Numerics


@dataclass(frozen=True, slots=True)
class StepSums:
    """Sums over completion tokens of an update, of one rank or of all.

    values: by name, as in `actors.learner.sums`. by_worker: of each rollout worker, tokens and the sum of their
    |log-probability difference|. logprobs: the learner's own of each token before the update, [C] of each micro-batch;
    the mismatch is measured against them.
    """

    values: dict[str, float]
    by_worker: dict[str, tuple[float, float]]
    logprobs: tuple[np.ndarray, ...]
