"""`python -m srm_ray.evaluate` on a checkpoint with real engines: deterministic, resumable, against its parent."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from actors.reward.pool import RewardPool
from actors.rollout import scoring
from srm_ray import evaluate
from srm_ray.evaluation.results import read

pytestmark = pytest.mark.integration

SMALL = ["--limit", "6", "--sampling.max_new_tokens", "12", "--engine.cpus", "0.5"]
SMALL += ["--engine.kv_cache_gb", "0.25", "--engine.max_num_seqs", "32", "--sampling.samples", "3"]
SMALL += ["--sampling.temperature", "1"]


@pytest.fixture(scope="module")
def child(tiny_model, tmp_path_factory) -> Path:
    """A model whose record names another as its parent (the same weights: the tax must be zero)."""
    folder = tmp_path_factory.mktemp("child") / "final"
    shutil.copytree(tiny_model, folder)
    (folder / "lineage.json").write_text(json.dumps({"stage": "sft", "parent": str(tiny_model)}))
    return folder


@pytest.fixture(scope="module")
def finished(ray_session, child, tmp_path_factory) -> tuple[Path, list[str]]:
    """An evaluation of the child by one engine and of its parent by another, and the options that made it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    options = ["--model", str(child), "--run_dir", str(run), *SMALL, "--against"]
    assert evaluate.main(options) == 0
    return run, options


def test_against_the_recorded_parent(finished, tiny_model, child) -> None:
    run, _ = finished
    tax = json.loads((run / "tax.json").read_text())
    assert (tax["model"], tax["parent"], tax["real_losses"]) == (str(child), str(tiny_model), [])
    assert [one["delta"] for one in tax["suites"]] == [0.0]
    samples = (run / "samples" / "arithmetic.jsonl").read_text()
    assert samples == (run / "against" / "samples" / "arithmetic.jsonl").read_text()  # another engine, the same seeds
    assert len({json.loads(line)["completion"] for line in samples.splitlines()}) > 6
    assert set(read(run).suites["arithmetic"].more) >= {"pass@2", "pass@3"}
    assert (run / "report.html").is_file()
    # A small model answers in FP32 on every CPU, and the record names what `auto` became.
    assert yaml.safe_load((run / "config.yaml").read_text())["engine"]["dtype"] == "float32"


def test_two_engines_say_what_one_says(finished, child, tmp_path: Path, monkeypatch, capsys) -> None:
    answered = []

    def said(prompt, one):
        answered.append(one.worker)
        return of_completion(prompt, one)

    of_completion = scoring.chat_completion
    monkeypatch.setattr(scoring, "chat_completion", said)
    run, (one_engine, _) = tmp_path / "run", finished
    assert evaluate.main(["--model", str(child), "--run_dir", str(run), *SMALL, "--workers", "2"]) == 0
    assert "starting 2 engine(s)" in capsys.readouterr().out
    assert set(answered) == {"rollout-0", "rollout-1"}  # both had work
    name = Path("samples") / "arithmetic.jsonl"
    assert (run / name).read_bytes() == (one_engine / name).read_bytes()
    assert read(run) == read(one_engine)


def test_a_reward_worker_that_is_killed_costs_no_grade(finished, child, tmp_path: Path, monkeypatch, capsys) -> None:
    graded, killed = [], []

    async def grade(pool, problem, question, text, **options):
        graded.append(text)
        if len(graded) == 7:
            (member,) = pool.members
            os.kill(member.info.pid, signal.SIGKILL)
            killed.append(member.name)
        return await on_a_worker(pool, problem, question, text, **options)

    on_a_worker = RewardPool.grade
    monkeypatch.setattr(RewardPool, "grade", grade)
    run, (undisturbed, _) = tmp_path / "run", finished
    assert evaluate.main(["--model", str(child), "--run_dir", str(run), *SMALL]) == 0
    assert killed == ["reward-0"] and len(graded) == 18
    assert re.search(r"reward-0 .*; another one takes its place", capsys.readouterr().out)
    name = Path("samples") / "arithmetic.jsonl"
    assert (run / name).read_bytes() == (undisturbed / name).read_bytes()
    assert read(run) == read(undisturbed)


def test_the_same_command_again_asks_nothing(finished, tiny_model, capsys) -> None:
    run, options = finished
    before = read(run)
    assert evaluate.main(options) == 0
    out = capsys.readouterr().out
    assert "starting" not in out  # no engine
    assert f"against {tiny_model}" in out
    assert "real losses: none" in out
    assert read(run) == before


def test_other_weights_are_not_mixed_in(tiny_model, child, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.json").write_text(json.dumps({"model": "x", "fingerprint": "y"}))
    assert evaluate.main(["--model", str(child), "--run_dir", str(run), *SMALL]) == 2
    assert "holds an evaluation of other weights (x)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "gsm9k"], "unknown suite 'gsm9k'; did you mean gsm8k?"),
        (["--tasks", "gsm8k", "--data.path", "/nowhere"], "/nowhere/gsm8k/test.jsonl does not exist"),
        (["--tasks", ""], "tasks names no suite"),
        (["--against", "parent"], "names none; name the parent with --against PATH"),
        (["--against", "./nowhere"], "--model ./nowhere: not a model folder"),
        (["--engine.max_model_len", "9999"], "engine.max_model_len 9999 (command line) is more than the"),
        (["--model", "./nowhere"], "not a model folder"),
        (["--endpoint", "localhost"], "endpoint must be a URL"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    tiny_model, tmp_path: Path, capsys, options: list[str], message: str
) -> None:
    run = tmp_path / "run"
    assert evaluate.main(["--model", str(tiny_model), "--run_dir", str(run), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert message in error
    assert not (run / "results.json").exists()


def test_problems_that_are_not_there_are_missed_before_anything_is_measured(tiny_model, tmp_path: Path, capsys) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'srm-ray[eval]'")
    (tmp_path / "svamp").mkdir()
    (tmp_path / "svamp" / "test.jsonl").write_text('{"Body": "Two.", "Question": "How many?", "Answer": "2"}\n')
    options = ["--model", str(tiny_model), "--tasks", "svamp,bbh", "--data.path", str(tmp_path)]
    assert evaluate.main([*options, "--run_dir", str(tmp_path / "run")]) == 2
    told = capsys.readouterr()
    assert "bbh/boolean_expressions.json does not exist" in told.err
    assert "starting" not in told.out  # no engine


def test_names_of_run_folders(tmp_path: Path) -> None:
    assert evaluate.slug("runs/grpo/final") == "grpo"
    assert evaluate.slug("Qwen/Qwen2.5-0.5B") == "Qwen-Qwen2.5-0.5B"
    assert evaluate.slug(str(tmp_path)) == tmp_path.name
