"""Every loss against numbers worked out by hand: its value and its gradient."""

import math
from typing import Any

import pytest
import torch

from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.errors import UserError
from srm_ray.rl.algorithms.contract import Algorithm, TokenInputs
from srm_ray.rl.loss import k3, kl_loss, mismatch_weights, reduced, sequence_mismatch_weights, sequence_weights
from srm_ray.training.algorithm import algorithm_of

LOW, HIGH = 0.20, 0.28


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_and_gradient(
    name,
    ratios: list[float],
    advantages: list[float],
    *,
    denominator: float = 1.0,
    mask: list[float] | None = None,
    weights: list[float] | None = None,
    sequence: list[int] | None = None,
) -> tuple[float, list[float]]:
    """The loss at log pi_old = -2 and log pi = -2 + log ratio, and its gradient by each log pi."""
    old = torch.full((len(ratios),), -2.0, dtype=torch.float64)
    logprobs = (old + tensor(*ratios).log()).requires_grad_()
    mask_C = tensor(*(mask or [1.0] * len(ratios)))
    tokens = TokenInputs(logprobs, old, tensor(*advantages), mask_C, torch.tensor(sequence or [0] * len(ratios)))
    loss = reduced(named(name).loss(tokens), tensor(*(weights or [1.0] * len(ratios))), mask_C, denominator)
    loss.backward()
    assert logprobs.grad is not None
    return loss.item(), logprobs.grad.tolist()


def named(name: str, **options: Any) -> Algorithm:
    return algorithm_of(AlgorithmConfig(name=name), LossConfig(**{"clip_low": LOW, "clip_high": HIGH} | options))


@pytest.mark.parametrize("name", ["dapo", "dr_grpo"])
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.5, 1.0, -1.28, 0.0),  # already likelier than the band allows: held, no gradient
        (0.5, -1.0, 0.80, 0.0),  # already less likely than the band allows
        (1.0, 1.0, -1.0, -1.0),
        (1.27, 1.0, -1.27, -1.27),  # clip-higher: 1.2 would have been PPO's bound
        (0.5, 1.0, -0.5, -0.5),  # a good token that became unlikely is pulled back
        (1.5, -1.0, 1.5, 1.5),  # a bad token that became likely is pushed back
        (0.81, -2.0, 1.62, 1.62),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate(name, ratio, advantage, loss, gradient):
    found, slope = loss_and_gradient(name, [ratio], [advantage])
    assert found == pytest.approx(loss)
    assert slope == [pytest.approx(gradient)]


def test_tokens_share_the_denominator_whichever_completion_they_belong_to():
    loss, gradient = loss_and_gradient("dapo", [1.0, 1.1, 1.5], [1.0, 1.0, -2.0], sequence=[0, 0, 1], denominator=10)
    assert loss == pytest.approx((-1.0 - 1.1 + 3.0) / 10)
    assert gradient == pytest.approx([-0.1, -0.11, 0.3])


def test_masked_token_has_neither_value_nor_gradient():
    loss, gradient = loss_and_gradient("dapo", [1.1, 1.2], [1.0, 1.0], mask=[1, 0])
    assert loss == pytest.approx(-1.1)
    assert gradient == pytest.approx([-1.1, 0.0])


def test_masked_token_with_extreme_log_ratio_leaves_no_nan():
    """A token outside the loss may have any log-probability: exp must not overflow behind its mask."""
    old = tensor(-2.0, -2000.0)
    logprobs = tensor(-2.0, -1.0).requires_grad_()
    mask = tensor(1.0, 0.0)
    tokens = TokenInputs(logprobs, old, tensor(1.0, 1.0), mask, torch.tensor([0, 0]))
    loss = reduced(named("dapo").loss(tokens), tensor(1.0, 1.0), mask, 1.0)
    loss.backward()
    assert loss.item() == -1.0
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [-1.0, 0.0]


def test_mismatch_weight_scales_value_and_gradient_but_not_the_denominator():
    loss, gradient = loss_and_gradient("dapo", [1.1, 1.1], [1.0, 1.0], weights=[2.0, 0.0], denominator=2)
    assert loss == pytest.approx(-1.1)
    assert gradient == pytest.approx([-1.1, 0.0])


@pytest.mark.parametrize(
    ("ratio", "advantage", "factor"),
    [(1.0, 1.0, 1.0), (1.5, 1.0, 1.28), (0.5, -1.0, 0.5), (1.5, -1.0, 1.28), (0.01, 1.0, 0.01)],
)
def test_cispo_keeps_the_gradient_of_every_token_at_a_capped_weight(ratio, advantage, factor):
    loss, gradient = loss_and_gradient("cispo", [ratio], [advantage], denominator=2)
    assert loss == pytest.approx(-factor * advantage * (-2 + math.log(ratio)) / 2)
    assert gradient == [pytest.approx(-factor * advantage / 2)]


