"""Names of compute dtypes: `learner.precision` and `optim.precision` in training, `dtype` where a model only answers.

What `auto` stands for is decided in `srm_ray.model.precision`.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

AUTO = "auto"
FORMER = {"autocast": "bf16_autocast", "bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}


def current_name(value: Any) -> Any:
    """The name of today for one that configs had before."""
    return FORMER.get(value, value) if isinstance(value, str) else value


Precision = Annotated[Literal["auto", "float32", "bf16_autocast", "bfloat16", "float16"], BeforeValidator(current_name)]
Dtype = Annotated[Literal["auto", "float32", "bfloat16", "float16"], BeforeValidator(current_name)]

PRECISION = (
    "auto: bf16_autocast where the hardware computes BF16, else float32 on a CPU and float16 on a GPU; float32; "
    "bf16_autocast: FP32 weights, BF16 products; bfloat16, float16: weights in it, FP32 masters in the optimizer, "
    "float16 with loss scaling"
)
DTYPE = (
    "weights and compute of the engine; auto: bfloat16 where the hardware computes BF16 (on a CPU float32 all the same "
    "for small models), else float32 on a CPU and float16 on a GPU"
)
