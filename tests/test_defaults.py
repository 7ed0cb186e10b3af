"""When the demo's recipe applies, and whether what applies otherwise is what a practitioner would choose."""

from pathlib import Path
from typing import Any

import pytest

from srm_ray.config.base import Section, flatten, to_plain
from srm_ray.config.command_line import given, help_text, parse, shipped_names
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.filter import FilterConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.lengths import OwnContext, context_for, fit, half
from srm_ray.config.speedrun import SpeedrunConfig
from srm_ray.config.stages import PreferConfig, PretrainConfig, SftConfig
from srm_ray.errors import UserError
from srm_ray.runs.folder import RunFolder

DEMO = {
    "grpo": (GRPOConfig, "grpo/tiny"),
    "filter": (FilterConfig, "grpo/tiny"),
    "evaluate": (EvaluateConfig, "evaluate/tiny"),
    "speedrun": (SpeedrunConfig, "speedrun/tiny"),
}


def source(stage: str, words: str) -> str:
    config_class, default = DEMO[stage]
    return given(config_class, words.split(), default).source


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("grpo", ""),
        ("grpo", "--steps 5 --seed 1 --run_dir runs/x"),
        ("grpo", "--max_staleness 1"),
        ("grpo", "--data.options.terms 2 --data.generator arithmetic"),
        ("grpo", "--replay runs/grpo --run_dir runs/again"),
        ("grpo", "--loss gspo --loss.normalisation sequences --reward package.module:function"),
        ("grpo", "--model="),
        ("filter", "--keep.limit 40"),
        ("evaluate", "--limit 10 --workers 2"),
        ("speedrun", "--grpo.steps 80 --dry_run"),
    ],
)
def test_the_demo_is_what_names_neither_a_model_nor_data(stage: str, words: str) -> None:
    assert source(stage, words) == DEMO[stage][1]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("grpo", "--model runs/sft/final"),
        ("grpo", "--model=Qwen/Qwen2.5-0.5B --steps 5"),
        ("grpo", "--data.path problems.jsonl"),
        ("grpo", "--data.name openai/gsm8k"),
        ("grpo", "--data.mixture.sums.generator arithmetic"),
        ("filter", "--model runs/sft/final"),
        ("filter", "--data.path problems.jsonl"),
        ("evaluate", "--model runs/grpo/final"),
        ("evaluate", "--tasks gsm8k"),
        ("evaluate", "--endpoint http://localhost:8000/v1"),
        ("evaluate", "--data.path suites"),
        ("speedrun", "--text.path my/texts"),
        ("speedrun", "--sft.data.path examples.jsonl"),
        ("speedrun", "--evaluate.tasks gsm8k"),
    ],
)
def test_a_model_or_data_ends_the_demo(stage: str, words: str) -> None:
    assert source(stage, words) == ""
    assert source(stage, f"--config {DEMO[stage][1]} {words}") == DEMO[stage][1]


