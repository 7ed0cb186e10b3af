"""The commands themselves, from data to a finished run folder, on the tiny model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from actors.runtime import cluster
from srm_ray import grpo, prefer, pretrain, sft
from srm_ray.data import arithmetic
from srm_ray.data.rendering import render_completion, render_prompt
from srm_ray.errors import UserError
from srm_ray.model import tokenization
from srm_ray.model.lineage import read_lineage
from srm_ray.model.loading import open_model
from srm_ray.runs.metrics import read, without_times
from tests.loop.command_run import small_run
from tests.same import same_steps, same_weights

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def shared_ray(ray_session: Any) -> None:
    """The session's Ray."""


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = [arithmetic.problem(1, index) for index in range(600)]
    rows = [{"text": f"{one.question} {one.reasoning} {one.answer}"} for one in made]
    return jsonl(tmp_path_factory.mktemp("documents") / "sums.jsonl", rows)


def pretrain_options(documents: str, tokenizer: Path, run_dir: Path, *more: str) -> list[str]:
    options = ["--tokenizer", str(tokenizer), "--data.path", documents, "--run_dir", str(run_dir)]
    options += ["--data.row_length", "64", "--data.filters.min_characters", "20", "--data.filters.min_words", "4"]
    options += ["--data.filters.near", "0", "--optim.batch", "8", "--optim.micro_batch", "4", "--steps", "8"]
    options += ["--optim.precision", "float32", "--optim.lr", "1e-3", "--eval.share", "0.05", "--eval.every", "4"]
    return [*options, "--checkpoint.every", "3", *more]


def logged(run_dir: Path) -> list[dict[str, Any]]:
    return [without_times(line) for line in read(run_dir / "metrics.jsonl")]


@pytest.fixture(scope="module")
def calm(ray_session: Any, documents: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an undisturbed pretraining."""
    folder = tmp_path_factory.mktemp("pretrain") / "calm"
    assert pretrain.main(pretrain_options(documents, tiny_model, folder)) == 0
    return folder


def test_a_pretrained_folder_has_the_same_logprobs_in_vllm_and_transformers(calm: Path, tmp_path: Path) -> None:
    """As saved, with no code of ours in either, in FP32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = calm / "final"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [arithmetic.problem(7, index) for index in range(6)]
    sequences = [tokenizer(f"{one.question} {one.reasoning} {one.answer}")["input_ids"] for one in texts]
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"model": str(folder), "sequences": sequences}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.score_in_vllm", str(job)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    scored = json.loads(done.stdout.strip().splitlines()[-1])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for ids, theirs in zip(sequences, scored, strict=True):
        with torch.no_grad():
            logprobs = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        ours = logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        assert len(theirs) == len(ids) - 1
        assert (ours - torch.tensor(theirs)).abs().max() < 1e-4
    assert ours.std() > 0.1, "a uniform model would agree with anything"


def test_a_killed_pretraining_goes_on_to_the_same_curve(
    ray_session: Any, documents: str, tiny_model: Path, calm: Path, tmp_path: Path
) -> None:
    """SIGKILL of the command itself, then the same command: the same batches, losses and weights, bit for bit; of a run
    folder that is given relative to where the command runs, which Ray's workers do not."""
    killed = tmp_path / "killed"
    assert [line["step"] for line in logged(calm)] == list(range(1, 9))
    options = pretrain_options(documents, tiny_model, Path(killed.name))
    command = [sys.executable, "-m", "srm_ray.pretrain", *options]
    environment = os.environ | {"RAY_ADDRESS": ray_session.get_runtime_context().gcs_address, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "said.txt").open("w+") as said:
        first = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=said)
        deadline = time.time() + 900
        while not (killed / "metrics.jsonl").is_file() or len(read(killed / "metrics.jsonl")) < 5:
            if first.poll() is not None or time.time() > deadline:
                first.kill()
                pytest.fail(f"it could not be killed in mid-run: status {first.poll()}\n{said.seek(0) or said.read()}")
            time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (killed / "summary.json").exists()
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "continuing after step" in again.stdout
    same_steps(logged(killed), logged(calm))
    same_weights(killed / "final", calm / "final")
    assert json.loads((killed / "summary.json").read_text())["restarts"] == 1


