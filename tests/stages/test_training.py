"""Training on Ray Train with DeepSpeed: equal to a plain loop, and a worker that is killed changes nothing.

All stages are this one engine, so one of them is killed here; `test_end_to_end` kills a whole command, and compares
two ranks with one.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.train import run
from srm_ray.config.stages import OptimConfig
from srm_ray.data import arithmetic
from srm_ray.data.packing import Rows, pack, save_rows
from srm_ray.data.rendering import render_conversation
from srm_ray.errors import RunError
from srm_ray.model import tokenization
from srm_ray.model.folder import save_model
from srm_ray.model.lineage import read_lineage
from srm_ray.model.shapes import build, shape
from srm_ray.runs.metrics import read, without_times
from srm_ray.training.job import TrainSpec
from srm_ray.training.objectives import to_device
from srm_ray.training.schedule import Schedule
from tests.same import same_steps, same_weights

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def cluster(ray_session) -> None:
    """The session's Ray."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TrainSpec:
    """A job of six steps of four short rows in FP32."""
    folder = tmp_path_factory.mktemp("base")
    core = tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)
    tokenization.save(tokenization.wrap(core), folder / "model")
    model = build(shape("tiny", vocab_size=384), seed=1)
    weights = dict(model.named_parameters())
    save_model(model, weights, folder / "model", tokenizer_from=folder / "model", lineage={"stage": "init"})
    tokenizer = tokenization.load(folder / "model")
    examples = [render_conversation(tokenizer, arithmetic.conversation(1, index)) for index in range(60)]
    save_rows(pack(examples[:48], 64), folder / "rows")
    save_rows(pack(examples[48:], 64), folder / "eval")
    return TrainSpec(
        name="sft",
        model=str(folder / "model"),
        rows=str(folder / "rows"),
        eval_rows=str(folder / "eval"),
        destination="",
        schedule=Schedule(peak=1e-3, floor=1e-4, steps=6, warmup=2),
        optim=OptimConfig(batch=4, micro_batch=2, precision="float32"),
        seed=3,
        eval_every=3,
        best=False,
        checkpoint_every=2,
        keep=2,
        lineage={"stage": "sft", "parent": str(folder / "model")},
    )


def run_job(job: TrainSpec, folder: Path, *, workers: int = 1, progress: Any = print) -> list[dict[str, Any]]:
    folder.mkdir()
    placed = replace(job, run_dir=str(folder), destination=str(folder / "final"))
    run.run([placed], workers=workers, storage=folder / "ray", progress=progress)
    return read(folder / "metrics.jsonl")


