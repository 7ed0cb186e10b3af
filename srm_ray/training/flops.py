"""How much of its hardware a training step uses."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


def peak_flops(reduced: bool) -> float:
    """FLOPs a second of this rank's device at best; 0 for a GPU that is not known. On a CPU measured,
    in BF16 where `reduced`."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return next((flops for known, flops in PEAK_FLOPS.items() if known in name), 0.0)
    size, seconds = 1024, []
    square = torch.ones(size, size, dtype=torch.bfloat16 if reduced else torch.float32)
    for _ in range(4):
        began = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def utilisation(module: "nn.Module", tokens_per_second: float, peak: float) -> dict[str, float]:
    """Model FLOPs utilisation: 6 FLOPs a parameter and token (PaLM, appendix B)."""
    if not peak:
        return {}
    parameters = sum(getattr(weight, "ds_numel", weight.numel()) for weight in module.parameters())
    return {"throughput/mfu": 6 * parameters * tokens_per_second / peak}
