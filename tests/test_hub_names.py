"""Data sets and models by their names on a hub, which here is a server of this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import hub

pytestmark = pytest.mark.integration

CODE = """
import importlib, json, sys
for module, *words in json.loads(sys.argv[1]):
    print("=" * 9, flush=True)
    print("status", importlib.import_module(f"srm_ray.{module}").main(words), flush=True)
"""
CARD = """---
configs:
- {config_name: easy, data_files: [{split: train, path: easy.jsonl}]}
- {config_name: hard, data_files: [{split: train, path: hard.jsonl}, {split: test, path: easy.jsonl}]}
---
"""


def lines(rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def root(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    shutil.copytree(tiny_model, folder / "models" / "people" / "tiny")
    sets = folder / "datasets" / "people"
    for name in ("sums", "two", "chats", "pairs"):
        (sets / name).mkdir(parents=True)
    sums = [{"question": f"What is {n}+{n + 1}?", "answer": f"It is #### {2 * n + 1}"} for n in range(20)]
    for file in ("sums/train.jsonl", "two/easy.jsonl", "two/hard.jsonl"):
        (sets / file).write_text(lines(sums))
    (sets / "two" / "README.md").write_text(CARD)
    shutil.copytree(sets / "two", sets / "main")
    (sets / "main" / "README.md").write_text(CARD.replace("hard,", "main,"))
    turns = ({"role": "user", "content": "What is 1+1?"}, {"role": "assistant", "content": "2"})
    (sets / "chats" / "train.jsonl").write_text(lines({"messages": [turns[0], turns[1]]} for _ in range(3)))
    pair = {"prompt": "What is 1+1?", "chosen": "2", "rejected": "3"}
    (sets / "pairs" / "train.jsonl").write_text(lines([pair] * 3))
    return folder


def said(root: Path, cache: Path, *commands: str) -> list[str]:
    """What each command says, and its status."""
    words = [command.split() for command in commands]
    with hub.serving(root) as address:
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
        code = [sys.executable, "-c", CODE, json.dumps(words)]
        done = subprocess.run(
            code, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    found = done.stdout.split("=========\n")[1:]
    assert len(found) == len(commands), done.stdout[-3000:]
    return found


def test_every_reader_takes_a_name(root: Path, tmp_path: Path) -> None:
    rl, chosen, sft, prefer, evaluate = said(
        root,
        tmp_path,
        "grpo --data.name people/sums --inspect 20",
        "grpo --data.name people/two:hard --inspect 1",
        "sft --model people/tiny --data.name people/chats --inspect 1",
        "prefer --model people/tiny --data.name people/pairs --inspect 1",
        "evaluate --model people/tiny --tasks people/two:hard --inspect 1",
    )
    assert "What is 19+20?" in rl and "gold    39" in rl and "status 0" in rl
    assert "gold    " in chosen and "status 0" in chosen
    assert "loss |2|<|im_end|>" in sft and "3 examples of 3 rows kept" in sft
    assert "loss |3|<|im_end|>" in prefer and "3 pairs of 3 rows kept" in prefer
    assert "What is " in evaluate and "status 0" in evaluate


def test_a_name_that_does_not_say_enough_is_one_line(root: Path, tmp_path: Path) -> None:
    two, none, split, main, task, model = said(
        root,
        tmp_path,
        "grpo --data.name people/two --inspect 1",
        "grpo --data.name people/none --inspect 1",
        "grpo --data.name people/two:hard --data.split dev --inspect 1",
        "grpo --data.name people/main --data.split dev --inspect 1",
        "evaluate --model people/tiny --tasks people/sums --inspect 1",
        "sft --model people/none --data.name people/chats --inspect 1",
    )
    assert "--data.name people/two has the configurations easy, hard: choose one as people/two:easy" in two
    assert "--data.name people/none (default, train) cannot be loaded: DatasetNotFoundError" in none
    assert "people/two: it has no split dev, but train, test: choose one as people/two:hard:SPLIT" in split
    assert "people/main: it has no split dev, but train, test: choose one as people/main:main:SPLIT" in main
    assert "--tasks people/sums: it has no split test, but train: choose one as people/sums::SPLIT" in task
    assert "--model people/none" in model
    for text in (two, none, split, main, task, model):
        assert "status 2" in text and "Traceback" not in text
