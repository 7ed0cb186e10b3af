"""What a rank counts over the completion tokens of a step."""

from typing import Any

import numpy as np


class Sums:
    """Sums over completion tokens of a step, per rank; the driver adds ranks up and divides."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.by_worker: dict[str, list[float]] = {}
        self.logprobs: list[np.ndarray] = []

    def add(self, **values: Any) -> None:
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + float(value)

    def add_tokens(self, batch, options, old_C, rollout_C, mask_C, advantages_C, entropy_C, ratio_C) -> None:
        """Counts of one micro-batch; `by_worker` holds [tokens, sum of |difference|] for each rollout worker."""
        from srm_ray.rl.loss import k3

        difference_C = old_C - rollout_C
        distance_C = difference_C.abs() * mask_C
        high_C = (ratio_C > 1 + options.clip_high) & (advantages_C > 0)
        low_C = (ratio_C < 1 - options.clip_low) & (advantages_C < 0)
        self.add(
            tokens=mask_C.sum(),
            entropy=(entropy_C * mask_C).sum(),
            clipped_high=(high_C * mask_C).sum(),
            clipped_low=(low_C * mask_C).sum(),
            mismatch_kl=(k3(difference_C) * mask_C).sum(),
            mismatch_abs=distance_C.sum(),
            packed_tokens=len(batch.tokens_T),
        )
        self.values["mismatch_max"] = max(self.values.get("mismatch_max", 0.0), float(distance_C.max()))
        self.logprobs.append(old_C.float().cpu().numpy())
        worker_S = np.asarray(batch.workers_S)
        counted = mask_C.cpu().numpy() * batch.proof_C
        distance = distance_C.cpu().numpy() * batch.proof_C
        for worker in np.unique(worker_S):
            chosen = (worker_S == worker)[batch.sequence_C]
            pair = self.by_worker.setdefault(str(worker), [0.0, 0.0])
            pair[0] += float(counted[chosen].sum())
            pair[1] += float(distance[chosen].sum(dtype=np.float64))

    def result(self) -> dict[str, Any]:
        return {"values": self.values, "by_worker": self.by_worker, "logprobs": self.logprobs}
