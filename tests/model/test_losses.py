"""Losses at hand-computed points, with their gradients."""

import math

import pytest
import torch

from srm_ray.model.shapes import build, shape
from srm_ray.training import logits
from srm_ray.training.losses import apo_zero, dft, dpo, nll, noisy, sum_by_row, target_logprobs


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_dpo_at_the_reference_is_ln_2() -> None:
    chosen, rejected = leaf(0.0), leaf(0.0)
    loss = dpo(chosen, rejected, 0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-12)
    assert chosen.grad is not None and rejected.grad is not None
    assert (chosen.grad.item(), rejected.grad.item()) == pytest.approx((-0.25, 0.25), abs=1e-12)


def test_dpo_by_hand() -> None:
    chosen, rejected = leaf(1.0), leaf(-2.0)
    loss = dpo(chosen, rejected, 0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.5)), abs=1e-12)
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(-0.5 * sigmoid(-1.5), abs=1e-12)


def test_apo_zero_at_the_reference_is_1() -> None:
    chosen, rejected = leaf(0.0), leaf(0.0)
    loss = apo_zero(chosen, rejected, 0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-12)
    assert chosen.grad is not None and rejected.grad is not None
    assert (chosen.grad.item(), rejected.grad.item()) == pytest.approx((-0.125, 0.125), abs=1e-12)


def test_apo_zero_by_hand() -> None:
    chosen, rejected = leaf(2.0), leaf(1.0)
    loss = apo_zero(chosen, rejected, 1.0)
    loss.sum().backward()
    assert loss.item() == pytest.approx(1 - sigmoid(2) + sigmoid(1), abs=1e-12)
    assert chosen.grad is not None and rejected.grad is not None
    assert chosen.grad.item() == pytest.approx(-sigmoid(2) * (1 - sigmoid(2)), abs=1e-12)
    assert rejected.grad.item() == pytest.approx(sigmoid(1) * (1 - sigmoid(1)), abs=1e-12)


def test_dft_weighs_each_token_by_its_own_detached_probability() -> None:
    logprobs = leaf(math.log(0.5), math.log(0.25))
    loss = dft(logprobs)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(4), abs=1e-12)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([-0.5, -0.25], abs=1e-12)


def test_nll_sums() -> None:
    assert nll(leaf(-1.0, -2.5)).item() == 3.5


def test_neftune_noise_is_scaled_by_each_documents_own_length() -> None:
    torch.manual_seed(0)
    positions = torch.tensor([[0, 1, 2, 3] * 25 + list(range(100))])
    noise = noisy(torch.zeros(1, 200, 64), positions, 2.0, [7])
    short, long = noise[0, :100].abs().max().item(), noise[0, 100:].abs().max().item()
    assert short == pytest.approx(2.0 / (4 * 64) ** 0.5, rel=0.01)
    assert long == pytest.approx(2.0 / (100 * 64) ** 0.5, rel=0.01)


def test_logprobs_are_those_of_the_whole_logits_and_do_not_depend_on_chunks() -> None:
    torch.manual_seed(0)
    model = build(shape("tiny", vocab_size=384), seed=1)
    tokens = torch.randint(0, 384, (3, 20))
    positions = torch.arange(20).expand(3, 20)
    mask = torch.rand(3, 20) > 0.5
    mask[:, 0] = False
    full = torch.log_softmax(model(tokens).logits.float(), -1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    whole = target_logprobs(model, tokens, positions, mask)
    chunked = target_logprobs(model, tokens, positions, mask, chunk=7)
    torch.testing.assert_close(whole, full[mask[:, 1:]], atol=1e-5, rtol=0)
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(sum_by_row(whole, mask), (full * mask[:, 1:]).sum(1), atol=1e-4, rtol=0)


def test_a_large_vocabulary_s_logits_are_made_a_part_at_a_time(monkeypatch) -> None:
    torch.manual_seed(0)
    model = build(shape("tiny", vocab_size=384), seed=1)
    tokens, positions = torch.randint(0, 384, (2, 20)), torch.arange(20).expand(2, 20)
    made: list[int] = []
    model.get_output_embeddings().register_forward_hook(lambda *call: made.append(len(call[2])))

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        target_logprobs(model, tokens, positions, positions > 0).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    whole, count = gradients(), made[0]
    monkeypatch.setattr(logits, "ENTRIES", 7 * 384 + 5)
    made.clear()
    parts = gradients()
    assert (count, max(made), sum(made)) == (38, 7, 2 * 38)  # once forwards, once more in the backward pass
    for part, one in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, one, atol=1e-5, rtol=1e-4)
    assert logits.targets_at_once(1 << 40) == 1


def test_neftune_noise_of_a_row_does_not_depend_on_the_other_rows() -> None:
    positions = torch.arange(16).expand(3, 16)
    together = noisy(torch.zeros(3, 16, 8), positions, 2.0, [5, 6, 7])
    assert torch.equal(noisy(torch.zeros(1, 16, 8), positions[:1], 2.0, [6])[0], together[1])
    assert not torch.equal(together[0], together[1])