def test_a_config_takes_the_demos_place(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("steps: 3")
    assert source("grpo", f"--config {tmp_path / 'mine.yaml'}") == str(tmp_path / "mine.yaml")


def test_evaluating_a_model_does_not_cut_its_answers() -> None:
    config = parse(EvaluateConfig, ["--model", "m", "--tasks", "gsm8k"], stage="evaluate", default="evaluate/tiny")
    assert (config.sampling.max_new_tokens, config.limit) == (2048, 0)


def test_bring_your_own_trains_at_a_fine_tuning_rate() -> None:
    config = parse(GRPOConfig, ["--model", "m", "--data.path", "p"], stage="grpo", default="grpo/tiny")
    assert (config.learner.lr, config.rollout.max_model_len, config.learner.micro_batch_tokens) == (1e-6, 0, 4096)


# Help


def shown(stage: str, words: str = "") -> dict[str, str]:
    """What `--help` says of each option: "value" or "value, origin"."""
    config_class, default = DEMO.get(stage) or ({"sft": SftConfig, "prefer": PreferConfig}[stage], "")
    lines = help_text(config_class, stage=stage, default=default, about="", argv=words.split()).splitlines()
    options = [line.split("  [", 1) for line in lines if line.startswith("  --") and "  [" in line]
    return {head.split()[0][2:]: rest.split("]  ", 1)[0].removesuffix("]") for head, rest in options}


def test_help_prints_the_demos_values_where_it_applies() -> None:
    found = shown("grpo", "--steps 5")
    assert found["learner.lr"] == "7.5e-05, configs/grpo/tiny.yaml"
    assert found["rollout.max_model_len"] == "160, configs/grpo/tiny.yaml"
    assert found["steps"] == "5, command line"
    assert found["loss.clip_high"] == "0.28"


def test_help_prints_other_values_beside_a_model() -> None:
    found = shown("grpo", "--model runs/sft/final")
    assert found["learner.lr"] == "1e-06"
    assert found["rollout.max_model_len"] == "0"
    assert found["model"] == "'runs/sft/final', command line"


def test_help_says_which_file_applies_and_why() -> None:
    demo = help_text(GRPOConfig, stage="grpo", default="grpo/tiny", about="", argv=["--steps", "5"])
    assert "here: grpo/tiny, the demo's, as neither a model nor data is named" in demo
    own = help_text(GRPOConfig, stage="grpo", default="grpo/tiny", about="", argv=["--data.path", "x"])
    assert "here: none, as --data.path is given" in own


@pytest.mark.parametrize(("stage", "full", "adapters"), [("sft", "2e-05", "0.0002"), ("prefer", "1e-06", "1e-05")])
def test_adapters_have_a_rate_of_their_own(stage: str, full: str, adapters: str) -> None:
    assert shown(stage)["optim.lr"] == full
    assert shown(stage, "--lora.rank 16")["optim.lr"] == adapters
    assert shown(stage, "--lora.rank 16 --optim.batch 8")["optim.lr"] == adapters
    assert shown(stage, "--lora.rank 16 --optim.lr 3e-5")["optim.lr"] == "3e-05, command line"


def test_help_survives_words_that_do_not_make_a_config() -> None:
    assert shown("grpo", "--rollout.max_model_len 64 --rollout.max_new_tokens 96")["rollout.max_new_tokens"].startswith(
        "'96', command line"
    )


def test_a_command_line_value_hides_the_files() -> None:
    config = parse(GRPOConfig, ["--rollout.workers", "{min: 1, max: 3}"], stage="grpo", default="grpo/tiny")
    assert "rollout.workers" not in config.origins
    assert config.origins["rollout.workers.max"] == "command line"


def test_options_that_contradict_each_other_say_where_they_come_from() -> None:
    with pytest.raises(UserError) as refused:
        parse(GRPOConfig, ["--rollout.max_model_len", "64"], stage="grpo", default="grpo/tiny")
    assert str(refused.value).endswith(
        "(got 96 and 64); rollout.max_model_len is from the command line, "
        "rollout.max_new_tokens is from configs/grpo/tiny.yaml"
    )


# Lengths


@pytest.mark.parametrize(
    ("own", "asked", "context", "completion"),
    [
        (32_768, (0, 0), 4096, 2048),  # Qwen2.5
        (8192, (0, 0), 4096, 2048),  # SmolLM2
        (2048, (0, 0), 2048, 1024),  # SmolLM
        (512, (0, 0), 512, 256),  # the tiny shape
        (32_768, (0, 8192), 10_240, 8192),
        (32_768, (0, 64), 2112, 64),
        (32_768, (1024, 0), 1024, 512),
        (32_768, (16_384, 0), 16_384, 2048),
        (512, (160, 96), 160, 96),
    ],
)
def test_lengths_follow_from_the_model(own: int, asked: tuple[int, int], context: int, completion: int) -> None:
    lengths = fit(*asked, OwnContext(own, "config"), origins={})
    assert (lengths.context, lengths.completion, lengths.prompt) == (context, completion, context - completion)
    assert context_for(*asked, OwnContext(own, "config"), origins={}) == context


@pytest.mark.parametrize("own", [128, 512, 2048, 4096, 131_072])
def test_lengths_left_open_always_fit(own: int) -> None:
    lengths = fit(0, 0, OwnContext(own, "config"), origins={})
    assert 0 < lengths.completion < lengths.context <= own
    assert half(0, own) * 2 <= own


def test_a_continued_run_keeps_the_lengths_that_it_began_with(tmp_path: Path) -> None:
    began = parse(GRPOConfig, ["--rollout.max_model_len", "512", "--rollout.max_new_tokens", "200"], stage="grpo")
    folder = RunFolder(tmp_path, stage="grpo")
    folder.save_config(began)
    assert folder.check_config(GRPOConfig()).rollout.max_new_tokens == 200
    with pytest.raises(UserError, match=r"was run with rollout\.max_model_len 512, this command has 600"):
        folder.check_config(parse(GRPOConfig, ["--rollout.max_model_len", "600"], stage="grpo"))


def test_a_run_folder_of_another_command_is_named(tmp_path: Path) -> None:
    RunFolder(tmp_path, stage="evaluate").save_config(EvaluateConfig())
    with pytest.raises(UserError, match="is of another command, whose config has against"):
        RunFolder(tmp_path, stage="grpo").check_config(GRPOConfig())


# What a practitioner would choose


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [
        (GRPOConfig().learner.lr, 5e-7, 1e-6),
        (PreferConfig().optim.lr, 5e-7, 1e-6),
        (SftConfig().optim.lr, 1e-5, 2e-5),
        (parse(SftConfig, ["--lora.rank", "16"], stage="sft").optim.lr, 1e-4, 2e-4),
    ],
)
def test_rates(rate: float, low: float, high: float) -> None:
    assert low <= rate <= high


