"""The filter and the local teacher, on one real engine."""

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from srm_ray import distill, filter
from srm_ray.config.command_line import build
from srm_ray.config.distill import DistillConfig
from srm_ray.config.filter import FilterConfig
from srm_ray.data.prompts import PromptStream, training_stream, training_tasks
from srm_ray.distillation import product
from srm_ray.errors import UserError
from srm_ray.files.journal import Journal
from srm_ray.model.loading import open_model
from srm_ray.runs.folder import RunFolder
from tests.data.problem_rows import read
from tests.examples import examples_in

# Long enough for a random model to end a turn by itself now and then.
ROLLOUT = {"max_new_tokens": 128, "max_model_len": 192, "dtype": "float32", "cpus": 0.5, "kv_cache_gb": 0.25}
REWARD = {"function": "tests.loop.parity_reward:reward"}


class Engine:
    """One sampler and the event loop that it lives in."""

    def __init__(self, model: Path):
        from actors.rollout.sampler import Sampler

        self.events = asyncio.new_event_loop()
        self.info = open_model(str(model))
        self.config = build(FilterConfig, {"seed": 5, "rollout": ROLLOUT, "reward": REWARD})
        self.sampler = Sampler(self.config, self.info, context=192)
        self.run(self.sampler.__aenter__())

    def run(self, coroutine: Any) -> Any:
        return self.events.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.sampler.close())
        self.events.close()


@pytest.fixture(scope="module")
def engine(ray_session, tiny_model: Path):
    made = Engine(tiny_model)
    yield made
    made.close()


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Without answers: then the reward function alone says what is right."""
    path = tmp_path / "problems.jsonl"
    rows = [{"prompt": f"What is {n} + 1?", "source": "own"} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.integration
def test_problems_solved_sometimes_are_kept(engine: Engine, problems: Path, tmp_path: Path) -> None:
    config = engine.config.model_copy(
        update={
            "data": engine.config.data.model_copy(update={"path": str(problems)}),
            "keep": engine.config.keep.model_copy(update={"low": 1, "high": 2}),
        }
    )
    stream = training_stream(config.data, engine.info.tokenizer, seed=5, limit=64, graded=False)
    folder = RunFolder(tmp_path / "run", stage="filter")
    folder.create()
    journal = folder.path / "rates.jsonl"

    def measured(count: int) -> dict[int, dict[str, Any]]:
        return engine.run(filter.rates_of(config, engine.sampler, stream, count, Journal(journal)))

    first = measured(5)
    assert sorted(first) == [0, 1, 2, 3, 4]
    rates = measured(12)
    assert {index: rates[index] for index in first} == first
    assert len(journal.read_text().splitlines()) == 12  # what was there was not sampled again
    assert all(0 <= rate["right"] <= rate["of"] == 8 for rate in rates.values())
    filter.finish(config, folder, stream, rates)
    summary = json.loads(folder.summary.read_text())
    wanted = [index for index, rate in sorted(rates.items()) if 1 <= rate["right"] <= 2]
    assert 0 < len(wanted) < 12
    assert summary["kept"] == len(wanted) and summary["kept"] + summary["too_hard"] + summary["too_easy"] == 12
    kept = read(folder.final / filter.KEPT, graded=False)
    before = [stream.tasks.task(index)[0] for index in wanted]
    assert [replace(t, where="", row=None) for t in kept] == [replace(t, where="", row=None) for t in before]
    for task, own in zip(kept, before, strict=True):  # a reward asks for columns by name, after filtering too
        assert task.row is not None and own.row is not None
        assert own.row.items() <= {name: value for name, value in task.row.items() if name in own.row}.items()


@pytest.mark.integration
def test_the_pass_rate_is_that_of_training(engine: Engine, problems: Path) -> None:
    """Same seeds as the loop's own groups, so the same completions."""
    from srm_ray.rl.seeds import completion_seed

    data = engine.config.data.model_copy(update={"path": str(problems)})
    prompt = training_stream(data, engine.info.tokenizer, seed=5, limit=64, graded=False)[3]
    group = engine.run(engine.sampler.graded(prompt))
    assert [completion.seed for completion in group.completions] == [completion_seed(5, 3, 0, n) for n in range(8)]
    assert len(group.rewards) == 8


@pytest.mark.integration
def test_a_local_model_teaches(engine: Engine, problems: Path, tmp_path: Path) -> None:
    from actors.reward.worker import RewardWorker
    from actors.worker_groups import reward_spec
    from srm_ray.distillation.ledger import Ledger

    values = {"model": engine.info.path, "samples": 3, "rollout": ROLLOUT, "reward": REWARD}
    config = build(DistillConfig, values | {"data": {"path": str(problems)}, "run_dir": str(tmp_path / "run")})
    tasks = training_tasks(config.data, seed=config.seed, graded=False)
    folder = RunFolder(config.run_dir, stage="distill")
    folder.create()
    ledger = Ledger(folder.path, (0, 0))
    teacher = distill.Model(engine.sampler, PromptStream(tasks, engine.info.tokenizer, system="", limit=64))
    job = product.Job(config, tasks, 12, ledger)
    failures = engine.run(distill.ask(job, teacher, engine.sampler, 16))
    assert product.finish(job, folder, config.model, failures, 1.0) == 0
    summary = json.loads(folder.summary.read_text())
    assert summary["answers"] == 36 and summary["missing"] == 0 and summary["cost_dollars"] == 0
    assert (
        summary["tokens_in"] > 36 * 10
        and summary["right"] + sum(number for reason, number in summary["reasons"].items() if reason != "correct") == 36
    )
    assert 0 < summary["kept"] < 36
    assert len(examples_in(folder.final / product.PRODUCT)) == summary["kept"]
    # The reward workers' word is that of a grader in this process.
    there, ledger.grades = ledger.grades, {}
    with contextlib.closing(RewardWorker(reward_spec(config.sampling()))) as here:
        engine.run(distill.ask(job, teacher, here, 16))
    assert ledger.grades == there and len(there) == 36


def test_journal_lines_that_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.add({"a": 1})
    journal.close()
    with path.open("a") as file:
        file.write('{"a": ')
    assert Journal(path).lines() == [{"a": 1}]
    again = Journal(path)
    again.add({"a": 2})
    assert Journal(path).lines() == [{"a": 1}, {"a": 2}]
    path.write_text("not json\n")
    with pytest.raises(UserError, match=r"j\.jsonl:1 is not a line that this program wrote"):
        Journal(path).lines()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--keep.low", "5", "--keep.high", "3"], "must rise (got 5, 3 and 8)"),
        (["--keep.high", "9"], "must rise (got 1, 9 and 8)"),
        (["--keep.hihg", "7"], "did you mean keep.high?"),
    ],
)
def test_contradictions_of_the_filter(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert filter.main(argv) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.integration
def test_a_generator_needs_a_limit(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert filter.main(["--model", str(tiny_model), "--run_dir", str(tmp_path / "run")]) == 2
    assert "these problems never end: give --keep.limit" in capsys.readouterr().err
