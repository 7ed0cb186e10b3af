"""Models with layers that are no attention are refused in one line, before an engine starts."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srm_ray.errors import UserError
from srm_ray.model.loading import open_named, require_attention
from tests.model.test_families import gemma2, lfm2, mamba, qwen3_5, rwkv
from tests.model.toy_tokenizers import family

UNSERVED = {
    "lfm2": (lfm2, "lfm2 has layers of the type conv"),
    "qwen3.5": (qwen3_5, "has layers of the type linear_attention"),
    "mamba": (mamba, "mamba has layers of the type linear_attention"),
    "rwkv": (rwkv, "rwkv is a recurrent model"),
}
COMMANDS = {
    "grpo": ("--data.path", "{rows}", "--inspect", "1"),
    "filter": ("--data.path", "{rows}", "--inspect", "1"),
    "distill": ("--data.path", "{rows}", "--inspect", "1"),
    "evaluate": ("--tasks", "arithmetic", "--inspect", "1"),
    "pretrain": ("--data.path", "{texts}", "--inspect", "1"),
    "pretrain, planning": ("--data.path", "{texts}", "--dry_run", "true"),
    "export": (),
    "sft": ("--data.path", "{rows}", "--inspect", "1"),
}


def folder(path: Path, make: Callable[[], Any]) -> str:
    tokenizer, config = family("chatml"), make()
    tokenizer.save_pretrained(path)
    config.vocab_size, config.eos_token_id = len(tokenizer), 1
    config.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize(
    ("command", "name"),
    [*((command, "lfm2") for command in COMMANDS), *(("export", name) for name in UNSERVED if name != "lfm2")],
)
def test_the_layer_is_named_before_an_engine_starts(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, reason = UNSERVED[name]
    model = folder(tmp_path / "model", make)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "1 + 1?", "answer": "2"}) + "\n")
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "One and one are two."}) + "\n")
    paths = {"rows": tmp_path / "rows.jsonl", "texts": tmp_path / "texts.jsonl"}
    main = importlib.import_module(f"srm_ray.{command.split(',')[0]}").main
    options = [option.format(**paths) for option in COMMANDS[command]]
    assert main(["--model", model, "--run_dir", str(tmp_path / "run"), *options]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert reason in line and model in line


def test_what_is_run_refuses_too(tmp_path: Path) -> None:
    """`evaluate`, and `grpo` and `filter`, where they open the model."""
    from actors.measuring import check_model
    from actors.train.warm_start import open_base
    from srm_ray.config.data import DataConfig
    from srm_ray.config.evaluate import EvaluateConfig

    model = folder(tmp_path, lfm2)
    with pytest.raises(UserError, match=r"--model .*: lfm2 has layers of the type conv"):
        check_model(EvaluateConfig(), open_named("--model", model))
    with pytest.raises(UserError, match=r"--model .*: lfm2 has layers of the type conv"):
        open_base(model, DataConfig(), 0, print, "auto")


def test_teachers_and_judges_too(tmp_path: Path) -> None:
    info = open_named("--teacher.model", folder(tmp_path, lfm2))
    with pytest.raises(UserError, match=r"--teacher.model .*: lfm2 has layers of the type conv"):
        require_attention(info, "--teacher.model")


def test_attention_of_another_kind_may_be_sampled_from(tmp_path: Path) -> None:
    require_attention(open_named("--model", folder(tmp_path, gemma2)))
