"""How a run ends: solved, starved, interrupted, failed. Weights that have moved are saved first."""

import asyncio
import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from srm_ray.errors import LearnerLost, RunError
from srm_ray.runs import checkpoints
from tests.loop_in_process.toy import Toy, raises, strike

SOMETIMES = np.zeros(7)
SOLVED, HOPELESS = np.full(7, 50.0), np.full(7, -50.0)


def newest(toy: Toy) -> int:
    found = checkpoints.newest(toy.folder.checkpoints)
    return found[0] if found else 0


def saved_weights(toy: Toy) -> np.ndarray:
    return np.load(checkpoints.folder_of(toy.folder.checkpoints, newest(toy)) / "weights.npy")


@pytest.mark.parametrize("staleness", [0, 2])
def test_a_solved_run_ends_well(
    staleness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checkpoint, evaluation, final/, report, exit status 0; the same command again says that it is complete."""
    options = {"max_staleness": staleness, "steps": 300, "learner": {"lr": 2.0}, "eval": {"problems": 7}}
    toy = Toy(tmp_path / "run", first=SOMETIMES, **options)
    assert toy.main(monkeypatch) == 0
    summary = toy.folder.read_summary()
    assert summary is not None and summary["ended"] == "solved" and 5 <= summary["steps"] < 300
    assert [line["step"] for line in toy.lines] == list(range(1, summary["steps"] + 1))
    assert all(line["reward/accuracy"] > 0.95 for line in toy.lines[-5:])
    assert newest(toy) == summary["steps"]
    assert summary["accuracy_after"]["value"] == 1.0
    assert np.array_equal(toy.final, toy.learner.weights)
    assert toy.folder.report.is_file()
    assert "the problems are solved, and the run ends: " in capsys.readouterr().out
    capsys.readouterr()
    assert Toy(tmp_path / "run", first=SOMETIMES, **options).main(monkeypatch) == 0
    assert f"its problems were solved after {summary['steps']} of 300 steps" in capsys.readouterr().out


def test_a_run_that_is_nearly_right_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """99 % is not solved."""
    toy = Toy(tmp_path / "run", first=np.full(7, 4.6), steps=12, learner={"lr": 1e-6}, max_refill=8)
    assert toy.main(monkeypatch) == 0
    assert 0.98 < np.mean([line["reward/accuracy"] for line in toy.lines]) < 0.999
    assert len(toy.lines) == 12


def test_solved_can_be_switched_off_and_a_solved_run_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Toy(tmp_path / "run", first=SOLVED).main(monkeypatch) == 0
    toy = Toy(tmp_path / "run", first=SOLVED, stop={"solved": None})
    assert toy.main(monkeypatch) == 0
    assert [line["step"] for line in toy.lines] == list(range(1, 11))
    assert all(line["groups/kept"] == 0 for line in toy.lines)


def test_levels_to_come_are_not_solved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srm_ray.data.curriculum import Curriculum

    toy = Toy(tmp_path / "run", first=SOLVED)
    toy.curriculum = Curriculum({"toy": 2}, raise_at=1.0, window=10**9)
    assert toy.main(monkeypatch) == 0
    assert len(toy.lines) == 10


def test_a_short_run_that_learned_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer steps than a run may starve for."""
    assert Toy(tmp_path / "run", first=HOPELESS, steps=2).main(monkeypatch) == 1
    assert "2 steps in a row had no group to learn from" in capsys.readouterr().err


def test_a_run_that_has_learned_ends_with_its_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the last ones had no group with signal."""
    toy = Toy(tmp_path / "run", first=SOMETIMES, steps=9, stop={"starved": 2})
    toy.blows["score"] = lambda self: setattr(self, "reason", lambda completion: "wrong" * (self.version >= 7))
    assert toy.main(monkeypatch) == 0
    assert [line["groups/kept"] > 0 for line in toy.lines] == [True] * 7 + [False] * 2
    assert np.array_equal(toy.final, toy.learner.weights)


def test_a_disk_that_is_full_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does it keep the weights from another disk."""

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    toy = Toy(tmp_path / "run", first=SOMETIMES)
    toy.blows["sample"] = lambda self: self.version == 6 and monkeypatch.setattr("srm_ray.runs.rollout_log.write", full)
    assert toy.main(monkeypatch) == 1
    assert newest(toy) == 7
    said = capsys.readouterr()
    assert "the line of the step that was interrupted could not be written" in said.out
    assert "run failed: No space left on device; free some space" in said.err


@pytest.mark.parametrize("staleness", [0, 2])
@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("wrong", "choose problems that the model solves sometimes"),
        ("no_answer", "no final answer"),
        ("truncated", "raise rollout.max_new_tokens"),
        ("bad_gold", "the data's own answers cannot be read"),
    ],
)
def test_a_run_that_nothing_is_right_in_says_why(
    reason: str,
    advice: str,
    staleness: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toy = Toy(tmp_path / "run", first=HOPELESS, max_staleness=staleness, alarms={"undecided": None, "no_signal": None})
    toy.reason = lambda completion: reason if completion.seed % 4 else None
    assert toy.main(monkeypatch) == 1
    printed = capsys.readouterr()
    assert "run failed: 3 steps in a row had no group to learn from: of " in printed.err
    assert "nothing was right" in printed.err and advice in printed.err
    assert f"{reason} " in printed.err
    assert f"--- graded: {reason}, reward 0" in printed.out and "--- graded: wrong, reward 0" in printed.out
    assert sorted(toy.recorded) == [f"step_00000{step}.jsonl" for step in (1, 2, 3)]
    assert toy.folder.report.is_file() and str(toy.folder.rollouts) in printed.out
    assert not toy.folder.final.exists() and toy.folder.read_summary() is None
    assert newest(toy) == 0, "no weights have moved"


def test_right_and_wrong_never_together_starve_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "run", first=np.array([50.0, -50.0]))
    assert toy.main(monkeypatch) == 1
    assert "were right, none beside a wrong one of the same problem (" in capsys.readouterr().err


