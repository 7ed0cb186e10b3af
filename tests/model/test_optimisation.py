import pytest

from srm_ray.model.shapes import build, shape
from srm_ray.training.schedule import Schedule, decay_groups


def test_warmup_then_cosine_to_the_floor() -> None:
    schedule = Schedule(peak=1.0, floor=0.1, steps=110, warmup=10)
    assert schedule.at(0) == pytest.approx(0.1)
    assert schedule.at(9) == schedule.at(10) == pytest.approx(1.0)
    assert schedule.at(60) == pytest.approx(0.55)
    assert schedule.at(110) == pytest.approx(0.1)


def test_linear_to_zero() -> None:
    schedule = Schedule(peak=2e-4, floor=0.0, steps=250, warmup=50, shape="linear")
    assert [schedule.at(step) for step in (49, 150, 250)] == pytest.approx([2e-4, 1e-4, 0.0])


def test_decay_is_for_matrices_alone() -> None:
    model = build(shape("tiny", vocab_size=384), seed=0, device="meta")
    matrices, gains = decay_groups(model, 0.1)
    assert {weight.ndim for weight in matrices["params"]} == {2}
    assert {weight.ndim for weight in gains["params"]} == {1}
    assert (matrices["weight_decay"], gains["weight_decay"]) == (0.1, 0.0)
    assert len(matrices["params"]) + len(gains["params"]) == len(list(model.parameters()))