def test_changed_data_is_not_continued_on(
    calm: Path,
) -> None:
    from actors.train import stage

    lineage = read_lineage(calm / "checkpoints" / "step_6" / "model")
    assert {"stage", "parent", "parent_weights", "config", "data", "packages", "commit"} <= set(lineage)
    stage.check_data(calm / "checkpoints" / "step_6", {"rows": lineage["data"]["rows"]})
    with pytest.raises(UserError, match="the data is not what"):
        stage.check_data(calm / "checkpoints" / "step_6", {"rows": "other"})


def test_two_workers_pretrain_as_one(documents: str, tiny_model: Path, calm: Path, tmp_path: Path) -> None:
    ranks = ["--workers", "2", "--optim.micro_batch", "2", "--optim.zero_stage", "1"]
    options = pretrain_options(documents, tiny_model, tmp_path / "two", *ranks)
    assert pretrain.main(options) == 0
    one, two = logged(calm), logged(tmp_path / "two")
    for name, tolerance in (("train/loss", 1e-5), ("train/grad_norm", 1e-4)):
        assert [line[name] for line in two] == pytest.approx([line[name] for line in one], rel=tolerance), name
    assert two[-1]["eval/loss"] == pytest.approx(one[-1]["eval/loss"], rel=1e-5)


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: Any) -> Path:
    """LoRA on examples in all three forms."""
    folder = tmp_path_factory.mktemp("sft")
    made = [arithmetic.problem(3, index) for index in range(60)]
    paths = [
        jsonl(folder / "messages.jsonl", [{"messages": arithmetic.conversation(3, index)} for index in range(60)]),
        jsonl(folder / "response.jsonl", [{"prompt": one.question, "response": one.answer} for one in made]),
        jsonl(folder / "gsm8k.jsonl", [{"question": o.question, "answer": f"so\n#### {o.answer}"} for o in made]),
    ]
    options = [
        "--model",
        str(tiny_model),
        "--data.path",
        ",".join(paths),
        "--data.row_length",
        "64",
        "--lora.rank",
        "4",
    ]
    options += [
        "--optim.batch",
        "8",
        "--optim.micro_batch",
        "8",
        "--optim.lr",
        "1e-2",
        "--steps",
        "6",
        "--neftune",
        "5",
    ]
    assert sft.main([*options, "--run_dir", str(folder / "run")]) == 0
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert set(summary["data"]["tokens"]) == set(paths)
    return folder / "run" / "final"