CLASSES: dict[str, type[Section]] = {
    "grpo": GRPOConfig,
    "sft": SftConfig,
    "prefer": PreferConfig,
    "pretrain": PretrainConfig,
    "evaluate": EvaluateConfig,
    "speedrun": SpeedrunConfig,
}
CPU_SIZED = {
    "grpo/calculator",
    "grpo/guess",
    "grpo/lora",
    "grpo/two_families",
    "tokenizer/32k",
    "speedrun/smollm2",
    "speedrun/smollm2_small",
}  # and every tiny.yaml
OPTIM = ("lr", "floor", "schedule", "warmup", "warmup_steps", "weight_decay", "clip_grad", "betas", "batch")
COMPARED = {
    "grpo": [
        *(f"learner.{name}" for name in ("lr", "betas", "weight_decay", "clip_grad", "updates_per_step")),
        *(f"rollout.{name}" for name in ("group_size", "temperature", "max_new_tokens", "max_model_len")),
        *(f"loss.{name}" for name in ("name", "clip_low", "clip_high", "normalisation", "importance_cap", "kl_beta")),
        "reward.weights.format",
    ],
    "sft": [*(f"optim.{name}" for name in OPTIM), "epochs", "data.row_length", "loss"],
    "prefer": [
        *(f"optim.{name}" for name in OPTIM),
        "epochs",
        "data.max_prompt",
        "data.max_completion",
        "loss",
        "beta",
    ],
    "pretrain": [*(f"optim.{name}" for name in OPTIM), "data.row_length"],
    "evaluate": ["sampling.temperature", "sampling.max_new_tokens", "engine.max_model_len"],
}
# Where a recipe says something else than the defaults, and why.
SHORT = "answers to GSM8K and MBPP by 0.5B models are short, and the card is shared"
GSM8K = "answers to GSM8K are short: the room goes to more sequences"
BASE = "the template of this base model opens no <think>"
THINK = "Tiny Think's published setting"
REASON = "Tiny-Reason's published setting"
TOKENS = "rows in a step of this size, by small-reasoning-model"
DEVIATIONS = {
    "grpo/3b": {"learner.lr": "larger models want the lower end: 5e-7 to 1e-6"},
    "grpo/gsm8k_qwen2.5_0.5b": {
        "rollout.max_new_tokens": GSM8K,
        "rollout.max_model_len": GSM8K,
        "reward.weights.format": BASE,
    },
    "grpo/one_gpu": {
        "rollout.max_new_tokens": SHORT,
        "rollout.max_model_len": SHORT,
        "reward.weights.format": BASE,
    },
    "grpo/mbpp_qwen2.5_0.5b": {
        "rollout.max_new_tokens": SHORT,
        "rollout.max_model_len": SHORT,
        "reward.weights.format": BASE,
    },
    "sft/500m": {"optim.lr": "small-reasoning-model's rate for its smallest model, trained from nothing"},
    "sft/tiny-think": {
        "optim.lr": THINK,
        "optim.warmup": THINK,
        "optim.weight_decay": THINK,
        "optim.batch": THINK,
        "loss": THINK,
    },
    "sft/tiny-reason": {
        "optim.schedule": REASON,
        "optim.floor": REASON,
        "optim.warmup_steps": REASON,
        "optim.batch": REASON,
        "data.row_length": REASON,
    },
    "prefer/dpo": {"optim.batch": THINK, "beta": THINK},
    "prefer/apo-zero": {"optim.batch": THINK, "optim.lr": THINK, "loss": "its name"},
    "pretrain/500m": {"optim.lr": "small-reasoning-model's", "optim.batch": TOKENS},
    "pretrain/1b": {"optim.batch": TOKENS},
    "pretrain/3b": {"optim.batch": TOKENS},
    "evaluate/tiny_reason": {"sampling.max_new_tokens": REASON, "engine.max_model_len": REASON},
    "evaluate/tiny_think": {"sampling.temperature": THINK},
    "speedrun/h200": {
        "pretrain.optim.lr": "a tenth of the tokens of pretraining's recipe: a higher peak",
        "pretrain.optim.batch": TOKENS,
        "sft.optim.lr": "as sft/500m",
        "prefer.optim.lr": "one short pass over some thousand pairs",
        "prefer.data.max_prompt": GSM8K,
        "prefer.data.max_completion": GSM8K,
        "grpo.rollout.max_new_tokens": GSM8K,
        "grpo.rollout.max_model_len": GSM8K,
        "evaluate.sampling.max_new_tokens": GSM8K,
        "evaluate.engine.max_model_len": GSM8K,
    },
}
LONG = OwnContext(32_768, "config")


