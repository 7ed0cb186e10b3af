"""Wrong input ends `python -m srm_ray.grpo` with one clear line on stderr and exit status 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TASK = json.dumps({"prompt": "1+1?", "answer": "2"})


@pytest.fixture
def grpo(tmp_path: Path):
    """Run the command in a folder of its own; returns its only line on stderr."""

    def refused(*options: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "SRM_RAY_RUNS": str(tmp_path / "runs")}
        done = subprocess.run(
            [sys.executable, "-m", "srm_ray.grpo", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return refused


# Options: nothing but the config is read.


@pytest.mark.integration
def test_an_unknown_key(grpo) -> None:
    assert grpo("--rollout.grop_size", "4").endswith("did you mean rollout.group_size?")


@pytest.mark.integration
def test_a_file_that_is_not_yaml(grpo, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("steps: [1\nrollout: {")
    assert "bad.yaml: not YAML" in grpo("--config", "bad.yaml")


@pytest.mark.integration
def test_a_value_that_does_not_fit(grpo) -> None:
    assert grpo("--learner.zero_stage", "4").startswith("error: --learner.zero_stage: ")


@pytest.mark.integration
def test_a_config_that_is_not_there(grpo) -> None:
    assert "grpo/huge: no such file" in grpo("--config", "grpo/huge")


# Model and data: checked before Ray starts.


@pytest.mark.integration
def test_a_model_path_that_is_not_one(grpo, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "not a model folder (no config.json in it)" in grpo("--model", "./empty")


@pytest.fixture(scope="module")
def in_process():
    """The command within this process, up to where Ray would start: many checks for one import of transformers."""
    from srm_ray.grpo import main

    def refused(capsys, *options: str) -> str:
        assert main(list(options)) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        return error

    return refused


@pytest.mark.integration
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "--data.path {path}: no such file or folder"),
        ([], "--data.path {path}: it holds no rows"),
        ([TASK, "{"], "{path}:2: not JSON"),
        ([TASK, '{"prompt": "x"}'], "1 `answer` or `tests` is missing"),
    ],
)
def test_data_files(
    in_process, capsys, tiny_model: Path, tmp_path: Path, lines: list[str] | None, message: str
) -> None:
    path = tmp_path / "data.jsonl"
    if lines is not None:
        path.write_text("\n".join(lines))
    options = ("--model", str(tiny_model), "--data.path", str(path), "--run_dir", str(tmp_path / "run"))
    assert message.format(path=path) in in_process(capsys, *options)


@pytest.mark.integration
def test_a_tokenizer_that_does_not_fit(in_process, capsys, tiny_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config["vocab_size"] = 128
    (model / "config.json").write_text(json.dumps(config))
    error = in_process(capsys, "--model", str(model), "--run_dir", str(tmp_path / "run"))
    assert "its embedding 128 rows: the tokenizer belongs to another model" in error


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--rollout.max_model_len", "4096"),
            "rollout.max_model_len 4096 (command line) is more than the model's own context of 512 "
            "(max_position_embeddings of {model}): lower rollout.max_model_len",
        ),
        (
            ("--rollout.max_new_tokens", "4096"),
            "a completion of 4096 tokens (rollout.max_new_tokens 4096 (command line)) leaves no room for a prompt in "
            "a context of 512 (rollout.max_model_len is open; the model's own is 512 (max_position_embeddings of "
            "{model})): lower rollout.max_new_tokens",
        ),
        (
            ("--config", "grpo/tiny", "--rollout.max_new_tokens", "150"),
            "tokens as a prompt, 10 are left for it: a context of 160 (rollout.max_model_len 160 "
            "(configs/grpo/tiny.yaml); the model's own is 512 (max_position_embeddings of {model})) less 150 for the "
            "completion (rollout.max_new_tokens 150 (command line)): lower rollout.max_new_tokens or raise "
            "rollout.max_model_len to at most 512 or shorten the prompt",
        ),
        (
            ("--rollout.kv_cache_gb", "0.001"),
            "rollout.kv_cache_gb 0.001 (command line) does not hold one sequence: 512 tokens of {model} take 0.00",
        ),
        (
            ("--reward.overlong_cache", "300"),
            "reward.overlong_cache 300 (command line) is more than the 256 tokens that a completion may have",
        ),
    ],
)
def test_a_length_that_does_not_fit_names_all_that_set_it(
    in_process, capsys, tiny_model: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    error = in_process(capsys, "--model", str(tiny_model), "--run_dir", str(tmp_path / "run"), *options)
    assert message.format(model=tiny_model) in error