def test_an_adapter_opens_as_a_model(adapter: Path, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from srm_ray.model import adapters

    assert not (adapter / "model.safetensors").exists()
    info = open_model(str(adapter))
    assert info.path == str(adapter / "merged")
    written = (adapter / "merged" / "model.safetensors").stat().st_mtime_ns
    assert open_model(str(adapter)).path == info.path
    assert (adapter / "merged" / "model.safetensors").stat().st_mtime_ns == written, "merged once"
    tokens = torch.arange(8, 40)[None]
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(info.path)(tokens).logits
        assert torch.allclose(plain, adapters.merged(adapter)(tokens).logits, atol=1e-4)
        assert (plain - AutoModelForCausalLM.from_pretrained(tiny_model)(tokens).logits).abs().max() > 1e-3


def test_merge_writes_plain_weights(adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sft.main(["merge", str(adapter), str(tmp_path / "plain")]) == 0
    lineage = read_lineage(tmp_path / "plain")
    assert (lineage["stage"], lineage["merged_from"]) == ("sft", str(adapter))
    assert lineage["config"]["lora"]["rank"] == 4
    assert sft.main(["merge", str(tmp_path), str(tmp_path / "no")]) == 2
    assert "holds no adapter" in capsys.readouterr().err


def test_grpo_starts_from_an_adapter(adapter: Path, tmp_path: Path) -> None:
    """Of its merged weights: what comes out is plain weights whose parent is the adapter."""
    command = small_run(adapter, tmp_path / "prompts.jsonl", steps="1")
    with cluster.session():
        assert grpo.main([*command[3:], "--run_dir", str(tmp_path / "run")]) == 0
    [step] = read(tmp_path / "run" / "metrics.jsonl")
    assert step["policy/mismatch_kl"] < 1e-3 and step["policy/grad_norm"] > 0
    lineage = read_lineage(tmp_path / "run" / "final")
    assert (lineage["stage"], lineage["parent"]) == ("grpo", str(adapter))
    start, end = (
        load_file(folder / "model.safetensors") for folder in (adapter / "merged", tmp_path / "run" / "final")
    )
    assert start.keys() == end.keys()
    assert any((start[name] != end[name]).any() for name in start)


def test_qlora_trains_on_a_cpu(tiny_model: Path, tmp_path: Path) -> None:
    """NF4 base weights, LoRA, 8-bit AdamW; the adapter's plain weights are the full-precision base's with it added."""
    pytest.importorskip("bitsandbytes", reason="BITSANDBYTES MISSING: pip install 'srm-ray[qlora]'")
    options = ["--model", str(tiny_model), "--data.generator", "arithmetic", "--data.limit", "200", "--steps", "6"]
    options += ["--data.row_length", "64", "--optim.batch", "8", "--optim.micro_batch", "8", "--optim.lr", "1e-2"]
    options += ["--lora.rank", "16", "--lora.quantise", "nf4", "--optim.adam_bits", "8", "--run_dir", str(tmp_path)]
    assert sft.main(options) == 0
    losses = [line["train/loss"] for line in read(tmp_path / "metrics.jsonl")]
    assert losses[-1] < losses[0] - 0.1
    merged = open_model(str(tmp_path / "final"))
    assert {"adapter_weights", "parent_weights"} <= set(read_lineage(Path(merged.path)))


def rollouts(folder: Path, model: Path, count: int) -> None:
    """A GRPO run's rollouts: of each prompt a right and a wrong completion."""
    tokenizer = tokenization.load(model)
    rows = []
    for index in range(count):
        one = arithmetic.problem(5, index)
        prompt = render_prompt(tokenizer, [{"role": "user", "content": one.question}])
        for sample, answer in enumerate((one.answer, "0")):
            ids = render_completion(tokenizer, arithmetic.answer_text(answer))
            row = {"prompt_index": index, "draw": 0, "sample": sample, "token_ids": ids, "correct": answer != "0"}
            rows.append(row | {"prompt": tokenizer.decode(prompt), "prompt_ids": prompt})
    folder.mkdir(parents=True)
    jsonl(folder / "step_000001.jsonl", rows)


def reward_workers() -> int:
    """How many this test process's Ray has run so far."""
    from ray._private.state import actors

    return sum(known["ActorClassName"] == "RewardWorker" for known in actors().values())


def test_prefer_from_rollouts_reports_accuracy_with_intervals(
    adapter: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollouts(tmp_path / "grpo" / "rollouts", tiny_model, 40)
    options = ["--model", str(adapter), "--from-rollouts", str(tmp_path / "grpo"), "--run_dir", str(tmp_path / "run")]
    options += ["--optim.batch", "8", "--optim.micro_batch", "4", "--optim.lr", "1e-4", "--eval.share", "0.2"]
    graded = reward_workers()
    assert prefer.main([*options, "--eval.problems", "20", "--eval.every", "2", "--eval.best", "false"]) == 0
    assert reward_workers() == graded + 2  # one for each measurement
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    for when in ("accuracy_before", "accuracy_after"):
        assert summary[when]["n"] == 20 and summary[when]["low"] <= summary[when]["value"] <= summary[when]["high"]
    shown = capsys.readouterr().out
    assert "held-out greedy accuracy   before" in shown and "95 % intervals" in shown
    lines = read(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    held_out = [line["eval/loss"] for line in lines if "eval/loss" in line]
    assert held_out[-1] < held_out[0] < 0.6931
    assert read_lineage(tmp_path / "run" / "final")["parent"] == str(adapter)


def test_rollouts_of_another_tokenizer_are_refused(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollouts(tmp_path / "grpo" / "rollouts", tiny_model, 2)
    path = tmp_path / "grpo" / "rollouts" / "step_000001.jsonl"
    path.write_text(path.read_text().replace("What is", "Which is"))
    assert prefer.main(["--model", str(tiny_model), "--from_rollouts", str(tmp_path / "grpo")]) == 2
    assert "step_000001.jsonl:1: sampled with another tokenizer" in capsys.readouterr().err
