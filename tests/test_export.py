"""`python -m srm_ray.export` from model to folder, files and card."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from srm_ray import export
from srm_ray.gguf.vocabulary import open_gguf
from srm_ray.inference.engine import open_engine
from srm_ray.model import adapters, lora
from srm_ray.model.folder import save_model, weights_fingerprint
from srm_ray.report.cost import dollars, per_thousand_tokens

HAS_LLAMA_CPP = importlib.util.find_spec("llama_cpp") is not None
QUICK = ["--measure.problems", "6", "--measure.tokens", "512", "--measure.speed_tokens", "16", "--measure.threads", "1"]
QUICK += ["--measure.max_new_tokens", "60"]


@pytest.fixture(scope="module")
def trained_run(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as GRPO leaves it: run/final with lineage, run/summary.json; and an evaluation of it beside."""
    root = tmp_path_factory.mktemp("runs")
    final = Path(shutil.copytree(trained_model, root / "think" / "final"))
    lineage = json.loads((final / "lineage.json").read_text())
    record = {**lineage, "stage": "grpo", "parent": str(trained_model), "steps": 60, "config": {"seed": 7}}
    (final / "lineage.json").write_text(json.dumps(record))
    accuracy = {"value": 0.991, "low": 0.983, "high": 0.995, "n": 1000}
    summary = {"steps": 60, "wall_seconds": 330.5, "accuracy_after": accuracy, "checkpoint": "x"}
    (root / "think" / "summary.json").write_text(json.dumps(summary))
    evaluation = root / "evaluate-think"
    evaluation.mkdir()
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
    suites = {"gsm8k": {"suite": "gsm8k", "metric": "pass@1", "score": share, "values": []}}
    known = {"model": "elsewhere", "fingerprint": weights_fingerprint(final), "suites": suites}
    (evaluation / "results.json").write_text(json.dumps(known))
    loss = {"suite": "gsm8k", "parent": {**share, "value": 0.61}, "model": share, "delta": -0.11}
    tax = {
        "model": "m",
        "parent": "p",
        "suites": [{**loss, "low": -0.2, "high": -0.02, "verdict": "loss"}, {"suite": "odd"}],
    }
    (evaluation / "tax.json").write_text(json.dumps(tax))
    return root / "think"


@pytest.fixture(scope="module")
def exported(ray_session: object, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "export"
    formats = "q8_0,f16,q4_0" + (",q4_k_m" if HAS_LLAMA_CPP else "")
    options = ["--model", str(trained_run / "final"), "--run_dir", str(out), "--format", formats, *QUICK]
    assert export.main([*options, "--price_per_hour", "0.68"]) == 0
    return out


@pytest.mark.integration
def test_what_lies_in_the_folder(exported: Path, trained_run: Path) -> None:
    wanted = {"think-Q8_0.gguf", "think-F16.gguf", "think-Q4_0.gguf"} | (
        {"think-Q4_K_M.gguf"} if HAS_LLAMA_CPP else set()
    )
    assert {path.name for path in (exported / "gguf").iterdir()} == wanted
    assert {path.name for path in exported.iterdir()} == {"gguf", "final", "summary.json", "config.yaml", ".lock"}
    assert weights_fingerprint(exported / "final") == weights_fingerprint(trained_run / "final")
    lineage = json.loads((exported / "final" / "lineage.json").read_text())
    assert (lineage["stage"], lineage["parent"]) == ("export", str(trained_run / "final"))


@pytest.mark.integration
def test_the_summary_measures_every_format(exported: Path) -> None:
    summary = json.loads((exported / "summary.json").read_text())
    rows = {row["label"]: row for row in summary["formats"]}
    assert all((exported / row["file"]).exists() for row in rows.values())
    for row in rows.values():
        if row["label"] != "Hugging Face":
            assert row["bytes"] == (exported / row["file"]).stat().st_size
    measured = rows if HAS_LLAMA_CPP else {"Hugging Face": rows["Hugging Face"]}
    for row in measured.values():
        assert 1 < row["perplexity"] < 3
        assert row["accuracy"]["n"] == 6
        assert row["dollars_per_1000_tokens"] == pytest.approx(per_thousand_tokens(0.68, row["tokens_per_second"]))
    if HAS_LLAMA_CPP:
        assert rows["F16"]["perplexity"] == pytest.approx(rows["Hugging Face"]["perplexity"], rel=1e-3)
        assert rows["Q8_0"]["perplexity"] == pytest.approx(rows["Hugging Face"]["perplexity"], rel=0.02)
    else:
        assert any("NOT measured" in note for note in summary["notes"])
        assert rows["Q8_0"]["perplexity"] is None


@pytest.mark.integration
def test_the_card(exported: Path, trained_run: Path, trained_model: Path) -> None:
    card = (exported / "final" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    assert body.lstrip().startswith("# think\n")
    assert "2,854,144 parameters" in body and "Made by init, then sft, then grpo." in body
    assert f"| which comes from | `{trained_model}` | sft |" in body
    assert "99.1% [98.3%, 99.5%], n 1000" in body
    assert "| gsm8k | pass@1 | 50.0 % | [40.0, 60.0] | 100 |" in body
    assert "| gsm8k | 61.0 % | 50.0 % | -11.0 | [-20.0, -2.0] | **loss** |" in body
    assert "| odd | – | – | – | – | within noise |" in body
    assert "think-Q8_0.gguf" in body and "$/1K tokens" in body
    assert "vllm serve . --served-model-name think" in body and "deepseek_r1" in body
    assert "arithmetic" in body, "data"
    assert str(exported) not in body, "nothing of this machine's folders but where the model comes from"


@pytest.mark.integration
def test_a_complete_export_is_left_alone(exported: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((exported / "config.yaml").read_text())
    before = {path: path.stat().st_mtime_ns for path in exported.rglob("*") if path.is_file()}
    options = ["--config", str(exported / "config.yaml"), "--run_dir", str(exported)]
    assert export.main(options) == 0
    assert "is complete" in capsys.readouterr().out
    assert export.main([*options, "--format", "q8_0"]) == 2
    assert f"was run with format {config['format']!r}" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in exported.rglob("*") if path.is_file()}


def test_other_weights_under_the_same_name_are_not_mixed_in(trained_run: Path, tmp_path: Path, capsys) -> None:
    model = Path(shutil.copytree(trained_run / "final", tmp_path / "model"))
    options = ["--model", str(model), "--run_dir", str(tmp_path / "out"), "--measure.enabled", "false"]
    assert export.main(options) == 0
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, model / "model.safetensors", {"format": "pt"})
    assert export.main(options) == 2
    assert "other weights" in capsys.readouterr().err
    assert export.main([*options, "--resume", "never"]) == 0
    assert weights_fingerprint(tmp_path / "out" / "final") == weights_fingerprint(model)


def test_an_adapter_is_merged(trained_model: Path, tmp_path: Path) -> None:
    adapted = lora.load_policy(str(trained_model), lora.Adapter(4, 8, 0.0, ("q_proj", "down_proj")))
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.05)
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    save_model(adapted, trained, tmp_path / "adapter", tokenizer_from=trained_model, lineage={"stage": "sft"})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "adapter_config.json").write_text("{}")
    assert export.main(["--model", str(tmp_path / "broken"), "--run_dir", str(tmp_path / "none")]) == 2
    spoken_to = open_engine(str(tmp_path / "adapter"), threads=1)
    options = ["--model", str(tmp_path / "adapter"), "--run_dir", str(tmp_path / "out"), "--format", "f32"]
    assert export.main([*options, "--measure.enabled", "false"]) == 0
    assert not adapters.is_adapter(tmp_path / "out" / "final")
    merged = lora.load_policy(str(tmp_path / "out" / "final")).eval()
    tokens = torch.arange(8, 72)[None]
    with torch.no_grad():
        assert (merged(tokens).logits - adapted.eval()(tokens).logits).abs().max() < 1e-3
    assert abs(spoken_to.logits(tokens[0].tolist()) - merged(tokens).logits[0].detach().numpy()).max() < 1e-3
    stored = open_gguf(tmp_path / "out" / "gguf" / "adapter-F32.gguf").tensors
    found = next(tensor for tensor in stored if tensor.name == "blk.0.attn_q.weight")
    wanted = merged.model.layers[0].self_attn.q_proj.weight.detach().numpy()
    assert (found.data == wanted).all()


