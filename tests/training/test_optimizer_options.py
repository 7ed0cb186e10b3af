"""One optimizer section: the same names in every config, old run folders read, its schedule the loop's."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.grpo_steps import learning_rate
from srm_ray.config.base import to_plain
from srm_ray.config.command_line import build, parse
from srm_ray.config.grpo import GRPOConfig, LearnerConfig
from srm_ray.config.optim import OptimizerConfig
from srm_ray.config.stages import OptimConfig, PreferConfig, SftConfig
from srm_ray.errors import UserError
from srm_ray.runs.folder import RunFolder
from srm_ray.training.schedule import Schedule


def test_learner_and_stages_share_their_names() -> None:
    shared = set(OptimizerConfig.model_fields)
    assert {"lr", "schedule", "betas", "clip_grad", "zero_stage", "precision", "offload_optimizer"} <= shared
    own = set(LearnerConfig.model_fields) - shared, set(OptimConfig.model_fields) - shared
    assert own == (
        {"workers", "lora", "micro_batch_tokens", "updates_per_step", "gpus", "cpus", "threads", "step_timeout"},
        {"batch", "micro_batch", "liger", "compile", "attention"},
    )


def former(config: SftConfig, folder: RunFolder) -> dict:
    """As a run folder holds it that was begun when the stages had names of their own and no offloading."""
    saved = to_plain(config)
    optim = saved["optim"]
    optim["clip"] = optim.pop("clip_grad")
    optim["beta1"], optim["beta2"] = optim.pop("betas")
    del optim["offload_optimizer"], saved["placement"]
    folder.config.write_text(yaml.safe_dump(saved))
    return saved


def test_a_run_begun_with_the_former_names_goes_on(tmp_path: Path) -> None:
    config, folder = (
        build(SftConfig, {"optim": {"clip_grad": 0.7, "betas": [0.8, 0.9]}}),
        RunFolder(tmp_path, stage="sft"),
    )
    former(config, folder)
    assert folder.check_config(config) == config
    with pytest.raises(UserError, match=r"was run with optim\.clip_grad 0\.7, this command has 1\.0"):
        folder.check_config(build(SftConfig, {"optim": {"betas": [0.8, 0.9]}}))
    with pytest.raises(UserError, match=r"was run with optim\.betas \[0\.8, 0\.9\], this command has \[0\.9, 0\.95\]"):
        folder.check_config(build(SftConfig, {"optim": {"clip_grad": 0.7}}))
    with pytest.raises(UserError, match=r"was run with optim\.offload_optimizer False"):
        offloaded = {"clip_grad": 0.7, "betas": [0.8, 0.9], "offload_optimizer": True, "zero_stage": 1}
        folder.check_config(build(SftConfig, {"optim": offloaded}))


@pytest.mark.parametrize(("option", "named"), [("--optim.clip", "optim.clip_grad"), ("--optim.beta1", "optim.betas")])
def test_a_former_name_leads_to_that_of_today(option: str, named: str) -> None:
    with pytest.raises(UserError, match=rf"unknown option {option}; did you mean {named}\?"):
        parse(SftConfig, [option, "0.9"], stage="sft")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optim.offload_optimizer"], r"offload_optimizer true wants zero_stage 1 or above \(got 0\)"),
        (["--optim.offload_optimizer", "--optim.zero_stage", "1", "--optim.adam_bits", "8"], r"got adam_bits 8"),
        (["--optim.betas", "[0.9, 1]"], "at least 0 and below 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(PreferConfig, options, stage="prefer")


def test_a_learner_warms_up_and_then_keeps_its_rate_however_long_it_runs() -> None:
    rates = []
    for steps in (10, 100):
        config = GRPOConfig(steps=steps, learner=LearnerConfig(lr=1e-3, warmup_steps=4))
        rates.append([learning_rate(config, step) for step in range(6)])
    assert rates[0] == rates[1] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3, 1e-3])


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
def test_a_schedule_that_is_planned_ahead_does_not_change_when_the_run_is_extended(shape: str) -> None:
    """Its parts are the run of 100 steps; past its end it stays at the floor."""
    options = {"lr": 1e-3, "schedule": shape, "warmup": 0.1, "floor": 0.1}
    whole = Schedule.of(LearnerConfig(**options), 100)
    for steps in (40, 100, 120):
        part = Schedule.of(LearnerConfig(**options, schedule_steps=100), steps)
        assert [part.at(step) for step in range(100)] == [whole.at(step) for step in range(100)]
        assert part.at(119) == pytest.approx(1e-3 if shape == "constant" else 1e-4)
        assert part.steps == steps  # of the run


def test_an_extended_run_goes_on_at_the_rates_of_one_planned_so_long() -> None:
    """By hand, linear from 1 to 0 after 2 steps of warm-up: step 6 is half of the way in 10 steps, 4/18 in 20."""
    options = LearnerConfig(lr=1.0, schedule="linear", warmup_steps=2, floor=0.0)
    assert [Schedule.of(options, 10).at(step) for step in (0, 1, 2, 6, 10)] == [0.5, 1.0, 1.0, 0.5, 0.0]
    assert Schedule.of(options, 20).at(6) == pytest.approx(14 / 18)
    assert Schedule.of(options, 20).at(10) == pytest.approx(10 / 18)


@pytest.mark.parametrize(
    ("learner", "now", "said"),
    [
        (
            {"schedule": "cosine"},
            20,
            "steps were 10 and are 20: the cosine learning rate goes on as in a run planned",
        ),
        ({"schedule": "cosine"}, 10, ""),
        ({"schedule": "cosine", "schedule_steps": 20}, 20, ""),
        ({"schedule": "constant"}, 20, ""),
    ],
)
def test_a_rate_that_is_made_anew_is_told(
    learner: dict[str, Any], now: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path, stage="grpo")
    folder.save_config(GRPOConfig(steps=10, learner=learner))
    folder.check_config(GRPOConfig(steps=now, learner=learner))
    assert (said in capsys.readouterr().out) if said else not capsys.readouterr().out


def test_a_learner_may_end_with_a_low_rate_as_the_stages_do() -> None:
    learner = LearnerConfig(lr=1e-3, schedule="cosine", warmup=0.1, floor=0.1)
    config = GRPOConfig(steps=100, learner=learner)
    schedule = Schedule.of(OptimConfig(lr=1e-3, warmup=0.1), 100)
    assert [learning_rate(config, step) for step in range(101)] == [schedule.at(step) for step in range(101)]
    assert learning_rate(config, 100) == pytest.approx(1e-4)
