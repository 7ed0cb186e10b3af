"""The norms of vLLM's engine on a CPU: what they compute, and that a token's does not depend on the others."""

import pytest
import torch

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def norms():
    """The two operations with our kernels chosen as the engine's worker chooses them."""
    from vllm import ir

    from actors.rollout import cpu_kernels

    chosen = cpu_kernels.priorities()
    assert chosen, "vLLM's build for CPUs has the kernels"
    assert chosen == cpu_kernels.priorities(), "a second engine of the process registers nothing anew"
    with (
        ir.ops.rms_norm.set_priority(chosen["rms_norm"]),
        ir.ops.fused_add_rms_norm.set_priority(chosen["fused_add_rms_norm"]),
    ):
        yield ir.ops


def by_definition(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x = x.double()
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight.double()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("width", [64, 192, 576])
def test_they_are_the_norm(norms, dtype: torch.dtype, tolerance: float, width: int) -> None:
    torch.manual_seed(0)
    x, residual, weight = torch.randn(7, width).to(dtype), torch.randn(7, width).to(dtype), torch.rand(width).to(dtype)
    assert norms.rms_norm.dispatch(x, weight, 1e-6).provider == "srm_ray_cpu"
    torch.testing.assert_close(
        norms.rms_norm(x, weight, 1e-6).double(), by_definition(x, weight), atol=tolerance, rtol=tolerance
    )
    wanted = (
        by_definition((x.double() + residual.double()).to(dtype), weight),
        (x.double() + residual.double()).to(dtype),
    )
    normed, total = norms.fused_add_rms_norm.maybe_inplace(x.clone(), residual.clone(), weight, 1e-6)
    torch.testing.assert_close(normed.double(), wanted[0], atol=2 * tolerance, rtol=2 * tolerance)
    torch.testing.assert_close(total, wanted[1])


def test_a_part_of_a_wider_tensor_is_normed_by_itself(norms) -> None:
    wide, weight = torch.randn(5, 3 * 64), torch.rand(64)
    heads = wide[:, 64:].view(5, 2, 64)
    assert not heads.is_contiguous()
    torch.testing.assert_close(
        norms.rms_norm(heads, weight, 1e-6).double(), by_definition(heads, weight), atol=2e-6, rtol=2e-6
    )


def test_a_tokens_norm_has_the_same_bits_in_any_batch(norms) -> None:
    x, weight = torch.randn(300, 192), torch.rand(192)
    alone = torch.cat([norms.rms_norm(row[None], weight, 1e-6) for row in x])
    assert torch.equal(alone, norms.rms_norm(x, weight, 1e-6))


def test_what_the_kernel_does_not_take_is_left_to_vllm(norms) -> None:
    x, weight = torch.randn(4, 64), torch.rand(64)
    for arguments in ((x, None, 1e-6), (x, weight.bfloat16(), 1e-6), (x, weight, 1e-6, 32)):
        assert norms.rms_norm.dispatch(*arguments).provider == "native"
