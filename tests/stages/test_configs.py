"""Every shipped config of the stages loads; what it fixes is what the recipes say."""

from pathlib import Path

import pytest

from srm_ray.config.base import shipped
from srm_ray.config.command_line import parse, shipped_names
from srm_ray.config.stages import PreferConfig, PretrainConfig, SftConfig, TokenizerConfig
from srm_ray.errors import UserError

CLASSES = {"tokenizer": TokenizerConfig, "pretrain": PretrainConfig, "sft": SftConfig, "prefer": PreferConfig}
SHIPPED = [name for name in shipped_names() if name.split("/")[0] in CLASSES]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads(name: str) -> None:
    assert Path(shipped(name)).is_file()
    parse(CLASSES[name.split("/")[0]], ["--config", name], stage=name.split("/")[0])


def test_recipes_ship() -> None:
    wanted = {"pretrain/500m", "pretrain/1b", "pretrain/3b", "sft/tiny-think", "sft/tiny-reason", "prefer/dpo"}
    assert wanted | {"sft/small-reasoning-model", "prefer/apo-zero", "tokenizer/32k"} <= set(SHIPPED)


@pytest.mark.parametrize(("name", "batch", "lr"), [("500m", 256, 2.4e-4), ("1b", 512, 3e-4), ("3b", 1024, 3e-4)])
def test_pretraining_recipes(name: str, batch: int, lr: float) -> None:
    config = parse(PretrainConfig, ["--config", f"pretrain/{name}"], stage="pretrain")
    assert (config.optim.batch, config.optim.micro_batch, config.optim.lr) == (batch, 4, lr)
    assert config.data.phases[1].shares["numina"] == 0.13
    assert [phase.until for phase in config.data.phases] == [0.3, 0.9, 1.0]


@pytest.mark.parametrize("name", ["small-reasoning-model", "500m"])
def test_sft_recipes_name_their_six_datasets(name: str) -> None:
    config = parse(SftConfig, ["--config", f"sft/{name}"], stage="sft")
    found = [entry.strip().lower() for entry in config.data.name.split(",")]
    wanted = ["numinamath-cot", "openhermes-2.5", "codefeedback", "orca-math", "dolci-think-sft-7b", "gsm8k:main"]
    assert len(found) == len(wanted)
    assert all(part in entry for part, entry in zip(wanted, found, strict=True))


def test_batch_that_does_not_divide_is_refused_with_both_values() -> None:
    with pytest.raises(UserError, match="got batch 10, micro_batch 4, workers 1"):
        parse(SftConfig, ["--optim.batch", "10", "--optim.micro_batch", "4"], stage="sft")


def test_quantised_base_needs_adapters() -> None:
    with pytest.raises(UserError, match=r"set lora.rank"):
        parse(SftConfig, ["--lora.quantise", "nf4"], stage="sft")


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean optim\.lr"):
        parse(SftConfig, ["--optim.lrr", "1"], stage="sft")


def test_numbers_of_a_choice_are_read_from_the_command_line() -> None:
    assert parse(SftConfig, ["--optim.adam_bits", "8"], stage="sft").optim.adam_bits == 8
    with pytest.raises(UserError, match=r"optim\.adam_bits: Input should be 32 or 8"):
        parse(SftConfig, ["--optim.adam_bits", "16"], stage="sft")
