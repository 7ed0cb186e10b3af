"""What `auto` becomes reaches learner, engines, training stages, evaluation and the base model, and stays."""

from typing import Any

import pytest
import yaml

from actors.runtime import compute
from actors.train import warm_start
from actors.worker_groups import engine_spec, learner_spec
from srm_ray.config.command_line import build, config_file, read_yaml
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.export import ExportConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.stages import SftConfig
from srm_ray.errors import UserError
from srm_ray.model import precision
from srm_ray.model.precision import Hardware
from srm_ray.runs.folder import RunFolder
from srm_ray.training import engine
from tests.model.test_precision import NEW_CPU, NEW_GPU, OLD_CPU, OLD_GPU

pytestmark = pytest.mark.integration

TINY = ["grpo/tiny", "grpo/two_families"]


@pytest.fixture
def machine(monkeypatch):
    """Says what this machine is."""

    def be(hardware: Hardware) -> None:
        monkeypatch.setattr(precision, "probe", lambda gpu, measure=False: hardware)
        monkeypatch.setattr(compute, "other_nodes", lambda gpu: None)
        monkeypatch.setattr(compute, "trains_on_gpus", lambda workers: hardware.gpu)

    return be


def of(recipe: str, **sections: dict[str, Any]) -> GRPOConfig:
    """A shipped recipe with some options of its sections changed."""
    values = read_yaml(config_file(recipe))
    return build(GRPOConfig, values | {name: values[name] | changed for name, changed in sections.items()})


@pytest.mark.parametrize("recipe", TINY)
@pytest.mark.parametrize(("hardware", "products"), [(NEW_CPU, "bf16_autocast"), (OLD_CPU, "float32")])
def test_a_cpu_sized_run_computes_as_the_cpu_does(
    machine, tiny_model, capsys, recipe: str, hardware: Hardware, products: str
) -> None:
    machine(hardware)
    asked = of(recipe)
    assert (asked.learner.precision, asked.rollout.dtype) == ("auto", "auto")
    config = compute.settle_run(compute.settle_learner(asked), str(tiny_model))
    assert (config.learner.precision, config.rollout.dtype) == (products, "float32")
    said = capsys.readouterr().out.splitlines()
    assert said == [f"compute: {products} in the learner, float32 in the engines ({hardware})"]
    for made_of in (asked, config):  # a spec never holds `auto`
        spec = learner_spec(made_of, str(tiny_model))
        assert (spec.learner.precision, spec.publish_dtype) == (products, "float32")
        assert engine_spec(made_of, str(tiny_model), 160, (2,)).dtype == "float32"


def test_an_older_gpu_learns_in_fp16_with_loss_scaling(machine, tiny_model) -> None:
    machine(OLD_GPU)
    asked = of("grpo/tiny", learner={"gpus": 1}, rollout={"gpus": 1})
    spec = learner_spec(asked, str(tiny_model))
    config = engine.deepspeed_config(spec.learner)
    assert spec.learner.precision == "float16"
    assert config["fp16"]["enabled"] and "loss_scale" not in config["fp16"]  # scaled as overflows tell
    assert not config["bf16"]["enabled"]
    assert engine_spec(asked, str(tiny_model), 160, (2,)).dtype == spec.publish_dtype == "float16"


@pytest.mark.parametrize(
    ("hardware", "chosen", "enabled", "clips"),
    [
        (NEW_CPU, "bf16_autocast", (False, False), True),
        (OLD_CPU, "float32", (False, False), True),
        (NEW_GPU, "bf16_autocast", (False, False), True),
        (OLD_GPU, "float16", (False, True), False),
    ],
)
def test_a_training_stage_computes_as_its_hardware_does(
    machine, capsys, hardware: Hardware, chosen: str, enabled: tuple[bool, bool], clips: bool
) -> None:
    machine(hardware)
    config = compute.settle_optim(SftConfig())
    assert config.optim.precision == chosen
    assert capsys.readouterr().out == f"compute: {chosen} ({hardware})\n"
    made = engine.deepspeed_config(config.optim)
    assert (made["bf16"]["enabled"], made["fp16"]["enabled"]) == enabled
    # DeepSpeed clips where it holds the masters.
    assert (made["gradient_clipping"] == 0.0, engine.clips_itself(config.optim)) == (clips, clips)


