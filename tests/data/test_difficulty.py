"""Problems drawn by success rates: the weights as numbers, determinism, and what a checkpoint must hold."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rewards.verdict import Reward
from srm_ray.config.command_line import parse
from srm_ray.config.data import DataConfig, DifficultyConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.data.difficulty import Difficulty, Rates
from srm_ray.data.prompts import training_tasks
from srm_ray.errors import UserError
from srm_ray.rl.types import Group, Prompt

COUNT = 50


def follower(everything: float = 0.0, forget: float = 0.5, pool: int = 0, seed: int = 1) -> Difficulty:
    options = DifficultyConfig(follow=True, everything=everything, forget=forget, pool=pool)
    return Difficulty(options, seed=seed, group_size=8)


def graded(index: int, right: int, undecided: int = 0) -> Group:
    grades = [True] * right + [None] * undecided + [False] * (8 - right - undecided)
    return Group(Prompt(index, (1,), ""), (), rewards=tuple(Reward(0.0, one, "") for one in grades))


def draw(one: Difficulty, indices: range) -> list[int]:
    return [one.row(index, "a", COUNT, lambda i=index: i % COUNT) for index in indices]


def test_weights_are_the_chance_of_right_and_wrong_in_a_group() -> None:
    rates = Rates(np.array([0.0, 8, 0, 4, 16]), np.array([0.0, 8, 8, 8, 16]))
    p = np.array([0.5, 8.25 / 8.5, 0.25 / 8.5, 0.5, 16.25 / 16.5])
    assert rates.rate == pytest.approx(p)
    assert rates.weights(8) == pytest.approx([1 - q**8 - (1 - q) ** 8 for q in p])
    assert rates.weights(8)[0] == pytest.approx(1 - 2 / 256)


def test_a_visit_forgets_a_share_of_those_before() -> None:
    rates = Rates.unknown(2)
    for right in (8, 4, 0):
        rates.add(1, right, 8, forget=0.5)
    assert (rates.right[1], rates.seen[1]) == (0.25 * 8 + 0.5 * 4, 0.25 * 8 + 0.5 * 8 + 8)
    assert rates.right[0] == rates.seen[0] == 0


def test_solved_and_hopeless_problems_are_seldom_drawn_and_not_never() -> None:
    """Problems below 20 are always solved, those from 40 on never, the others half of the time."""
    one, drawn = follower(), Counter[int]()
    for step in range(120):
        indices = range(10 * step, 10 * step + 10)
        rows = draw(one, indices)
        assert len(set(rows)) == 10  # none twice in a step
        right = [8 if row < 20 else 4 if row < 40 else 0 for row in rows]
        one.observe([graded(i, r) for i, r in zip(indices, right, strict=True)], cursor=10 * step + 10)
        drawn.update(rows if step >= 20 else [])
    solved, sometimes, failed = (sum(drawn[row] for row in rows) for rows in (range(20), range(20, 40), range(40, 50)))
    assert sometimes > 0.6 * (solved + sometimes + failed)
    assert solved > 20 and failed > 10
    assert one.describe() == {"difficulty/tried": 1.0, "difficulty/solved": 0.4, "difficulty/failed": 0.2}


def test_a_share_of_everything_comes_in_the_usual_order() -> None:
    assert draw(follower(everything=1.0), range(120)) == [index % COUNT for index in range(120)]
    rows = draw(follower(everything=0.5, seed=3), range(40))
    assert 10 < sum(row == index for index, row in enumerate(rows)) < 35


def test_an_index_keeps_its_problem_until_it_is_judged_and_a_continued_run_draws_the_same() -> None:
    one = follower(everything=0.2)
    rows = draw(one, range(20))
    assert draw(one, range(20)) == rows
    one.observe([graded(index, 8) for index in range(8)], cursor=12)  # 8 to 11 are under way
    again = follower(everything=0.2)
    draw(again, range(4))  # of the look at the first rows
    again.restore(json.loads(json.dumps(one.to_plain())))
    assert draw(again, range(8, 40)) == draw(one, range(8, 40))
    assert draw(one, range(8, 12)) == rows[8:12]
    assert again.to_plain() == one.to_plain()
    again.restore({})
    assert draw(again, range(20)) == rows


def test_how_many_are_drawn_ahead_decides_nothing() -> None:
    """What was launched beyond the step's last group is chosen anew in the next step, with what is known by then."""
    few, many = follower(), follower()
    for one, ahead in ((few, 10), (many, 35)):
        for step in range(4):
            draw(one, range(10 * step, 10 * step + ahead))
            one.observe([graded(10 * step + place, place % 9) for place in range(10)], cursor=10 * step + 10)
    assert few.to_plain() == many.to_plain()


def test_what_nobody_could_grade_is_not_counted() -> None:
    one = follower()
    (row,) = draw(one, range(1))
    one.observe([graded(0, 2, undecided=6)], cursor=1)
    assert (one.rates["a"].right[row], one.rates["a"].seen[row]) == (2, 2)
    (row,) = draw(one, range(1, 2))
    one.observe([graded(1, 0, undecided=8), graded(77, 8)], cursor=2)
    assert one.rates["a"].seen[row] in (0, 2)


def test_problems_of_a_file_and_of_a_generators_pool(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}?", "answer": n}) + "\n" for n in range(9)))
    sources = {"mine": {"path": str(path)}, "sums": {}}
    stream = training_tasks(DataConfig(mixture=sources), seed=1, difficulty=follower(everything=0.5, pool=30))
    asked = [stream.task(index)[0] for index in range(60)]
    sums = {task.messages[0]["content"] for task in asked if task.source == "sums"}
    assert {task.messages[0]["content"] for task in asked if task.source == "mine"} <= {f"{n}?" for n in range(9)}
    plain = training_tasks(DataConfig(), seed=1)
    assert len(sums) > 15 and sums <= {plain.task(index)[0].messages[0]["content"] for index in range(30)}
    assert [stream.task(index)[0] for index in range(60)] == asked


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], r"difficulty\.follow wants difficulty\.pool above 0 for problems that are generated \(got 0\)"),
        (["--data.mixture", "{a: {path: x.jsonl}, b: {}}"], r"wants difficulty\.pool"),
        (
            ["--data.levels", "[{terms: 2}]", "--difficulty.pool", "9"],
            "difficulty.follow and levels exclude each other",
        ),
        (["--data.path", "x.jsonl", "--tools", "a.b:c"], "does not hold for environments and tools"),
    ],
)
def test_what_cannot_be_followed(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(GRPOConfig, ["--difficulty.follow", *argv], stage="grpo")
