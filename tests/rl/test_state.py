"""The driver's state reads back bit for bit."""

import datetime
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from rewards.gym import GymTask
from rewards.verdict import Reward
from srm_ray.errors import UserError
from srm_ray.rl import state as driver
from srm_ray.rl.advantages import with_advantages
from srm_ray.rl.endings import Outcome
from srm_ray.rl.sources import SourceState
from srm_ray.rl.state import State
from srm_ray.rl.types import Completion, Group, Prompt, TeacherScores


def completion(seed: int) -> Completion:
    draw = np.random.default_rng(seed)
    length = int(draw.integers(0, 9))
    return Completion(
        token_ids=draw.integers(0, 2**20, length).astype(np.int32),
        logprobs=draw.normal(-3, 2, length).astype(np.float32),
        versions=np.sort(draw.integers(0, 5, length)).astype(np.int32),
        finish_reason="length" if seed % 2 else "stop",
        seed=2**63 - seed,
        text="<think>\n1 + 1 = 2\u2028</think> \U0001f916",
        worker="rollout-0",
        teacher=TeacherScores(draw.normal(-3, 2, length).astype(np.float32)) if seed % 3 else None,
    )


def group(index: int) -> Group:
    tests = {"inputs": ["1 2\n"], "outputs": ["3\n"]} if index % 2 else ["assert f(1) == 2"]
    gym = GymTask("chain_sum", '{"max_terms": 3}', 7, index) if index % 3 else None
    row = {"tests": tests, "when": datetime.date(2024, 2, 29), "picture": b"\xff"}  # as a dataset may have it
    prompt = Prompt(
        index, (1, 2, 3), "What?", level=2,
        answer="72", tests=tests, entry_point="f", source="own", grader="gym" if gym else "", gym=gym, row=row,
    )  # fmt: skip
    rewards = tuple(
        Reward(value, correct, reason, seconds=0.1, parts={"math": value / 3})
        for value, correct, reason in ((1.1, True, "correct"), (0.0, None, "bad_gold"), (1 / 3, False, "wrong"))
    )
    made = Group(prompt, tuple(completion(10 * index + i) for i in range(3)), index % 4, rewards)
    return with_advantages(made, normalise_std=True)


def same(one: Group, other: Group) -> bool:
    arrays = ("token_ids", "logprobs", "versions")
    return (
        (replace(one.prompt, tests=None, gym=None, row=None), one.draw) == (other.prompt, other.draw)
        and one.rewards == other.rewards
        and np.array_equal(one.advantages, other.advantages)  # type: ignore[arg-type]
        and all(
            np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
            for a, b in zip(one.completions, other.completions, strict=True)
            for name in arrays
        )
        and all(
            getattr(a, each.name) == getattr(b, each.name)
            for a, b in zip(one.completions, other.completions, strict=True)
            for each in fields(Completion)
            if each.name not in (*arrays, "teacher")
        )
        and all(
            (a.teacher and a.teacher.record()) == (b.teacher and b.teacher.record())
            for a, b in zip(one.completions, other.completions, strict=True)
        )
    )


def test_all_of_it_reads_back(tmp_path: Path) -> None:
    source = SourceState(41, [(3, 0), (7, 2)], [group(1), group(2)], [group(3)], [group(4)])
    recent = [Outcome(drawn=4, kept=0, right=1, decided=3, reasons={"wrong": 2})]
    state = State(
        7,
        5,
        0.1 + 0.2,
        12.5,
        before={"accuracy": {"value": 1 / 3}},
        suites={"best": None},
        recent=recent,
        source=source,
    )
    driver.write(tmp_path, state)
    found = driver.read(tmp_path)
    for each in fields(State):
        if each.name != "source":
            assert getattr(found, each.name) == getattr(state, each.name), each.name
    assert (found.source.cursor, found.source.pending) == (41, [(3, 0), (7, 2)])
    for name in ("ready", "no_signal", "stale"):
        ours, theirs = getattr(source, name), getattr(found.source, name)
        assert len(ours) == len(theirs) and all(same(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("number", [None, 1, 4])
def test_another_format_is_refused(number: int | None, tmp_path: Path) -> None:
    plain = {"step": 3} | ({"format": number} if number else {})
    (tmp_path / driver.FILE).write_text(json.dumps(plain))
    with pytest.raises(
        UserError, match=f"has a driver state of format {number or 1}, and this version of srm_ray reads"
    ):
        driver.read(tmp_path)


@pytest.mark.parametrize("name", [driver.FILE, driver.SOURCE])
def test_a_checkpoint_that_is_not_whole_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    driver.write(tmp_path, State())
    (tmp_path / name).write_text("{")
    with pytest.raises(
        UserError, match=rf"cannot be read \({name}: .*remove it, and the run goes on from the one before"
    ):
        driver.read(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"cannot be read .{name}: .*No such file"):
        driver.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        (driver.FILE, {"step": "many"}),
        (driver.FILE, {"recent": [7]}),
        (driver.FILE, {"suites": []}),
        (driver.FILE, {"more": 1}),
        (driver.SOURCE, {"pending": [1]}),
        (driver.SOURCE, {"ready": [{"prompt": 1}]}),
        (driver.SOURCE, {"ready": {}, "stale": None}),
        (driver.FILE, [1]),
        (driver.SOURCE, "x"),
    ],
    ids=str,
)
def test_values_of_other_types_are_refused_in_one_line(name: str, changed: object, tmp_path: Path) -> None:
    driver.write(tmp_path, State())
    plain = json.loads((tmp_path / name).read_text())
    (tmp_path / name).write_text(json.dumps(plain | changed if isinstance(changed, dict) else changed))
    with pytest.raises(UserError, match=r"cannot be read .*remove it, and the run goes on from the one before"):
        driver.read(tmp_path)


def test_a_deep_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    driver.write(tmp_path, State())
    (tmp_path / driver.FILE).write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot be read"):
        driver.read(tmp_path)


def test_a_field_more_is_a_format_more(tmp_path: Path) -> None:
    """An older version says of a newer checkpoint that it cannot read it, rather than fall over a field it has not."""
    known = {3: "step version keep_rate seconds before suites curriculum difficulty entropy_coefficient entropy recent"}
    assert {one.name for one in fields(State)} - {"source"} == set(known[driver.FORMAT].split())
    driver.write(tmp_path, State(step=3))
    assert json.loads((tmp_path / driver.FILE).read_text())["format"] == driver.FORMAT


def test_a_checkpoint_from_before_entropy_and_difficulty_is_read(tmp_path: Path) -> None:
    driver.write(tmp_path, State(step=3, version=2))
    plain = json.loads((tmp_path / driver.FILE).read_text()) | {"format": 2}
    for name in ("difficulty", "entropy_coefficient", "entropy"):
        del plain[name]
    (tmp_path / driver.FILE).write_text(json.dumps(plain))
    assert driver.read(tmp_path) == State(step=3, version=2)
