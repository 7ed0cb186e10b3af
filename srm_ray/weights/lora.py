"""An adapter into its base: the one rule by which the learner and the rollout workers do it.

    W' = W + (alpha / rank) B A          (Hu et al. 2021, section 4.1)

W is the base as the engine holds it, rounded to the engine's dtype; the product and the sum are made in FP32, and W' is
rounded once, when it is stored. So where an adapter is nothing (B = 0) the engine computes with the base exactly.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from srm_ray.weights.flat import TensorSpec, view, views

if TYPE_CHECKING:
    from torch import Tensor

A, B = ".lora_A", ".lora_B"  # added to a weight's name: the names of its factors in a buffer


def merge(weight_OI: "Tensor", a_RI: "Tensor", b_OR: "Tensor", scale: float) -> "Tensor":
    """weight + scale b a, in FP32 (in FP64 where the weight is). I inputs, O outputs, R rank."""
    import torch

    dtype = torch.promote_types(weight_OI.dtype, torch.float32)
    return torch.addmm(weight_OI.to(dtype), b_OR.to(dtype), a_RI.to(dtype), alpha=scale)


class MergedBuffers:
    """Weights of a base's buffer with an adapter's buffer added, each tensor made as it is asked for.

    base: buffer with whole weights. adapter, specs: buffer with `name.lora_A` and `name.lora_B`, and its layout.
    device: where they are merged, torch's; None: where the buffers lie.
    """

    def __init__(self, base: Any, adapter: Any, specs: Iterable[TensorSpec], scale: float, device: Any = None):
        self.base, self.scale, self.device = base, scale, device
        self.factors = {name: factor.to(device) for name, factor in views(adapter, specs)}

    def changes(self, spec: TensorSpec) -> bool:
        return spec.name + A in self.factors

    def one(self, spec: TensorSpec) -> "Tensor":
        """In FP32 where the adapter changes it."""
        weight = view(self.base, spec)
        if not self.changes(spec):
            return weight
        return merge(weight.to(self.device), self.factors[spec.name + A], self.factors[spec.name + B], self.scale)

    def stacked(self, specs: Sequence[TensorSpec]) -> "Tensor":
        """Several one below the other."""
        import torch

        return torch.cat([self.one(spec).to(self.device) for spec in specs]) if len(specs) > 1 else self.one(specs[0])
