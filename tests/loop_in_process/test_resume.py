"""A killed run continued, a recorded run replayed: bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest

from srm_ray.runs import checkpoints
from tests.loop_in_process.toy import Toy

# Some problems are solved sometimes; with so few draws some steps are skipped, and others short.
RARELY = np.array([0.0, 0.0, -50.0, -50.0, -50.0, 0.0, 50.0])
SHORT = {"prompts_per_step": 2, "max_refill": 1.5, "steps": 14, "stop": {"starved": None}}


class Killed(BaseException):
    """As SIGKILL: nothing is saved."""


def killed(toy: Toy, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    def blow(self: Toy) -> None:
        if len(list(self.folder.rollouts.glob("step_*"))) >= at:
            raise Killed

    async def nothing(self: object, state: object) -> None:
        return

    toy.blows["sample"] = blow
    with monkeypatch.context() as patched:
        patched.setattr("srm_ray.runs.saving.Saver.save_last", nothing)
        with pytest.raises(Killed):
            toy.main(monkeypatch)


@pytest.mark.parametrize("at", [1, 4, 5, 7, 11])
def test_a_killed_run_goes_on_bit_for_bit(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Toy(tmp_path / "whole", first=RARELY, **SHORT)
    assert whole.main(monkeypatch) == 0
    kept = [line["groups/kept"] for line in whole.lines]
    assert {0, 1, 2} <= set(kept), "skipped, short and whole steps are among them"
    killed(Toy(tmp_path / "broken", first=RARELY, **SHORT), monkeypatch, at)
    broken = Toy(tmp_path / "broken", first=RARELY, timing=9, **SHORT)
    assert broken.main(monkeypatch) == 0
    assert broken.lines == whole.lines
    assert broken.recorded == whole.recorded
    assert np.array_equal(broken.final, whole.final)


@pytest.mark.parametrize("at", [5, 8])
def test_success_rates_go_on(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which problems come next follows from rates that the checkpoint holds."""
    options = SHORT | {"difficulty": {"follow": True, "pool": 7, "everything": 0.3}}
    whole = Toy(tmp_path / "whole", first=RARELY, **options)
    assert whole.main(monkeypatch) == 0
    killed(Toy(tmp_path / "broken", first=RARELY, **options), monkeypatch, at)
    broken = Toy(tmp_path / "broken", first=RARELY, timing=9, **options)
    assert broken.main(monkeypatch) == 0
    assert broken.lines == whole.lines
    assert broken.recorded == whole.recorded


def test_the_entropy_bonus_goes_on_with_the_weight_that_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy's entropy is 0.5 in all steps: from the second on, the weight grows."""
    options = SHORT | {"loss": {"entropy_target": 0.6, "entropy_change": 0.25}}
    whole = Toy(tmp_path / "whole", first=RARELY, **options)
    assert whole.main(monkeypatch) == 0
    found = [line["policy/entropy_beta"] for line in whole.lines if line["groups/kept"]]
    assert found == [0.25 * place for place in range(len(found))]
    killed(Toy(tmp_path / "broken", first=RARELY, **options), monkeypatch, 7)
    broken = Toy(tmp_path / "broken", first=RARELY, timing=9, **options)
    assert broken.main(monkeypatch) == 0
    assert broken.lines == whole.lines


def test_steps_in_two_runs_are_steps_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Toy(tmp_path / "whole", first=RARELY, **SHORT)
    assert whole.main(monkeypatch) == 0
    assert Toy(tmp_path / "half", first=RARELY, **SHORT | {"steps": 7}).main(monkeypatch) == 0
    half = Toy(tmp_path / "half", first=RARELY, **SHORT)
    assert half.main(monkeypatch) == 0
    assert half.lines == whole.lines
    assert np.array_equal(half.final, whole.final)


