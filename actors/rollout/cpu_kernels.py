"""RMSNorm in vLLM's engine on a CPU by the kernel that vLLM brings for CPUs.

vLLM 0.32 chooses between implementations by platform, and on a CPU takes PyTorch's five operations in place of one: a
tenth of the time of a small model's step. Either way a token's norm is its own, whatever else is in the batch.
"""

PROVIDER = "srm_ray_cpu"


def priorities() -> dict[str, list[str]]:
    """vLLM's `ir_op_priority` for a CPU. Registers the kernels; empty where this build of vLLM has none."""
    import torch
    from vllm import ir
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    if not all(hasattr(torch.ops._C, name) for name in ("rms_norm", "fused_add_rms_norm")):
        return {}
    if PROVIDER not in ir.ops.rms_norm.impls:
        _register()
    return {name: [PROVIDER, "native"] for name in ("rms_norm", "fused_add_rms_norm")}


def _register() -> None:
    import torch
    from torch import Tensor
    from vllm import ir

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
