"""What a rank counts over the completion tokens of a step."""

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Compared:
    """A micro-batch's log-probabilities, mask and |difference| from the sampler's, [C] each, still on the device."""

    batch: PackedBatch
    logprobs_C: "Tensor"
    mask_C: "Tensor"
    distance_C: "Tensor"


class Sums:
    """Sums over completion tokens of a step, per rank; the driver adds ranks up and divides.

    What a micro-batch adds stays on the device until the step's end: reading it at once would make the host wait for
    the device in every micro-batch.
    """

    def __init__(self) -> None:
        self._added: list[tuple[str, float | Tensor]] = []
        self._compared: list[Compared] = []

    def add(self, **values: "float | Tensor") -> None:
        self._added += values.items()

    def add_tokens(self, batch: PackedBatch, options: Options, tokens: Tokens) -> None:
        """Counts of one micro-batch."""
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
            mismatch_max=distance_C.max(),
            packed_tokens=len(batch.tokens_T),
        )
        self._compared.append(Compared(batch, tokens.old_C.float(), mask_C, distance_C))

    @property
    def values(self) -> dict[str, float]:
        """By name: sums, and of `mismatch_max` the largest."""
        found: dict[str, float] = {}
        for (name, _), value in zip(self._added, numbers([value for _, value in self._added]), strict=True):
            before = found.get(name, 0.0)
            found[name] = max(before, value) if name == "mismatch_max" else before + value
        return found

    def result(self) -> StepSums:
        """`by_worker` holds (tokens, sum of |difference|) of each rollout worker."""
        by_worker: dict[str, tuple[float, float]] = {}
        masks = arrays([one.mask_C for one in self._compared])
        distances = arrays([one.distance_C for one in self._compared])
        for compared, mask_C, distance_C in zip(self._compared, masks, distances, strict=True):
            batch = compared.batch
            worker_S = np.asarray(batch.workers_S)
            counted_C, apart_C = mask_C * batch.proof_C, distance_C * batch.proof_C
            for worker in np.unique(worker_S):
                chosen_C = (worker_S == worker)[batch.sequence_C]
                count, apart = by_worker.get(str(worker), (0.0, 0.0))
                count += float(counted_C[chosen_C].sum())
                apart += float(apart_C[chosen_C].sum(dtype=np.float64))
                by_worker[str(worker)] = (count, apart)
        return StepSums(self.values, by_worker, tuple(arrays([one.logprobs_C for one in self._compared])))


def numbers(values: "Sequence[float | Tensor]") -> list[float]:
    """As Python has them; those of a device in one transfer."""
    import torch

    there = [value.detach().double() for value in values if isinstance(value, torch.Tensor)]
    fetched = iter(torch.stack(there).tolist() if there else ())
    return [next(fetched) if isinstance(value, torch.Tensor) else float(value) for value in values]


def arrays(tensors: "Sequence[Tensor]") -> list[np.ndarray]:
    """Tensors [C] of one dtype as NumPy has them, in one transfer."""
    import torch

    if not tensors:
        return []
    whole = torch.cat(list(tensors)).cpu().numpy()
    return np.split(whole, np.cumsum([len(tensor) for tensor in tensors])[:-1])
