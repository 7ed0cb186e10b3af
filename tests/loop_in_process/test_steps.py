"""Sampling, grading, advantages, dynamic sampling, staleness, and what the log says of a step."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_ray.runs import rollout_log
from srm_ray.runs.metrics import read
from tests.loop_in_process.toy import Toy

SOMETIMES = np.zeros(7)  # every problem is solved half of the time


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_the_policy_learns(staleness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES, max_staleness=staleness, eval={"problems": 7, "every": 4})
    assert toy.main(monkeypatch) == 0
    assert [line["step"] for line in toy.lines] == list(range(1, 11))
    assert all(line["groups/kept"] == 3 for line in toy.lines)
    assert toy.learner.weights.min() > 0.2, "every problem is solved more often than before"
    assert max(line["staleness/max"] for line in toy.lines) <= staleness
    assert [line["step"] for line in toy.lines if "eval/accuracy" in line] == [4, 8]
    summary = toy.folder.read_summary()
    assert summary is not None
    assert (summary["steps"], summary["updates"], summary["ended"]) == (10, 10, "done")
    assert summary["accuracy_before"]["value"] == 0.0 and summary["accuracy_after"]["value"] == 1.0
    assert np.array_equal(toy.final, toy.learner.weights)


def test_advantages_are_relative_to_the_group_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES, steps=3)
    assert toy.main(monkeypatch) == 0
    for step in (1, 2, 3):
        kept, others = rollout_log.read_all(toy.folder.rollouts, step)
        assert len(kept) == 3
        for group in kept:
            values = np.array([reward.value for reward in group.rewards])
            assert group.advantages == pytest.approx((values - values.mean()) / (values.std() + 1e-6), rel=1e-5)
        for group in others:
            assert len({reward.correct for reward in group.rewards}) == 1, "without signal"
        indices = [group.prompt.index for group in (*kept, *others)]
        line = toy.lines[step - 1]
        assert line["groups/kept"] + line["groups/dropped_uniform"] == len(indices)


def test_an_algorithm_chooses_its_groups_and_normalises_across_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REINFORCE++ trains on every group that it draws; what it trained on is what is recorded, and replayed."""
    first = np.array([0.0, 50.0, 0.0])  # the second problem is always solved
    options = {"algorithm": {"name": "reinforce_plus_plus"}, "steps": 3, "checkpoint": {"every": 9}}
    toy = Toy(tmp_path / "run", first=first, **options)
    assert toy.main(monkeypatch) == 0
    assert [line["groups/dropped_uniform"] for line in toy.lines] == [0, 0, 0]
    for step in (1, 2, 3):
        kept, others = rollout_log.read_all(toy.folder.rollouts, step)
        assert not others and [group.prompt.index for group in kept] == list(range(3 * step - 3, 3 * step))
        found = np.concatenate([group.advantages for group in kept if group.advantages is not None])
        assert (found.mean(), found.std()) == pytest.approx((0, 1), abs=1e-4)
    again = Toy(tmp_path / "again", first=first, replay=str(toy.folder.path), **options)
    assert again.main(monkeypatch) == 0
    assert again.recorded == toy.recorded
    assert np.array_equal(again.final, toy.final)