def test_a_run_that_starves_late_saves_what_it_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES, steps=50, checkpoint={"every": 30, "last_timeout": 5.0})
    toy.blows["score"] = lambda self: setattr(self, "reason", lambda completion: "no_answer" * (self.version >= 6))
    assert toy.main(monkeypatch) == 1
    assert newest(toy) == 9, "three steps after the last that trained"
    assert np.array_equal(saved_weights(toy), toy.learner.weights)


def cancel() -> None:
    task = next(task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "run")  # type: ignore[union-attr]
    task.cancel()


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


MOMENTS = ["sample", "score", "learn", "in learn", "push", "answer"]
ENDINGS = {
    "a worker's budget": (raises(RunError("rollout-0 died more often than it is replaced")), 1),
    "Ctrl-C": (interrupt, 130),
}


@pytest.mark.parametrize("staleness", [0, 1])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_ends_a_run_its_weights_are_saved(
    moment: str, ending: str, staleness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the seventh step, two after a checkpoint: saved, and continued as if nothing had happened."""
    blow, status = ENDINGS[ending]
    options = {"max_staleness": staleness, "eval": {"problems": 7, "every": 7}}

    def at_seven(toy: Toy) -> None:
        if not struck and toy.version >= 6 and (moment != "answer" or toy.version == 7):
            struck.append(moment)
            blow()

    struck: list[str] = []
    toy = Toy(tmp_path / "run", first=SOMETIMES, **options)
    toy.blows[moment] = at_seven
    assert toy.main(monkeypatch) == status
    assert struck
    assert newest(toy) in (6, 7)
    assert np.array_equal(saved_weights(toy), toy.learner.weights), "all that was learned is there"
    assert [line["step"] for line in toy.lines] == list(range(1, newest(toy) + 1))
    assert not toy.folder.final.exists()

    again = Toy(tmp_path / "run", first=SOMETIMES, timing=5, **options)
    assert again.main(monkeypatch) == 0
    assert [line["step"] for line in again.lines] == list(range(1, 11))
    if not staleness:
        whole = Toy(tmp_path / "whole", first=SOMETIMES, **options)
        assert whole.main(monkeypatch) == 0
        assert np.array_equal(again.final, whole.final)
        assert again.recorded == whole.recorded


def test_an_alarm_that_ends_a_run_saves_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES, alarms={"entropy": 0.9, "window": 6, "stop": ["entropy"]})
    assert toy.main(monkeypatch) == 1
    assert newest(toy) == 6
    assert np.array_equal(saved_weights(toy), toy.learner.weights)


def test_weights_that_are_no_numbers_do_not_replace_good_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES)
    toy.blows["learn"] = strike(6, lambda: setattr(toy.learner, "weights", np.full(7, np.nan)))
    assert toy.main(monkeypatch) == 1
    assert newest(toy) == 4
    assert "the weights of step 6 are not saved, since policy/loss was nan" in capsys.readouterr().out


def test_a_save_that_fails_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES)
    toy.blows["score"] = lambda self: self.version == 6 and raises(RunError("reward-0 is gone"))()
    toy.blows["save"] = strike(2, raises(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert toy.main(monkeypatch) == 1
    printed = capsys.readouterr()
    assert "run failed: reward-0 is gone" in printed.err
    assert "the weights of step 6 could not be saved (checkpoint of step 6 could not be written" in printed.out
    assert newest(toy) == 4


def test_a_learner_that_never_finishes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "run", first=SOMETIMES, checkpoint={"every": 4, "last_timeout": 0.1})

    def hang(self: Toy) -> None:
        if self.version == 6:
            interrupt()
            self.takes_a_while = forever  # type: ignore[method-assign]

    async def forever() -> None:
        await asyncio.sleep(3600)

    toy.blows["learn"] = hang
    assert toy.main(monkeypatch) == 130
    assert newest(toy) == 4
    assert "the learner did not finish its step: its weights are not saved" in capsys.readouterr().out


def test_a_learner_that_dies_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die() -> None:
        toy.learner.dead = True
        raise LearnerLost("learner-0 died")

    toy = Toy(tmp_path / "run", first=SOMETIMES)
    toy.blows["learn"] = strike(7, die)
    assert toy.main(monkeypatch) == 0
    whole = Toy(tmp_path / "whole", first=SOMETIMES)
    assert whole.main(monkeypatch) == 0
    assert toy.calls["restart"] == 1 and toy.calls["learn"] == 10 + 3
    assert np.array_equal(toy.final, whole.final)
    assert toy.recorded == whole.recorded


@pytest.mark.parametrize("moment", ["sample", "score", "push"])
def test_a_defect_is_a_traceback_and_its_weights_are_saved(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Toy) -> None:
        if self.version == 2:
            raise KeyError("a defect")

    toy = Toy(tmp_path / "run", first=SOMETIMES)
    toy.blows[moment] = fail
    with pytest.raises(KeyError, match="a defect"):
        toy.main(monkeypatch)
    assert newest(toy) in (2, 3)
    assert np.array_equal(saved_weights(toy), toy.learner.weights)