def test_weights_in_bf16_stay_bf16(trained_model: Path, tmp_path: Path) -> None:
    model = lora.load_policy(str(trained_model)).bfloat16()
    lineage = {"stage": "sft"}
    save_model(model, dict(model.named_parameters()), tmp_path / "m", tokenizer_from=trained_model, lineage=lineage)
    options = ["--model", str(tmp_path / "m"), "--run_dir", str(tmp_path / "out"), "--format", "bf16,q8_0"]
    assert export.main([*options, "--measure.enabled", "false"]) == 0
    assert weights_fingerprint(tmp_path / "out" / "final") == weights_fingerprint(tmp_path / "m")
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["formats"]
    assert rows[0]["bytes"] == pytest.approx(rows[1]["bytes"], rel=0.02)


# Wrong input: one line, status 2, nothing left


Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    def run(*options: str) -> str:
        out = tmp_path / "out"
        assert export.main(["--run_dir", str(out), *options]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert not out.exists() or {path.name for path in out.iterdir()} <= {".lock"}
        return lines[0]

    return run


def test_wrong_options(refused: Refused, trained_model: Path) -> None:
    assert "--model is needed" in refused()
    assert "not a model folder" in refused("--model", "/nowhere")
    assert "a .gguf file is what comes out" in refused("--model", "x.gguf")
    assert "the formats are f32" in refused("--model", str(trained_model), "--format", "q3")
    assert "did you mean price_per_hour" in refused("--model", str(trained_model), "--price_per_our", "1")


def test_wrong_files(refused: Refused, trained_model: Path, tmp_path: Path) -> None:
    model = ["--model", str(trained_model)]
    assert "no such file" in refused(*model, "--measure.text", str(tmp_path / "none.txt"))
    assert "no such file or folder" in refused(*model, "--measure.path", str(tmp_path / "none.jsonl"))
    assert "no results.json" in refused(*model, "--measure.enabled", "false", "--evaluation", str(tmp_path))
    other = Path(shutil.copytree(trained_model, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"use_sliding_window": True, "sliding_window": 8}))
    assert "sliding" in refused("--model", str(other))


@pytest.mark.skipif(HAS_LLAMA_CPP, reason="llama.cpp is installed")
def test_q4_k_m_says_what_is_missing(refused: Refused, trained_model: Path) -> None:
    assert "make llamacpp" in refused("--model", str(trained_model), "--format", "q4_k_m")


# Cost


def test_the_published_cost() -> None:
    assert per_thousand_tokens(0.68, 30) == pytest.approx(0.0063, abs=5e-5)
    assert per_thousand_tokens(0.68, 35) == pytest.approx(0.0054, abs=5e-5)
    assert per_thousand_tokens(0.68, 25) == pytest.approx(0.0076, abs=5e-5)
    assert dollars(per_thousand_tokens(0.68, 30)) == "$0.0063"
    assert dollars(0.0000378) == "$0.000038"
    assert (dollars(12.5), dollars(0)) == ("$12.50", "$0")