def settled(stage: str, config: Any) -> dict[str, Any]:
    """Values of what is compared, lengths as a model with a long context has them."""
    found = flatten(to_plain(config))
    if stage == "grpo":
        lengths = fit(found["rollout.max_model_len"], found["rollout.max_new_tokens"], LONG, origins={})
        found |= {"rollout.max_model_len": lengths.context, "rollout.max_new_tokens": lengths.completion}
    elif stage == "evaluate":
        asked = found["engine.max_model_len"], found["sampling.max_new_tokens"]
        found["engine.max_model_len"] = context_for(*asked, LONG, origins={})
    elif stage == "prefer":
        found |= {key: half(found[key], LONG.tokens) for key in ("data.max_prompt", "data.max_completion")}
    elif stage in ("sft", "pretrain"):
        found["data.row_length"] = found["data.row_length"] or {"sft": 4096, "pretrain": 2048}[stage]
    return {key: found[key] for key in COMPARED[stage]}


def deviations(stage: str, recipe: Any) -> set[str]:
    section = CLASSES[stage]
    adapters = ["--lora.rank", str(recipe.lora.rank)] if getattr(recipe, "lora", None) else []
    default, said = settled(stage, parse(section, adapters, stage=stage)), settled(stage, recipe)
    return {key for key in said if said[key] != default[key]}


@pytest.mark.parametrize("name", [n for n in shipped_names() if not n.endswith("/tiny") and n not in CPU_SIZED])
def test_defaults_agree_with_the_recipes(name: str) -> None:
    stage = name.split("/")[0]
    recipe: Any = parse(CLASSES[stage], ["--config", name], stage=stage)
    parts = {f"{part}.": (part, getattr(recipe, part)) for part in COMPARED} if stage == "speedrun" else {}
    found = {f"{prefix}{key}" for prefix, one in (parts or {"": (stage, recipe)}).items() for key in deviations(*one)}
    assert found == set(DEVIATIONS.get(name, {}))
