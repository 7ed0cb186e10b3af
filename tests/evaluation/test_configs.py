"""Every shipped config of the evaluation loads; what it fixes is what was published."""

import pytest

from srm_ray.config.command_line import parse, shipped_names
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.errors import UserError
from srm_ray.evaluation import suites

SHIPPED = [name for name in shipped_names() if name.startswith("evaluate/")]


def load(name: str, *options: str) -> EvaluateConfig:
    return parse(EvaluateConfig, ["--config", name, *options], stage="evaluate")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_and_names_suites_that_exist(name: str) -> None:
    config = load(name)
    assert suites.named(config.tasks)
    assert set(config.reference.scores) <= set(config.tasks)


def test_tiny_think() -> None:
    config = load("evaluate/tiny_think")
    assert (config.sampling.temperature, config.sampling.top_p, config.seed) == (0.6, 0.95, 1234)
    assert config.prompt.chat_template
    assert config.grading.extract == "flexible"
    assert config.harness.bbh == "zeroshot"
    assert config.reference.scores == {
        "gsm8k": 8.04,
        "math500": 4.00,
        "bbh": 23.84,
        "ifeval": 21.63,
        "mmlu_stem": 21.34,
        "arc_challenge": 25.85,
    }


def test_tiny_reason() -> None:
    config = load("evaluate/tiny_reason")
    assert (config.tasks, config.sampling.temperature, config.sampling.max_new_tokens) == (["gsm8k"], 0.0, 512)


def test_tasks_are_given_with_commas() -> None:
    assert load("evaluate/tiny", "--tasks", "gsm8k, math500").tasks == ["gsm8k", "math500"]


def test_greedy_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"needs sampling.temperature above 0 \(got 4 and 0\)"):
        load("evaluate/tiny", "--sampling.samples", "4")
