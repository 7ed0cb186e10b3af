"""Every shipped GRPO config loads; wrong options are refused in a way that says what is right."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from srm_ray.config.base import shipped, to_plain
from srm_ray.config.command_line import help_text, keys, parse, save, shipped_names
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import UserError

ON_ONE_CARD = ["--weights.transport", "ipc", "--rollout.gpus", "0.5", "--learner.gpus", "0.5"]
SHIPPED = [name for name in shipped_names() if name.startswith("grpo/")]


def grpo(*argv: str, default: str = "") -> GRPOConfig:
    return parse(GRPOConfig, list(argv), stage="grpo", default=default)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads(name: str) -> None:
    config = grpo("--config", name)
    assert config.rollout.max_model_len > config.rollout.max_new_tokens


def test_the_recipes_ship() -> None:
    wanted = {"tiny", "500m", "1b", "3b", "gsm8k_qwen2.5_0.5b", "one_gpu"}
    assert {f"grpo/{name}" for name in wanted} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_saved_config_round_trips(name: str, tmp_path: Path) -> None:
    config = grpo("--config", name)
    save(config, tmp_path / "config.yaml")
    assert grpo("--config", str(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize("name", ["500m", "1b", "3b", "gsm8k_qwen2.5_0.5b"])
def test_multi_gpu_recipes_give_every_actor_whole_cards(name: str) -> None:
    config = grpo("--config", f"grpo/{name}")
    assert config.rollout.gpus == config.learner.gpus == 1
    assert config.data.name == "openai/gsm8k"


def test_one_gpu_recipe_fits_one_card() -> None:
    config = grpo("--config", "grpo/one_gpu")
    workers = config.rollout.workers * config.rollout.gpus + config.learner.workers * config.learner.gpus
    assert workers <= 1
    assert config.rollout.memory_fraction < 0.5


# Precedence


def test_command_line_beats_file_beats_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("steps: 7\nrollout:\n  group_size: 4\n  temperature: 0.8\n")
    config = grpo("--config", str(file), "--rollout.group_size", "16")
    assert (config.steps, config.rollout.temperature, config.rollout.group_size) == (7, 0.8, 16)
    assert config.learner.lr == GRPOConfig().learner.lr


def test_the_tiny_recipe_is_the_default() -> None:
    assert grpo(default="grpo/tiny") == grpo("--config", "grpo/tiny")


@pytest.mark.parametrize(
    ("argv", "path", "value"),
    [
        (["--steps=5"], "steps", 5),
        (["--rollout.eager"], "rollout.eager", True),
        (["--rollout.eager", "false"], "rollout.eager", False),
        (["--learner.betas", "[0.9, 0.99]"], "learner.betas", (0.9, 0.99)),
        (["--loss.importance_cap", "null"], "loss.importance_cap", None),
        (["--reward", "my_package.rewards:score"], "reward.function", "my_package.rewards:score"),
        (["--loss", "cispo"], "loss.name", "cispo"),
        (["--algorithm", "cispo"], "algorithm.name", "cispo"),
        (["--algorithm", "my_package.ours"], "algorithm.name", "my_package.ours"),
        (["--algorithm.loss", "my_package.ours:loss"], "algorithm.loss", "my_package.ours:loss"),
        (["--learner.lr", "3e-6"], "learner.lr", 3e-6),
    ],
)
def test_ways_to_write_a_value(argv: list[str], path: str, value: Any) -> None:
    found: Any = grpo(*argv)
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


# Refusals


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("--stepz", "steps"),
        ("--rollout.max_tokens", "rollout.max_new_tokens"),
        ("--rollout.groupsize", "rollout.group_size"),
        ("--lr", "learner.lr"),
        ("--steps.much", "steps"),
    ],
)
def test_an_unknown_option_names_the_nearest(given: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"unknown option {given}; did you mean {near}\?"):
        grpo(given, "1")


def test_an_unknown_key_of_a_file_names_the_file_and_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("rollout:\n  temprature: 1\n")
    with pytest.raises(UserError, match=rf"rollout\.temprature in {file}; did you mean rollout\.temperature\?"):
        grpo("--config", str(file))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--rollout.max_model_len", "64", "--rollout.max_new_tokens", "96"], r"max_new_tokens.*got 96 and 64"),
        (["--data.path", "a.jsonl", "--data.name", "b"], r"exclude each other \(got 'a\.jsonl' and 'b'\)"),
        (["--loss.importance_band", "[2, 0.5]"], r"0 <= low < high \(got \[2, 0\.5\]\)"),
        (["--loss.importance_band", "[-1, 2]"], r"0 <= low < high \(got \[-1, 2\]\)"),
        (["--rollout.tensor_parallel", "2"], r"must not be above gpus.*got 2 and 0"),
        (["--rollout.gpus", "2", "--rollout.tensor_parallel", "4"], r"must not be above gpus.*got 4 and 2"),
        (["--rollout.gpus", "1.5"], r"whole number \(got 1\.5\)"),
        (
            [*ON_ONE_CARD, "--rollout.workers", "{min: 1, max: 3}"],
            r"ipc wants one rollout worker.*got 0\.5 and 0\.5, 3 and 1 workers",
        ),
    ],
)
def test_options_that_contradict_each_other_are_named_with_both_values(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grpo(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--steps", "many"], r"--steps: .*got 'many'"),
        (["--rollout.group_size", "1"], r"--rollout\.group_size: .*2 \(got '?1'?\)"),
        (["--resume", "sometimes"], r"--resume: .*'sometimes'"),
        (["--steps"], r"--steps needs a value"),
        (["--rollout", "8"], r"--rollout is a group of options"),
        (["steps=5"], r"unexpected 'steps=5'"),
        (["--learner.betas", "[0.9"], r"--learner\.betas: not a YAML value"),
        (["--learner.betas", "[0.9, 1.0]"], r"--learner\.betas: .*below 1 \(got \[0\.9, 1\.0\]\)"),
        (["--learner.betas", "[-0.1, 0.9]"], r"--learner\.betas: .*at least 0"),
        (["--loss.importance_cap", "-2"], r"--loss\.importance_cap: .*greater than 0"),
        (["--config", "grpo/large"], r"no such file \(shipped ones: .*grpo/tiny"),
    ],
)
def test_wrong_values_are_named(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        grpo(*argv)


@pytest.mark.parametrize(
    ("text", "message"),
    [("steps: [1", "not YAML"), ("- steps\n- 5\n", "a mapping of options is expected, got list"), ("", "")],
)
def test_files_that_are_no_configs(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    if not message:
        assert grpo("--config", str(file)) == GRPOConfig()
        return
    with pytest.raises(UserError, match=message):
        grpo("--config", str(file))


# Documentation


def test_help_lists_every_field() -> None:
    shown = help_text(GRPOConfig, stage="grpo", default="grpo/tiny", about="")
    for key in keys(GRPOConfig):
        assert f"  --{key} " in shown


def test_every_field_has_a_description() -> None:
    def undocumented(config: type, prefix: str = "") -> list[str]:
        found = []
        for name, field in config.model_fields.items():
            nested = getattr(field.annotation, "model_fields", None)
            if nested is not None:
                found += undocumented(field.annotation, f"{prefix}{name}.")
            elif not field.description:
                found.append(prefix + name)
        return found

    assert undocumented(GRPOConfig) == []


def test_plain_values_are_yaml() -> None:
    assert yaml.safe_load(yaml.safe_dump(to_plain(GRPOConfig()))) == to_plain(GRPOConfig())


def test_shipped_takes_names_with_and_without_suffix() -> None:
    assert shipped("grpo/tiny") == shipped("grpo/tiny.yaml")
