"""What a rank counts over the completion tokens of a step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actors.learner.spec import StepSums
from srm_ray.rl.algorithms.contract import Options
from srm_ray.rl.batching import PackedBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """The completion tokens of a micro-batch, [C] each: log-probabilities before the update and as they were sampled,
    whether each counts, its advantage, the entropy where it was drawn, and the ratio that is clipped."""

    old_C: "Tensor"
    rollout_C: "Tensor"
    mask_C: "Tensor"
    advantages_C: "Tensor"
    entropy_C: "Tensor"
    ratio_C: "Tensor"


class Sums:
    """Sums over completion tokens of a step, per rank; the driver adds ranks up and divides."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.by_worker: dict[str, tuple[float, float]] = {}
        self.logprobs: list[np.ndarray] = []

    def add(self, **values: "float | Tensor") -> None:
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + float(value)

    def add_tokens(self, batch: PackedBatch, options: Options, tokens: Tokens) -> None:
        """Counts of one micro-batch; `by_worker` holds (tokens, sum of |difference|) for each rollout worker."""
        from srm_ray.rl.loss import k3

        mask_C = tokens.mask_C
        difference_C = tokens.old_C - tokens.rollout_C
        distance_C = difference_C.abs() * mask_C
        high_C = (tokens.ratio_C > 1 + options.clip_high) & (tokens.advantages_C > 0)
        low_C = (tokens.ratio_C < 1 - options.clip_low) & (tokens.advantages_C < 0)
        self.add(
            tokens=mask_C.sum(),
            entropy=(tokens.entropy_C * mask_C).sum(),
            clipped_high=(high_C * mask_C).sum(),
            clipped_low=(low_C * mask_C).sum(),
            mismatch_kl=(k3(difference_C) * mask_C).sum(),
            mismatch_abs=distance_C.sum(),
            packed_tokens=len(batch.tokens_T),
        )
        self.values["mismatch_max"] = max(self.values.get("mismatch_max", 0.0), float(distance_C.max()))
        self.logprobs.append(tokens.old_C.float().cpu().numpy())
        worker_S = np.asarray(batch.workers_S)
        counted = mask_C.cpu().numpy() * batch.proof_C
        distance = distance_C.cpu().numpy() * batch.proof_C
        for worker in np.unique(worker_S):
            chosen = (worker_S == worker)[batch.sequence_C]
            count, apart = self.by_worker.get(str(worker), (0.0, 0.0))
            count += float(counted[chosen].sum())
            apart += float(distance[chosen].sum(dtype=np.float64))
            self.by_worker[str(worker)] = (count, apart)

    def result(self) -> StepSums:
        return StepSums(self.values, self.by_worker, tuple(self.logprobs))
