"""Learning-rate schedule and decay groups, as pure functions."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srm_ray.config.optim import OptimizerConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate of each step: linear warm-up from 0, then `shape` down to `floor`.

    peak, floor: learning rates. Example: 3e-4, 3e-5.
    steps: optimizer steps of the whole run. warmup: of these, the first that warm up.
    shape: "cosine", "linear" or "constant".
    length: steps at which it reaches `floor`, and past which it stays there; 0: `steps`.

    A rate depends on the step, and on how long the schedule is, alone. So a run that is given more steps goes on at the
    rates of a run planned that long from its start: with "constant" the same run, with the others a rate that is
    higher, where the shorter run ended, than its last. With `length` set, the parts of a run are one run, bit for bit.
    """

    peak: float
    floor: float
    steps: int
    warmup: int
    shape: str = "cosine"
    length: int = 0

    @classmethod
    def of(cls, options: OptimizerConfig, steps: int) -> "Schedule":
        """As the options say, for a run of so many steps."""
        length = options.schedule_steps or steps
        warmup = options.warmup_steps or math.ceil(options.warmup * length)
        return cls(options.lr, options.floor * options.lr, steps, warmup, options.schedule, length)

    def at(self, step: int) -> float:
        """Rate of step `step`, counted from 0; the first step already moves."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, (self.length or self.steps) - self.warmup))
        if self.shape == "constant":
            return self.peak
        left = 0.5 * (1 + math.cos(math.pi * done)) if self.shape == "cosine" else 1 - done
        return self.floor + (self.peak - self.floor) * left


def decay_groups(model: "nn.Module", weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices only: gains and biases are left alone."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if w.ndim >= 2], "weight_decay": weight_decay},
        {"params": [w for w in trained if w.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]  # adapters are matrices