def test_gspo_clips_the_geometric_mean_of_a_completion():
    # completion 0: sqrt(1.44 * 1) = 1.2 inside the band; completion 1: 1.5, clipped although one token is at 1.
    loss, gradient = loss_and_gradient(
        "gspo", [1.44, 1.0, 2.25, 1.0], [1.0, 1.0, 0.5, 0.5], sequence=[0, 0, 1, 1], denominator=2
    )
    assert loss == pytest.approx((-1.2 - 1.28 * 0.5) / 2)
    # d/dlogp_t of -s A / S, s = exp(mean log-ratio): -s A / (|y| S) at both tokens; none where clipped.
    assert gradient == pytest.approx([-0.3, -0.3, 0.0, 0.0])


def test_gspo_weighs_completions_equally_whatever_their_length():
    short, _ = loss_and_gradient("gspo", [1.1], [1.0], sequence=[0])
    long, gradient = loss_and_gradient("gspo", [1.1] * 5, [1.0] * 5, sequence=[0] * 5)
    assert short == pytest.approx(long) == pytest.approx(-1.1)
    assert gradient == pytest.approx([-0.22] * 5)


def test_gspo_mean_is_over_unmasked_tokens():
    loss, gradient = loss_and_gradient("gspo", [1.44, 1.0, 9.0], [1.0] * 3, mask=[1, 1, 0])
    assert loss == pytest.approx(-1.2)
    assert gradient == pytest.approx([-0.6, -0.6, 0.0])


def test_unknown_loss_names_the_valid_ones():
    with pytest.raises(UserError, match="--algorithm ppo: neither one of grpo, dapo, dr_grpo, gspo, cispo, "):
        loss_and_gradient("ppo", [1.0], [1.0])


# KL


@pytest.mark.parametrize(("d", "value"), [(0.0, 0.0), (1.0, math.e - 2), (-1.0, 1 / math.e), (1e-6, 5e-13)])
def test_k3(d, value):
    assert k3(tensor(d)).item() == pytest.approx(value, rel=1e-3)


def test_kl_loss_value_and_gradient():
    """d/dlogp of exp(d) - d - 1 with d = log pi_ref - log pi is 1 - exp(d)."""
    logprobs = tensor(-1.0, -2.0, -3.0).requires_grad_()
    loss = kl_loss(logprobs, tensor(-0.5, -2.5, 0.0), tensor(1, 1, 0), denominator=4)
    loss.backward()
    assert loss.item() == pytest.approx((math.exp(0.5) - 1.5 + math.exp(-0.5) - 0.5) / 4)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([(1 - math.exp(0.5)) / 4, (1 - math.exp(-0.5)) / 4, 0.0])


def test_k3_is_unbiased_for_the_kl_divergence():
    p, q = tensor(0.5, 0.3, 0.2), tensor(0.2, 0.5, 0.3)
    assert (p * k3(q.log() - p.log())).sum().item() == pytest.approx((p * (p / q).log()).sum().item())


# Rollout against learner


def test_truncated_importance_sampling():
    old = tensor(*(math.log(w) for w in (0.1, 1.0, 1.9, 5.0))) - 3
    rollout = tensor(-3.0, -3.0, -3.0, -3.0)
    assert mismatch_weights(old, rollout, cap=2.0).tolist() == pytest.approx([0.1, 1.0, 1.9, 2.0])
    assert mismatch_weights(old, rollout, cap=None).tolist() == [1.0] * 4


def test_icepop_masks_tokens_outside_the_band():
    old = tensor(*(math.log(w) for w in (0.4, 0.6, 1.0, 3.0, 6.0)))
    rollout = torch.zeros(5, dtype=torch.float64)
    masked = mismatch_weights(old, rollout, cap=2.0, band=(0.5, 5.0))
    assert masked.tolist() == pytest.approx([0.0, 0.6, 1.0, 2.0, 0.0])
    assert mismatch_weights(old, rollout, cap=None, band=(0.5, 5.0)).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_mismatch_weights_carry_no_gradient():
    old = tensor(-1.0).requires_grad_()
    assert not mismatch_weights(old, tensor(-2.0), cap=2.0).requires_grad
    assert not weights_of([[0.5]], geometric=True, old=old).requires_grad


def weights_of(
    ratios: list[list[float]],
    *,
    geometric: bool,
    cap: float | None = 2.0,
    band: tuple[float, float] | None = None,
    mask: list[float] | None = None,
    old: torch.Tensor | None = None,
) -> torch.Tensor:
    """ratios: pi_old / pi_rollout of each token, by completion."""
    flat = [ratio for completion in ratios for ratio in completion]
    rollout = torch.full((len(flat),), -3.0, dtype=torch.float64)
    return sequence_mismatch_weights(
        rollout + tensor(*flat).log() if old is None else old,
        rollout,
        mask_C=tensor(*(mask or [1.0] * len(flat))),
        sequence_C=torch.tensor([number for number, completion in enumerate(ratios) for _ in completion]),
        geometric=geometric,
        cap=cap,
        band=band,
    )