def test_an_asynchronous_run_neither_loses_nor_repeats_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"max_staleness": 2, "steps": 16, "checkpoint": {"every": 3}}
    killed(Toy(tmp_path / "run", first=np.zeros(7), **options), monkeypatch, 8)
    toy = Toy(tmp_path / "run", first=np.zeros(7), timing=3, **options)
    assert toy.main(monkeypatch) == 0
    seen = [
        (line["prompt_index"], line["draw"], line["sample"])
        for text in toy.recorded.values()
        for line in map(json.loads, text.splitlines())
    ]
    assert len(set(seen)) == len(seen)
    assert [line["step"] for line in toy.lines] == list(range(1, 17))


@pytest.mark.parametrize("staleness", [0, 2])
def test_a_recorded_run_is_replayed_with_the_same_weights(
    staleness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its skipped steps are skipped, its short ones short."""
    options = SHORT | {"max_staleness": staleness}
    recorded = Toy(tmp_path / "recorded", first=RARELY, **options)
    assert recorded.main(monkeypatch) == 0
    assert staleness or 0 in {line["groups/kept"] for line in recorded.lines}
    replayed = Toy(tmp_path / "replayed", first=RARELY, replay=str(tmp_path / "recorded"), **options)
    assert replayed.main(monkeypatch) == 0
    assert np.array_equal(replayed.final, recorded.final)
    same = ("policy/loss", "policy/grad_norm", "groups/kept", "weights/version", "reward/accuracy")
    for one, other in zip(recorded.lines, replayed.lines, strict=True):
        assert {name: one.get(name) for name in same} == {name: other.get(name) for name in same}


def test_an_extended_run_has_no_product_of_the_shorter_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Toy(tmp_path / "run", first=np.zeros(7), steps=4).main(monkeypatch) == 0
    toy = Toy(tmp_path / "run", first=np.zeros(7), steps=9)
    killed(toy, monkeypatch, 6)
    assert not toy.folder.final.exists() and toy.folder.read_summary() is None
    toy = Toy(tmp_path / "run", first=np.zeros(7), steps=9)
    assert toy.main(monkeypatch) == 0
    assert (toy.folder.final / "step").read_text() == "9"
    assert sorted(path.name for path in toy.folder.path.glob(".final*")) == []


def test_final_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that fails leaves the folder as it was."""
    toy = Toy(tmp_path / "run", first=np.zeros(7), steps=4)

    async def half(path: Path, step: int) -> None:
        (path / "weights.npy").write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(toy, "export", half)
    with pytest.raises(OSError, match="the disk is full"):
        toy.main(monkeypatch)
    assert not toy.folder.final.exists()
    again = Toy(tmp_path / "run", first=np.zeros(7), steps=4)
    assert again.main(monkeypatch) == 0
    assert np.array_equal(again.final, again.learner.weights)


def test_accuracy_in_the_middle_is_not_that_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Toy(tmp_path / "run", first=np.zeros(7), steps=4).main(monkeypatch) == 0
    toy = Toy(tmp_path / "run", first=np.zeros(7), steps=8, eval={"problems": 5})
    assert toy.main(monkeypatch) == 0
    assert "held-out accuracy before GRPO is not known: it is first asked for after step 4" in capsys.readouterr().out
    summary = toy.folder.read_summary()
    assert summary is not None
    assert summary["accuracy_before"] is None and summary["accuracy_after"]["n"] == 5


def test_an_old_folder_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Toy(tmp_path / "run", first=np.zeros(7), steps=4).main(monkeypatch) == 0
    found = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert found is not None
    (found[1] / "driver.json").write_text(json.dumps({"step": 4, "keep_rate": 0.7}))
    (found[1] / "queue.pickle").write_bytes(b"never opened")
    capsys.readouterr()
    assert Toy(tmp_path / "run", first=np.zeros(7), steps=8).main(monkeypatch) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "has a driver state of format 1, and this version of srm_ray reads format 2 and 3 alone" in line
