"""The speedrun's configs load, hold together, and are planned without a GPU."""

import re

import pytest

from srm_ray.config.command_line import parse, shipped_names
from srm_ray.config.speedrun import SpeedrunConfig
from srm_ray.errors import UserError
from srm_ray.speedrun import __main__ as speedrun

SHIPPED = [name for name in shipped_names() if name.startswith("speedrun/")]


def config(*argv: str) -> SpeedrunConfig:
    return parse(SpeedrunConfig, list(argv), stage="speedrun", default="speedrun/tiny")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_and_fits_together(name: str) -> None:
    loaded = config("--config", name)
    assert loaded.start.given or loaded.pretrain.data.row_length > 0
    assert loaded.tokenizer.vocab_size % 128 == 0
    longest = loaded.grpo.rollout.max_model_len
    assert loaded.grpo.rollout.max_new_tokens < longest
    assert loaded.evaluate.sampling.max_new_tokens <= longest


def test_both_recipes_ship() -> None:
    assert {"speedrun/tiny", "speedrun/h200"} <= set(SHIPPED)


def test_options_of_a_stage_are_checked_as_its_own_command_checks_them() -> None:
    assert config("--grpo.learner.lr", "1e-4").grpo.learner.lr == 1e-4
    with pytest.raises(UserError, match=r"did you mean grpo\.learner\.lr"):
        config("--grpo.learner.lrr", "1")
    with pytest.raises(UserError, match="batch 10, micro_batch 4"):
        config("--sft.optim.batch", "10")


def test_what_the_run_says_for_all_is_not_said_by_a_stage() -> None:
    with pytest.raises(UserError, match=r"sft\.run_dir is the same for all stages.*got 'x'"):
        config("--sft.run_dir", "x")
    with pytest.raises(UserError, match=r"grpo\.seed is the same for all stages: give --seed"):
        config("--grpo.seed", "1")
    with pytest.raises(UserError, match=r"prefer\.model is what the stage before it leaves"):
        config("--prefer.model", "x")
    with pytest.raises(UserError, match=r"sft\.dry_run plans one stage"):
        config("--sft.dry_run")


def test_the_plan_of_the_large_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert speedrun.main(["--config", "speedrun/h200", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "489,300,736 parameters" in shown
    total = re.search(r"^total +(\d+h\d\dm) +([\d.]+)", shown, re.MULTILINE)
    assert total is not None
    hours = int(total[1].split("h")[0]) + int(total[1][-3:-1]) / 60
    assert float(total[2]) == pytest.approx(hours * 3.5, rel=0.02)
    assert "140 GiB there: fits" in shown
    assert "utilisation 0.4" in shown


def test_a_plan_says_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert speedrun.main(["--config", "speedrun/h200", "--dry_run", "--machine.memory_gib", "24"]) == 0
    assert "24 GiB there: DOES NOT FIT" in capsys.readouterr().out


def test_twice_the_tokens_take_twice_the_time() -> None:
    from srm_ray.speedrun.estimate import Budget

    one = Budget(config("--pretrain.steps", "1000", "--machine.start_seconds", "0")).pretrain()
    two = Budget(config("--pretrain.steps", "2000", "--machine.start_seconds", "0")).pretrain()
    assert two.trained == 2 * one.trained == 2 * 1000 * 8 * 128
    assert two.seconds == pytest.approx(2 * one.seconds)


def test_a_folder_of_another_run_is_refused(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    assert speedrun.main(["--run_dir", str(tmp_path)]) == 2
    assert "is the folder of a single stage" in capsys.readouterr().err
