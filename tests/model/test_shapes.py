"""Parameter counts are exact on the meta device; misaligned shapes are refused by field."""

from dataclasses import replace

import pytest

from srm_ray.errors import UserError
from srm_ray.model.shapes import INIT_STD, PRESETS, build, parameters, shape

COUNTS = {"500m": 489_300_736, "1b": 953_244_672, "3b": 2_875_377_664}


@pytest.mark.parametrize("name", PRESETS)
def test_counts_are_exact(name: str) -> None:
    size = shape(name)
    built = sum(weight.numel() for weight in build(size, seed=0, device="meta").parameters())
    assert built == parameters(size) == COUNTS.get(name, parameters(size))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 250}, "d_model .* got 250; the nearest valid value is 256"),
        ({"ffn": 700}, "ffn .* got 700; the nearest valid value is 640"),
        ({"vocab_size": 1}, "vocab_size .* the nearest valid value is 128"),
        ({"q_heads": 3}, "q_heads x 128 must equal d_model.*nearest valid q_heads is 2"),
        (
            {"kv_heads": 3},
            "kv_heads must divide q_heads: got kv_heads=3 and q_heads=2; the nearest valid kv_heads is 2",
        ),
    ],
)
def test_misaligned_shape_names_field_and_nearest(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(PRESETS["tiny"], **change)


def test_140m_points_to_the_hub() -> None:
    with pytest.raises(UserError, match="MobileLLM-R1-140M"):
        shape("140m")


def test_initial_weights_have_the_recipes_spread() -> None:
    model = build(shape("tiny", vocab_size=384), seed=1)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert (weight == 1).all(), name
            continue
        residual = name.endswith(("o_proj.weight", "down_proj.weight"))
        assert weight.std().item() == pytest.approx(INIT_STD / (8**0.5 if residual else 1), rel=0.03), name


def test_initial_weights_follow_the_seed() -> None:
    first, again, other = (build(shape("tiny", vocab_size=384), seed=seed) for seed in (1, 1, 2))
    weights = [model.model.layers[3].mlp.down_proj.weight for model in (first, again, other)]
    assert (weights[0] == weights[1]).all()
    assert (weights[0] != weights[2]).any()
