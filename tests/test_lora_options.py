"""Adapters' options: their learning rate, what does not go together, what a continued run may change."""

from pathlib import Path

import pytest
import yaml

from srm_ray.config.base import to_plain
from srm_ray.config.command_line import help_text, parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.stages import SftConfig
from srm_ray.errors import UserError
from srm_ray.model.lora import Adapter, share_of
from srm_ray.runs.folder import RunFolder
from tests.rl.random_groups import tiny_qwen3


def grpo(*words: str) -> GRPOConfig:
    return parse(GRPOConfig, list(words), stage="grpo", default="grpo/tiny")


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ("", 7.5e-5),
        ("--learner.lora.rank 16", 7.5e-4),  # the recipe's is for all weights
        ("--learner.lora.rank 0", 7.5e-5),
        ("--learner.lora.rank 16 --learner.lr 3e-4", 3e-4),
        ("--model m", 1e-6),
        ("--model m --learner.lora.rank 16", 1e-5),
        ("--config grpo/lora --learner.lora.rank 32", None),  # made for adapters
    ],
)
def test_an_adapter_takes_ten_times_the_rate_that_was_meant_for_all_weights(words: str, rate: float | None) -> None:
    assert grpo(*words.split()).learner.lr == (rate or grpo("--config", "grpo/lora").learner.lr)


def test_help_says_where_the_rate_comes_from() -> None:
    words = ["--learner.lora.rank", "16"]
    shown = help_text(GRPOConfig, stage="grpo", default="grpo/tiny", about="", argv=words)
    assert "0.00075, configs/grpo/tiny.yaml x 10, as learner.lora.rank is given]" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--learner.lora.quantise nf4", r"set lora\.rank \(got 0\)"),
        ("--learner.lora.rank 8 --learner.lora.dropout 0.1", r"learner\.lora\.dropout must be 0 \(got 0\.1\)"),
        (
            "--learner.lora.rank 8 --learner.lora.quantise nf4 --learner.precision bfloat16",
            r"learner\.precision float32 or bf16_autocast \(got bfloat16\)",
        ),
        ("--learner.lora.rank 8 --learner.lora.quantise nf4 --learner.zero_stage 3", r"zero_stage below 3 \(got 3\)"),
        (
            "--learner.lora.rank 8 --weights.transport ipc --learner.gpus 0.5 --rollout.gpus 0.5 --rollout.workers 1",
            r"weights\.transport pull \(got learner\.lora\.rank 8\)",
        ),
        ("--learner.lora.r 8", r"unknown option --learner\.lora\.r; did you mean learner\.lora\.rank\?"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(words: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        grpo(*words.split())
    assert "\n" not in str(told.value)


def test_a_continued_run_keeps_its_rank_and_may_push_another_way(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, stage="grpo")
    folder.save_config(grpo("--learner.lora.rank", "16"))
    for other in ("--learner.lora.push merged", "--learner.lora.final merged"):
        folder.check_config(grpo("--learner.lora.rank", "16", *other.split()))
    with pytest.raises(UserError, match=r"was run with learner\.lora\.rank 16, this command has 32"):
        folder.check_config(grpo("--learner.lora.rank", "32", "--learner.lr", "7.5e-4"))


def test_a_run_of_before_adapters_goes_on_and_one_with_their_former_names(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, stage="grpo")
    saved = to_plain(grpo())
    del saved["learner"]["lora"]
    folder.config.write_text(yaml.safe_dump(saved))
    assert folder.check_config(grpo()) == grpo()
    sft = parse(SftConfig, ["--lora.rank", "8"], stage="sft")
    saved = to_plain(sft)
    saved["lora"]["r"] = saved["lora"].pop("rank")
    saved["lora"]["targets"] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    folder.config.write_text(yaml.safe_dump(saved))
    assert folder.check_config(sft) == sft


def test_what_an_adapter_is_to_a_model_is_known_before_anything_is_loaded(tmp_path: Path) -> None:
    tiny_qwen3().config.save_pretrained(tmp_path)
    share = share_of(str(tmp_path), Adapter(4, 8, 0.0, ("q_proj", "down_proj")))
    assert share.layers == ("down_proj", "q_proj")
    assert share.trained == 2 * 4 * ((32 + 32) + (48 + 32))
    assert share.whole == sum(weight.numel() for weight in tiny_qwen3().parameters())
    with pytest.raises(UserError, match="c_attn is no layer"):
        share_of(str(tmp_path), Adapter(4, 8, 0.0, ("c_attn",)))