def test_sequence_weights_are_the_product_of_a_completions_tokens():
    ratios = [[1.5, 1.2], [0.5, 0.5, 2.0], [4.0]]
    assert weights_of(ratios, geometric=False).tolist() == pytest.approx([1.8] * 2 + [0.5] * 3 + [2.0])
    assert weights_of(ratios, geometric=False, cap=None).tolist() == [1.0] * 6


def test_geometric_weights_are_a_mean_that_does_not_grow_with_length():
    ratios = [[2.0, 0.5], [1.44, 1.0], [1.1] * 20, [9.0]]
    expected = [1.0] * 2 + [1.2] * 2 + [1.1] * 20 + [2.0]
    assert weights_of(ratios, geometric=True).tolist() == pytest.approx(expected)
    assert weights_of([[1.1] * 20], geometric=False, cap=None, band=(0.0, 2.0)).tolist() == [0.0] * 20  # 6.7


def test_a_band_leaves_whole_completions_out():
    ratios = [[3.0, 0.5], [0.2, 2.0], [1.0, 1.0]]
    assert weights_of(ratios, geometric=False, band=(0.5, 1.2)).tolist() == [0.0] * 4 + [1.0] * 2
    found = weights_of(ratios, geometric=True, cap=None, band=(0.6, 1.25))
    assert found.tolist() == [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # sqrt(1.5), sqrt(0.4), 1
    found = weights_of(ratios, geometric=True, cap=None, band=(0.7, 1.25))
    assert found.tolist() == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]


def test_tokens_that_do_not_count_are_not_in_a_completions_weight():
    assert weights_of([[1.5, 1e30]], geometric=False, mask=[1, 0])[0].item() == pytest.approx(1.5)
    assert weights_of([[1.5, 1e30]], geometric=True, mask=[1, 0])[0].item() == pytest.approx(1.5)


def test_a_product_that_overflows_is_held_by_the_cap_and_left_out_by_the_band():
    huge = [[1e200, 1e200]]
    assert weights_of(huge, geometric=False).tolist() == [2.0, 2.0]
    assert weights_of(huge, geometric=False, band=(0.5, 5.0)).tolist() == [0.0, 0.0]


# Denominators


@pytest.mark.parametrize(
    ("name", "normalisation", "expected"),
    [
        ("dapo", "tokens", 120.0),
        ("dapo", "sequences", 8.0),
        ("dr_grpo", "constant", 8 * 2048.0),
        ("cispo", "tokens", 120.0),
        ("gspo", "sequences", 8.0),
        ("gspo", None, 8.0),
        ("grpo", None, 8.0),
        ("dapo", None, 120.0),
        ("dr_grpo", None, 8 * 2048.0),
        ("rloo", None, 8 * 2048.0),
        ("maxrl", None, 8 * 2048.0),
        ("reinforce_plus_plus", None, 120.0),
        ("sapo", None, 8.0),
    ],
)
def test_step_denominator(name, normalisation, expected):
    algorithm = named(name, normalisation=normalisation)
    assert algorithm.denominator(tokens=120, sequences=8, constant_length=2048) == expected


@pytest.mark.parametrize(("tokens", "sequences"), [(0, 0), (0, 1)])
def test_nothing_to_divide_by(tokens, sequences):
    with pytest.raises(ValueError, match="at least one unmasked"):
        named("dapo").denominator(tokens=tokens, sequences=sequences, constant_length=1)


def test_sequence_mean_weighs_each_completion_by_its_own_length():
    mask, sequence = tensor(1, 1, 1, 1, 1), torch.tensor([0, 1, 1, 1, 1])
    weights = sequence_weights(mask, sequence)
    assert weights.tolist() == [1.0, 0.25, 0.25, 0.25, 0.25]
    loss, gradient = loss_and_gradient(
        "dapo",
        [1.0] * 5,
        [3.0, 1.0, 1.0, 1.0, 1.0],
        weights=weights.tolist(),
        sequence=sequence.tolist(),
        denominator=2,
    )
    assert loss == pytest.approx(-(3.0 + 1.0) / 2)
    assert gradient == pytest.approx([-1.5] + [-0.125] * 4)


def test_sequence_mean_survives_a_completion_that_is_masked_out():
    assert sequence_weights(tensor(1, 1, 0), torch.tensor([0, 0, 1]))[:2].tolist() == [0.5, 0.5]
