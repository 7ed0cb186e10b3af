"""README's "Bring your own": data, model, reward and loss, each command as printed, on Qwen2's architecture.

What the commands name is put where they look for it: a model under its hub name, a data set in the hub's layout, a
module beside them. Only what makes a run small is added.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import families
from tests.doc_commands import ROOT, Command, commands_of

pytestmark = pytest.mark.integration

SMALL = {
    "steps": "1",
    "prompts_per_step": "2",
    "max_refill": "4",
    "eval.problems": "4",
    "eval.samples": "1",
    "rollout.group_size": "4",
    "rollout.max_new_tokens": "16",
    "rollout.kv_cache_gb": "0.1",
    "rollout.cpus": "0.5",
    "checkpoint.every": "1",
}
REWARD = """
def reward(prompt, completion, answer):
    assert answer.isdigit() and "Say" in prompt
    return len(completion) % 2
"""


def printed() -> list[Command]:
    """The commands of the section, in order."""
    section = re.search(r"## Bring your own\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    assert section
    return [one for one in commands_of(section[1], "README.md") if one.module == "srm_ray.grpo" and len(one.words) > 1]


@pytest.fixture(scope="module")
def workplace(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the commands name."""
    from srm_ray.model import tokenization

    folder = tmp_path_factory.mktemp("own")
    tokenizer = tokenization.load(tiny_model)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 512, "eos_token_id": tokenizer.eos_token_id}
    model = families.build(families.qwen2(**sizes))
    for name in ("path/to/model", "Qwen/Qwen2.5-0.5B"):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    rows = [{"prompt": f"Say {n}.", "answer": str(n)} for n in range(40)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hub = folder / "openai" / "gsm8k"
    hub.mkdir(parents=True)
    for split in ("train", "test"):
        own = [{"question": row["prompt"], "answer": f"It is.\n#### {row['answer']}"} for row in rows]
        (hub / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    package = folder / "mypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mymodule.py").write_text(REWARD)
    return folder


def run(workplace: Path, command: Command, **more: str) -> dict[str, object]:
    """The summary of a printed command's run."""
    folder = workplace / "runs" / (more.pop("run_dir", "") or "mine")
    given = [word for name, value in {**SMALL, **more}.items() for word in (f"--{name}", value)]
    words = [*command.words, *given]
    if "--run_dir" not in words:
        words += ["--run_dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
    done = subprocess.run(
        [sys.executable, "-m", command.module, *words],
        cwd=workplace, env=environment, capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (folder / "final" / "model.safetensors").is_file()
    return json.loads((folder / "summary.json").read_text())


def test_two_commands_are_printed() -> None:
    own_data, own_reward = printed()
    assert {"--model", "--data.path", "--run_dir"} <= set(own_data.words)
    assert {"--model", "--data.name", "--reward"} <= set(own_reward.words)


def test_own_data_and_model(workplace: Path) -> None:
    # A random model answers nothing: a step without signal is skipped, and ends the run at once by default.
    summary = run(workplace, printed()[0], **{"stop.starved": "null"})
    assert summary["steps"] == 1


def test_own_reward_and_loss(workplace: Path) -> None:
    """A random model earns it sometimes, so that the loss has something to do."""
    summary = run(workplace, printed()[1], **{"run_dir": "rewarded", "loss.name": "cispo"})
    assert (summary["steps"], summary["updates"]) == (1, 1)
    assert summary["after"], "the data set has a held-out split"
