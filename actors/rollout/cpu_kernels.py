"""RMSNorm in vLLM's engine on a CPU by the kernel that vLLM brings for CPUs.

vLLM 0.32 chooses between implementations by platform, and on a CPU takes PyTorch's five operations in place of one: a
tenth of the time of a small model's step. Either way a token's norm is its own, whatever else is in the batch.
"""

PROVIDER = "srm_ray_cpu"
NORMS = ("rms_norm", "fused_add_rms_norm")


def priorities() -> dict[str, list[str]]:
    """vLLM's `ir_op_priority` for a CPU: the kernels, and where they do not take something, PyTorch's operations. Empty
    where this build of vLLM has none."""
    return {name: [PROVIDER, "native"] for name in NORMS} if register() else {}


def register() -> bool:
    """Make them known to vLLM in this process, once. False where there are none, or the engine is on no CPU."""
    import torch
    from torch import Tensor
    from vllm import ir
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return False
    current_platform.import_kernels()
    if not all(hasattr(torch.ops._C, name) for name in NORMS):
        return False
    if PROVIDER in ir.ops.rms_norm.impls:
        return True

    def takes(x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None) -> bool:
        return variance_size is None and weight is not None and weight.dtype == x.dtype

    def takes_both(
        x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
    ) -> bool:
        return takes(x, weight, epsilon, variance_size) and x.is_contiguous() and x_residual.is_contiguous()

    def rms_norm(x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None) -> Tensor:
        x = x.contiguous()  # a head's own norm gets a part of the projection's output
        normed = torch.empty_like(x)
        torch.ops._C.rms_norm(normed, x, weight, epsilon)
        return normed

    def fused_add_rms_norm(
        x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
        return x, x_residual

    ir.ops.rms_norm.register_impl(PROVIDER, supports_args=takes)(rms_norm)
    ir.ops.fused_add_rms_norm.register_impl(PROVIDER, supports_args=takes_both, inplace=True)(fused_add_rms_norm)
    return True