@pytest.mark.parametrize("staleness", [0, 2])
def test_fewer_groups_are_thrown_away_where_success_rates_are_followed(
    staleness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 150 problems 50 are always solved, 50 never, 50 sometimes; the learner hardly moves."""
    first = np.repeat([50.0, -50.0, 0.0], 50)
    common: dict[str, Any] = {
        "steps": 90,
        "prompts_per_step": 6,
        "rollout": {"group_size": 8},
        "max_staleness": staleness,
    }
    common |= {"learner": {"lr": 1e-3}, "checkpoint": {"every": 99}}
    dropped = []
    for follow in (False, True):
        options = common | {"difficulty": {"follow": follow, "pool": 150}}
        toy = Toy(tmp_path / str(follow), first=first, **options)
        assert toy.main(monkeypatch) == 0
        last = toy.lines[60:]
        lost, kept = (sum(line[name] for line in last) for name in ("groups/dropped_uniform", "groups/kept"))
        dropped.append(lost / (lost + kept))
    assert dropped[1] < dropped[0] / 2
    assert toy.lines[-1]["difficulty/tried"] > 0.5
    assert 0 < toy.lines[-1]["difficulty/solved"] <= 1 / 3 and 0 < toy.lines[-1]["difficulty/failed"] <= 1 / 3


def test_timing_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [Toy(tmp_path / str(seed), first=SOMETIMES, timing=seed) for seed in range(4)]
    for toy in runs:
        assert toy.main(monkeypatch) == 0
    for toy in runs[1:]:
        assert toy.lines == runs[0].lines
        assert toy.recorded == runs[0].recorded
        assert np.array_equal(toy.final, runs[0].final)


def test_a_step_with_too_few_groups_trains_on_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six of seven problems are never solved: twelve draws have one or two groups with signal."""
    first = np.full(7, -50.0)
    first[3] = 0.0
    toy = Toy(tmp_path / "run", first=first, steps=4, max_refill=4)
    assert toy.main(monkeypatch) == 0
    assert {line["groups/kept"] for line in toy.lines} <= {1, 2}
    assert all(line["groups/kept"] + line["groups/dropped_uniform"] == 12 for line in toy.lines)
    assert all(line["policy/grad_norm"] > 0 for line in toy.lines)
    said = capsys.readouterr().out
    assert "step 1/4 trains on 1 of 3 groups: 11 of the 12 drawn were all right or all wrong (wrong " in said


def test_a_step_without_a_group_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Problem 13 of 14 alone is solved sometimes, and a step draws four: it is skipped, and counts as a step."""
    first = np.full(14, -50.0)
    first[13] = 0.0
    toy = Toy(tmp_path / "run", first=first, steps=7, prompts_per_step=1, max_refill=4, stop={"starved": None})
    assert toy.main(monkeypatch) == 0
    trained = [line["step"] for line in toy.lines if line["groups/kept"]]
    assert trained and len(trained) < 7
    version = 0
    for line in toy.lines:
        version += line["step"] in trained
        assert line["weights/version"] == version
        assert ("policy/loss" in line) == ("staleness/max" in line) == (line["step"] in trained)
    assert toy.calls["learn"] == toy.calls["push"] == len(trained), "the weights stay where they are"
    summary = toy.folder.read_summary()
    assert summary is not None and (summary["steps"], summary["updates"]) == (7, len(trained))
    assert "step 1/7 is skipped, the weights stay as they are: 4 of the 4 drawn were" in capsys.readouterr().out


@pytest.mark.parametrize("staleness", [0, 2])
def test_the_parts_of_a_step_are_measured(staleness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the loop falls between two steps: with what stands beside them they are the whole of it."""
    toy = Toy(tmp_path / "run", first=SOMETIMES, max_staleness=staleness, eval={"problems": 7, "every": 4})
    assert toy.main(monkeypatch) == 0
    lines = read(toy.folder.metrics)
    for line in lines:
        parts = [line[f"time/{name}"] for name in ("rollout", "reward", "learn", "sync")]
        assert min(parts) >= 0 and sum(parts) <= line["time/step"]
        assert "time/log" in line
    assert [line["step"] for line in lines if "time/eval" in line] == [4, 8]
    assert [line["step"] for line in lines if "time/checkpoint" in line] == [5, 9], "the line after that of the step"
    beside = ("time/step", "time/eval", "time/log", "time/checkpoint")
    whole = sum(line.get(name, 0.0) for line in lines for name in beside)
    summary = toy.folder.read_summary()
    assert summary is not None
    assert whole <= summary["train_seconds"] <= summary["wall_seconds"]
    seconds = summary["seconds"]
    assert sum(seconds[name] for name in seconds if name != "step") == pytest.approx(whole)


def test_completions_are_written_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, threads = rollout_log.write, list[threading.Thread]()

    def watched(*arguments: Any, **named: Any) -> None:
        threads.append(threading.current_thread())
        write(*arguments, **named)

    monkeypatch.setattr(rollout_log, "write", watched)
    assert Toy(tmp_path / "run", first=SOMETIMES, steps=2).main(monkeypatch) == 0
    assert len(threads) == 2 and threading.main_thread() not in threads


def test_tokens_of_dropped_groups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES, max_staleness=1)
    assert toy.main(monkeypatch) == 0
    for line in toy.lines:
        groups = line["groups/kept"] + line["groups/dropped_uniform"] + line["groups/dropped_stale"]
        assert line["completion/tokens"] == 2 * 4 * groups


def test_staleness_is_a_mean_of_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A completion's first token may be of an older version than its last: each counts by itself."""
    toy = Toy(tmp_path / "run", first=SOMETIMES, max_staleness=2, steps=20)
    assert toy.main(monkeypatch) == 0
    for line in toy.lines:
        kept = rollout_log.read(toy.folder.rollouts, line["step"])
        ages = [line["step"] - 1 - version for group in kept for c in group.completions for version in c.versions]
        assert line["staleness/mean"] == pytest.approx(np.mean(ages))
        assert line["staleness/max"] == max(ages)
    assert any(0 < line["staleness/mean"] < line["staleness/max"] for line in toy.lines)
