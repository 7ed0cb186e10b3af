"""What the commands say about wrong input: one line, exit status 2. And what they print before training."""

import json
import os
import shutil
from pathlib import Path

import pytest

from actors.train import stage
from srm_ray import prefer, pretrain, sft, tokenizer
from srm_ray.config.stages import SftConfig
from srm_ray.data import arithmetic
from srm_ray.errors import UserError
from srm_ray.model import tokenization
from srm_ray.model.folder import save_model
from srm_ray.model.shapes import build, shape

SHARED = Path(os.environ.get("SRM_SHARED_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    core = tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)
    tokenization.save(tokenization.wrap(core), folder)
    made = build(shape("tiny", vocab_size=384), seed=1)
    save_model(made, dict(made.named_parameters()), folder, tokenizer_from=folder, lineage={"stage": "init"})
    return str(folder)


def refused(capsys: pytest.CaptureFixture[str], status: int, *parts: str) -> None:
    error = capsys.readouterr().err.strip()
    assert status == 2
    last = error.splitlines()[-1]
    assert last.startswith("error: ")
    for part in parts:
        assert part in last


def test_sft_without_model_or_data(capsys: pytest.CaptureFixture[str], model: str) -> None:
    refused(capsys, sft.main([]), "--model is needed")
    refused(capsys, sft.main(["--model", model]), "no data")
    refused(capsys, sft.main(["--model", model, "--data.generator", "poems"]), "arithmetic")


@pytest.mark.integration
def test_wrong_schema_names_the_line(
    ray_session: object, capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n')
    refused(
        capsys, sft.main(["--model", model, "--data.path", str(path)]), "x.jsonl:2", "no conversation", "--data.columns"
    )


@pytest.mark.integration
def test_nothing_left_after_filtering_says_why(
    ray_session: object, capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"prompt": "a" * 400, "response": "b"}) + "\n")
    options = ["--model", model, "--data.path", str(path), "--data.row_length", "64", "--run_dir", str(tmp_path / "r")]
    refused(capsys, sft.main(options), "100.0% of 1 rows cannot be used", "1 longer than 64 tokens (data.row_length)")


def test_row_longer_than_the_context(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n')
    refused(capsys, sft.main(["--model", model, "--data.path", str(path), "--data.row_length", "600"]), "600", "512")


@pytest.mark.integration
def test_schedule_longer_than_the_data(
    ray_session: object, capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n' * 40)
    options = ["--model", model, "--data.path", str(path), "--optim.batch", "4", "--data.pack", "false"]
    status = sft.main([*options, "--steps", "99", "--epochs", "2", "--run_dir", str(tmp_path / "run")])
    refused(capsys, status, "--steps 99 is longer than the data: 40 rows x 2 epochs give 20 steps of 4")
    assert not (tmp_path / "run" / "final").exists()
    with pytest.raises(UserError, match=r"--steps 99 is longer than the data: 64 rows x 2 epochs give 4 steps"):
        stage.steps_of(SftConfig(steps=99), 64, 2.0, what="rows")
    with pytest.raises(UserError, match="more than the data holds: 5 rows"):
        stage.steps_of(SftConfig(), 5, 2.0, what="rows")


@pytest.mark.integration
def test_prefer_without_pairs(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    refused(capsys, prefer.main(["--model", model]), "no pairs")
    refused(capsys, prefer.main(["--model", model, "--from_rollouts", str(tmp_path)]), "no rollouts")


def test_pretrain_refuses_a_missing_tokenizer_and_an_unknown_size(
    capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    (tmp_path / "x.txt").write_text("x")
    there = ["--data.path", str(tmp_path / "x.txt"), "--run_dir", str(tmp_path / "r")]
    refused(capsys, pretrain.main(there), "--tokenizer is needed")
    nowhere = ["--tokenizer", model, "--data.path", str(tmp_path / "nowhere")]
    refused(capsys, pretrain.main(nowhere), "nowhere: no such file or folder")
    refused(capsys, pretrain.main([*there, "--tokenizer", str(tmp_path)]), "not a folder with a tokenizer")
    refused(capsys, pretrain.main([*there, "--tokenizer", model, "--size", "7b"]), "'7b'", "tiny, 500m")


def test_a_checkpoint_of_another_shape(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 768}))
    for stage_main in (sft.main, prefer.main):
        status = stage_main(["--model", str(copy), "--data.path", "x.jsonl"])
        refused(capsys, status, "checkpoint of another shape", "[256, 640]", "[256, 768] by config.json")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:5000])
    refused(capsys, sft.main(["--model", str(copy)]), "model.safetensors cannot be read", "is it complete?")


def test_a_tokenizer_that_does_not_match(capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path) -> None:
    from pydoc_data.topics import topics

    other = tmp_path / "other"
    tokenization.save(tokenization.wrap(tokenization.train(topics.values(), 512)), other)
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "x"}\n')
    options = ["--model", model, "--tokenizer", str(other), "--data.path", str(path)]
    refused(capsys, pretrain.main([*options, "--run_dir", str(tmp_path / "r")]), "is not the one that --model")
    # A model folder whose tokenizer was swapped for a larger one.
    swapped = tmp_path / "swapped"
    shutil.copytree(model, swapped)
    tokenization.save(tokenization.load(other), swapped)
    refused(capsys, sft.main(["--model", str(swapped)]), "512 entries", "384 rows", "belongs to another model")


def test_inspect_shows_the_loss_on_exactly_the_assistants_tokens(
    capsys: pytest.CaptureFixture[str], model: str, tmp_path: Path
) -> None:
    assert sft.main(["--model", model, "--data.generator", "arithmetic", "--data.limit", "3", "--inspect", "3"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown.count("loss |<think>|\\n") == 3 and shown.count("     |<|im_start|>|user|\\n") == 3
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"chosen": "\\n\\nHuman: a\\n\\nAssistant: b", "rejected": "\\n\\nHuman: a\\n\\nAssistant: c"}\n')
    assert prefer.main(["--model", model, "--data.path", str(path), "--inspect", "1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("loss |b") or line.startswith("loss |c")] == [
        "loss |b|<|im_end|>",
        "loss |c|<|im_end|>",
    ]


def test_dry_run_counts_the_500m(capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main(["--config", "pretrain/500m", "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "489,300,736" in shown
    assert "optimizer" in shown and "cluster" in shown


def test_tokenizer_command_on_gsm8k(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = SHARED / "gsm8k" / "train.jsonl"
    if not path.is_file():
        pytest.skip(f"REAL DATA MISSING: {path} (set SRM_SHARED_DATA)")
    options = ["--vocab_size", "1024", "--data.path", str(path), "--run_dir", str(tmp_path / "tok")]
    assert tokenizer.main([*options, "--characters_per_token", "1.2"]) == 0
    saved = tokenization.load(tmp_path / "tok" / "final")
    assert len(saved) == 1024
    assert tokenizer.main([*options, "--run_dir", str(tmp_path / "no"), "--characters_per_token", "9"]) == 1
    said = capsys.readouterr().err
    assert "failed its verification and is not saved" in said
    assert "characters a token on English, at least 9" in said and "characters a token on code, at least 9" in said
    assert not (tmp_path / "no" / "final").exists()
