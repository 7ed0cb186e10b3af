"""The whole chain in miniature: every stage's real command, on one Ray, then once more with nothing left to do."""

import json
from pathlib import Path

import pytest

from srm_ray.config.formats import FORMATS
from srm_ray.data.arithmetic import in_words
from srm_ray.gguf.writer import write_gguf
from srm_ray.model.lineage import read_lineage
from srm_ray.speedrun import __main__ as speedrun

pytestmark = pytest.mark.integration

# A model of 20 steps is never right, so its completions are paid for their length's parity instead.
MINIATURE = """
text: {documents: 500, examples: 300}
tokenizer: {vocab_size: 384, context: 512}
pretrain:
  steps: 10
  data: {row_length: 128, filters: {min_characters: 20, min_words: 2, near: 0}}
  optim: {batch: 8, micro_batch: 8}
sft: {steps: 10, data: {row_length: 128}, optim: {lr: 1.0e-3, batch: 8, micro_batch: 8}}
samples: {prompts: 8}
prefer: {steps: 2, optim: {batch: 2, micro_batch: 2}}
grpo:
  steps: 1
  prompts_per_step: 2
  max_refill: 40
  reward: {function: "tests.loop.parity_reward:reward"}
  rollout: {max_new_tokens: 32, max_model_len: 128, dtype: float32, cpus: 0.5, kv_cache_gb: 0.25}
  learner: {lr: 1.0e-4, precision: float32, cpus: 0.5}
  eval: {problems: 0}
evaluate:
  tasks: [arithmetic, numerals]
  limit: 10
  shown: 0
  sampling: {max_new_tokens: 32}
  engine: {max_model_len: 128, dtype: float32, kv_cache_gb: 0.25, cpus: 0.5}
export:
  format: [q8_0]
  measure: {enabled: false}
"""
STAGES = 12  # those of the card, each of four evaluations by itself
ORDER = ["text", "tokenizer", "pretrain", "sft", "samples", "prefer", "grpo", "evaluate", "export"]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("speedrun")
    (folder / "mini.yaml").write_text(MINIATURE)
    rows = ({"prompt": f"What is {n} + {n + 1}?"} for n in range(50))
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "texts").mkdir()
    for name, start in (("one.txt", 0), ("two.txt", 400)):
        written = (f"{number} is written {in_words(number)}.\n" for number in range(start, start + 400))
        (folder / "texts" / name).write_text("".join(written))
    data = ["--grpo.data.path", str(folder / "prompts.jsonl"), "--text.path", str(folder / "texts")]
    return ["--config", str(folder / "mini.yaml"), "--run_dir", str(folder / "run"), *data]


@pytest.mark.timeout(1500)
def test_from_text_to_report_card_and_again(
    ray_session: object, arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert speedrun.main(arguments) == 0
    root = Path(arguments[3])
    first = capfd.readouterr().out
    check_card(root, first)
    check_lineage(root)
    check_own_text(root)

    written = {path: path.stat().st_mtime_ns for path in root.rglob("model.safetensors")}
    assert speedrun.main(arguments) == 0
    second = capfd.readouterr().out
    assert "done already" not in first
    assert second.count("done already, in") == STAGES
    assert {path: path.stat().st_mtime_ns for path in root.rglob("model.safetensors")} == written
    assert second.split("report card")[1] == first.split("report card")[1]


def check_card(root: Path, said: str) -> None:
    summary = json.loads((root / "summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]][: len(ORDER)] == ORDER
    assert list(summary["accuracy"]) == ["pretrain", "sft", "prefer", "grpo"]
    for shares in summary["accuracy"].values():
        assert {suite: share["n"] for suite, share in shares.items()} == {"arithmetic": 10, "numerals": 10}
    assert {(one["before"], one["stage"]) for one in summary["deltas"]} == {
        ("pretrain", "sft"),
        ("sft", "prefer"),
        ("prefer", "grpo"),
    }
    by_name = {stage["name"]: stage for stage in summary["stages"]}
    assert by_name["pretrain"]["tokens"] == by_name["sft"]["tokens"] == 10 * 8 * 128
    assert by_name["pretrain"]["last"] < by_name["pretrain"]["first"]
    assert by_name["prefer"]["first"] == pytest.approx(0.6931, abs=1e-3)
    assert summary["wall_seconds"] == pytest.approx(sum(stage["seconds"] for stage in summary["stages"]))
    assert [row["label"] for row in summary["sizes"]] == ["Hugging Face", "Q8_0"]
    assert (root / "export" / summary["sizes"][1]["file"]).stat().st_size == summary["sizes"][1]["bytes"]
    assert "report card" in said and "change from the stage before" in said
    assert "<svg" in (root / "report.html").read_text()


def check_own_text(root: Path) -> None:
    """Pretraining read the user's files beside the generated ones."""
    report = json.loads((root / "pretrain" / "data" / "report.json").read_text())
    assert report["kept"]["generated"] > 400
    assert report["kept"]["own"] >= 1


def check_lineage(root: Path) -> None:
    """Each model names the one before it as its parent."""
    for name, parent in (("sft", "pretrain"), ("prefer", "sft"), ("grpo", "prefer")):
        assert read_lineage(root / name / "final")["parent"] == str(root / parent / "final")


# What `make real SMALL=1` does, on a model that is never right, with a few rows of what it has learned to end: its
# completions are paid for their length's parity, which leaves pairs and signal.
SMALLER = """
--sft.data.generator arithmetic --grpo.data.generator arithmetic
--prefer.steps 1 --prefer.optim.batch 1 --prefer.optim.micro_batch 1
--grpo.steps 1 --grpo.prompts_per_step 2 --grpo.max_refill 40 --grpo.reward tests.loop.parity_reward:reward
--grpo.rollout.max_new_tokens 64 --grpo.rollout.kv_cache_gb 0.25
--evaluate.limit 10 --evaluate.sampling.max_new_tokens 16 --evaluate.engine.kv_cache_gb 0.25
"""


@pytest.mark.timeout(1500)
def test_from_a_model_of_others_to_report_card(
    ray_session: object, trained_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(trained_model, tmp_path / "model.gguf", FORMATS["f32"])
    start = ["--start.package", "", "--start.sha256", "", "--start.file", str(file)]
    root = tmp_path / "run"
    assert speedrun.main(["--config", "speedrun/smollm2_small", "--run_dir", str(root), *start, *SMALLER.split()]) == 0
    said = capfd.readouterr().out

    summary = json.loads((root / "summary.json").read_text())
    assert list(summary["accuracy"]) == ["import", "sft", "prefer", "grpo"]
    assert {shares["word_problems"]["n"] for shares in summary["accuracy"].values()} == {10}
    assert [(one["before"], one["stage"]) for one in summary["deltas"]] == [
        ("import", "sft"),
        ("sft", "prefer"),
        ("prefer", "grpo"),
    ]
    assert read_lineage(root / "import" / "final")["data"]["sha256"]
    for name, parent in (("sft", "import"), ("prefer", "sft"), ("grpo", "prefer")):
        assert read_lineage(root / name / "final")["parent"] == str(root / parent / "final")
    assert [row["label"] for row in summary["sizes"]] == ["Hugging Face", "Q8_0"]
    assert "report card" in said and "<svg" in (root / "report.html").read_text()