def test_evaluation_answers_in_it(machine, tiny_model, capsys) -> None:
    machine(OLD_CPU)
    assert compute.settle_evaluation(EvaluateConfig(), str(tiny_model)).engine.dtype == "float32"
    assert capsys.readouterr().out == f"compute: float32 in the engines ({OLD_CPU})\n"


def test_bf16_by_name_warns_once(machine, tiny_model, capsys) -> None:
    machine(OLD_CPU)
    asked = of("grpo/tiny", learner={"precision": "bf16_autocast"})
    config = compute.settle_run(compute.settle_learner(asked), str(tiny_model))
    assert config.learner.precision == "bf16_autocast"
    said = capsys.readouterr().out
    assert said.count("warning: bf16_autocast is emulated") == said.count("39.2 times as long") == 1


# A run that goes on


def test_a_continued_run_keeps_its_dtypes_on_another_machine(machine, tiny_model, tmp_path, capsys) -> None:
    folder = RunFolder(tmp_path, stage="grpo")
    machine(NEW_CPU)
    folder.save_config(compute.settle_run(compute.settle_learner(of("grpo/tiny")), str(tiny_model)))
    assert yaml.safe_load(folder.config.read_text())["learner"]["precision"] == "bf16_autocast"
    capsys.readouterr()
    machine(OLD_CPU)
    config = compute.settle_learner(folder.check_config(of("grpo/tiny")))
    assert config.learner.precision == "bf16_autocast"
    assert capsys.readouterr().out.count("39.2 times as long") == 1
    with pytest.raises(UserError, match=r"learner.precision 'bf16_autocast'.*has 'float32'"):
        folder.check_config(of("grpo/tiny", learner={"precision": "float32"}))


def test_a_continued_run_says_why_it_cannot(machine, tmp_path) -> None:
    folder = RunFolder(tmp_path, stage="sft")
    machine(OLD_GPU)
    folder.save_config(compute.settle_optim(SftConfig()))
    machine(OLD_CPU)
    with pytest.raises(UserError, match="float16 is trained with on a GPU"):
        compute.settle_optim(folder.check_config(SftConfig()))


def test_names_that_configs_had_before_are_read(tmp_path) -> None:
    for before, now in {"autocast": "bf16_autocast", "bf16": "bfloat16", "fp32": "float32"}.items():
        assert build(SftConfig, {"optim": {"precision": before}}).optim.precision == now
    folder = RunFolder(tmp_path, stage="sft")
    saved = SftConfig().model_dump(mode="json")
    saved["optim"]["precision"] = "autocast"
    folder.config.write_text(yaml.safe_dump(saved))
    assert folder.check_config(SftConfig()).optim.precision == "bf16_autocast"
    assert (
        folder.check_config(build(SftConfig, {"optim": {"precision": "autocast"}})).optim.precision == "bf16_autocast"
    )


def test_an_export_measures_again_as_it_did(tmp_path) -> None:
    folder = RunFolder(tmp_path, stage="export")
    config = build(ExportConfig, {"model": "m", "measure": {"dtype": "bfloat16"}})
    folder.save_config(config)
    assert folder.check_config(build(ExportConfig, {"model": "m"})).measure.dtype == "bfloat16"


# The base model


def test_base_models_of_different_dtypes_are_told_apart(machine) -> None:
    machine(NEW_CPU)
    assert warm_start.compute_of("auto", 1) == warm_start.compute_of("bfloat16", 1) == "bf16_autocast"
    machine(OLD_CPU)
    assert warm_start.compute_of("auto", 1) == "float32"
    assert warm_start.compute_of("bf16_autocast", 1) == "bf16_autocast"  # a run that went on here keeps its base
    names = {warm_start.fingerprint(warm_start.RECIPE, 1, made) for made in ("bf16_autocast", "float32", "float16")}
    assert len(names) == 3


def test_a_cluster_is_as_able_as_its_least_node(monkeypatch) -> None:
    nodes = {"a": NEW_CPU, "b": OLD_CPU}
    monkeypatch.setattr(compute, "other_nodes", lambda gpu: list(nodes))
    monkeypatch.setattr(compute, "ask", lambda asked, gpu, measure: tuple(nodes[node] for node in asked))
    assert compute.hardware(gpu=False) is OLD_CPU


def test_a_benchmark_says_which_hardware_it_measured(machine) -> None:
    from srm_ray.bench import __main__ as bench

    machine(OLD_CPU)
    assert bench.hardware() == "Ryzen 5000 has no BF16: AVX2 only"