@pytest.fixture(scope="module")
def undisturbed(cluster: None, base: TrainSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the base job."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run_job(base, folder)
    return folder


def test_losses_are_those_of_a_plain_loop(undisturbed: Path, base: TrainSpec) -> None:
    calm = read(undisturbed / "metrics.jsonl")
    assert [line["step"] for line in calm] == [1, 2, 3, 4, 5, 6]
    wanted = bare_loop(base)
    assert [line["train/loss"] for line in calm] == pytest.approx([loss for loss, _ in wanted], rel=1e-5)
    assert [line["train/grad_norm"] for line in calm] == pytest.approx([norm for _, norm in wanted], rel=1e-4)
    assert [line["step"] for line in calm if "eval/loss" in line] == [3, 6]
    kept = sorted(path.name for path in (undisturbed / "checkpoints").iterdir())
    assert kept == ["step_4", "step_6"]
    lineage = read_lineage(undisturbed / "final")
    assert (lineage["stage"], lineage["parent"], lineage["step"]) == ("sft", base.model, 6)


def test_a_worker_that_dies_while_it_starts_changes_nothing(
    undisturbed: Path, base: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Train takes that for the controller's error, which it does not try again. The moment is too short to hit with
    a signal: the first try ends as such a one does."""
    from ray.train.torch import TorchTrainer

    said: list[str] = []
    fit, tries = TorchTrainer.fit, []

    def dying_first(trainer: TorchTrainer) -> Any:
        tries.append(trainer)
        if len(tries) == 1:
            raise death_at_start()
        return fit(trainer)

    monkeypatch.setattr(TorchTrainer, "fit", dying_first)
    disturbed = run_job(base, tmp_path / "disturbed", progress=said.append)
    assert [line for line in said if "died while it started" in line]
    calm = read(undisturbed / "metrics.jsonl")
    same_steps([without_times(line) for line in disturbed], [without_times(line) for line in calm])
    same_weights(tmp_path / "disturbed" / "final", undisturbed / "final")


def test_workers_that_die_again_and_again_end_the_run(
    cluster: None, base: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.train.torch import TorchTrainer

    def dying(trainer: TorchTrainer) -> Any:
        raise death_at_start()

    monkeypatch.setattr(TorchTrainer, "fit", dying)
    said: list[str] = []
    with pytest.raises(RunError, match=r"^sft: The actor died"):
        run_job(base, tmp_path / "run", progress=said.append)
    assert len(said) == run.RESTARTS


def test_a_killed_worker_changes_nothing(undisturbed: Path, base: TrainSpec, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_at_step_3(line: str) -> None:
        if line.startswith("sft 3/6") and not killed:
            killed.extend(kill_train_workers())

    disturbed = run_job(base, tmp_path / "disturbed", progress=kill_at_step_3)
    assert killed, "no worker was found to kill"
    calm = read(undisturbed / "metrics.jsonl")
    same_steps([without_times(line) for line in disturbed], [without_times(line) for line in calm])
    same_weights(tmp_path / "disturbed" / "final", undisturbed / "final")


def free_cpus(steady: float = 5.0) -> int:
    """CPUs that are free once what ended a moment ago has given back its own: the number that stays for so long."""
    import ray

    found, since = -1, time.monotonic()
    while time.monotonic() - since < steady:
        if (now := int(ray.available_resources().get("CPU", 0))) != found:
            found, since = now, time.monotonic()
        time.sleep(0.2)
    return found


def test_who_finds_its_places_taken_is_refused(
    cluster: None, base: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a run that began after this one had seen them free."""
    from actors.runtime.placement import Need, reserve

    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    taken = reserve({"all": Need(free_cpus(), {"CPU": 1.0})})
    try:
        with pytest.raises(RunError, match="sft: the cluster has no free resources for its workers; lower workers"):
            run_job(base, tmp_path / "run")
    finally:
        taken.release()


def test_preferences_start_at_ln_2_and_learn_the_pairs(cluster: None, base: TrainSpec, tmp_path: Path) -> None:
    save_rows(arithmetic_pairs(base.model, 8), tmp_path / "rows")
    save_rows(arithmetic_pairs(base.model, 3), tmp_path / "eval")
    pairs = replace(base, rows=str(tmp_path / "rows"), eval_rows=str(tmp_path / "eval"), loss="dpo", beta=0.5)
    lines = run_job(replace(pairs, name="prefer", schedule=replace(base.schedule, steps=4)), tmp_path / "run")
    assert lines[0]["train/loss"] == pytest.approx(0.6931, abs=1e-3)
    assert lines[0]["pairs/margin"] == pytest.approx(0, abs=1e-4)
    assert lines[-1]["train/loss"] < 0.6
    assert lines[-1]["pairs/accuracy"] == 1.0


def bare_loop(job: TrainSpec) -> list[tuple[float, float]]:
    """(loss, gradient norm) of each step by plain PyTorch on whole batches: no Ray, DeepSpeed or micro-batches."""
    import torch
    from transformers import AutoModelForCausalLM

    from srm_ray.data.packing import batch_rows, open_rows
    from srm_ray.training.losses import target_logprobs
    from srm_ray.training.schedule import decay_groups

    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    optimizer = torch.optim.AdamW(decay_groups(model, job.optim.weight_decay), lr=1.0, betas=job.optim.betas)
    rows, measured = open_rows(Path(job.rows)), []
    for step in range(job.schedule.steps):
        batch = rows.take(batch_rows(len(rows), step, job.optim.batch, job.seed))
        for group in optimizer.param_groups:
            group["lr"] = job.schedule.at(step)
        loss = -target_logprobs(model, *to_device(batch, "cpu")).sum() / batch.targets
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), job.optim.clip_grad)
        optimizer.step()
        measured.append((loss.item(), norm.item()))
    return measured


def death_at_start() -> Exception:
    """What Ray Train raises where a worker dies before it trains."""
    from ray.exceptions import ActorDiedError
    from ray.train.v2.api.exceptions import ControllerError

    return ControllerError(ActorDiedError())


def kill_train_workers() -> list[int]:
    """SIGKILL the training workers of this test's own Ray."""
    mine = psutil.Process().children(recursive=True)
    found = [process.pid for process in mine if "RayTrainWorker" in " ".join(process.cmdline())]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    return found


def arithmetic_pairs(model: str, count: int) -> Rows:
    """Right answers against 0."""
    from srm_ray.data.pairs import Pair
    from srm_ray.data.rendering import assistant
    from srm_ray.data.reports import Rendered
    from srm_ray.data.supervised import encode_pair, pair_rows, select_pairs

    problems = [arithmetic.problem(2, index) for index in range(count)]
    pairs = [
        Pair(
            ({"role": "user", "content": one.question},), assistant(f"\\boxed{{{one.answer}}}"), assistant("\\boxed{0}")
        )
        for one in problems
    ]
    tokenizer = tokenization.load(model)
    made = (encode_pair(tokenizer, pair, max_prompt=64, max_completion=64) for pair in pairs)
    encoded, _ = select_pairs(Rendered("x", sequences=one.sequences) for one in made)
    return pair_rows(encoded)
