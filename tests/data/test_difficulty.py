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
from srm_ray.data.difficulty import PRIOR, Difficulty, Rates
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
    return [one.row(index, "a", COUNT, lambda i=index: i % COUNT, str) for index in indices]


def test_signal_is_the_chance_of_right_and_wrong_in_a_group() -> None:
    """Against the mean over the distribution of a problem's success rate, by integration."""
    rates = Rates(np.array([0.0, 8, 0, 4, 16]), np.array([0.0, 8, 8, 8, 16]))
    expected = np.array([0.7, 0.7, 0.9, 0.5, 0.5])
    p = (np.arange(200_000) + 0.5) / 200_000
    for row, (right, wrong) in enumerate([(0, 0), (8, 0), (0, 8), (4, 4), (16, 0)]):
        mean = expected[row]
        density = p ** (right + PRIOR * mean - 1) * (1 - p) ** (wrong + PRIOR * (1 - mean) - 1)
        signal = (density * (1 - p**8 - (1 - p) ** 8)).sum() / density.sum()
        assert rates.signal([row], np.array([mean]), 8)[0] == pytest.approx(signal, rel=1e-3)
    # Failed where most are solved, so that it is hard and no more; half right; never tried; solved, and surely so.
    assert list(np.argsort(-rates.signal(range(5), 0.7, 8))) == [2, 3, 0, 1, 4]


def test_a_step_forgets_a_share_of_all_grades() -> None:
    one = follower(forget=0.5)
    (row,) = draw(one, range(1))
    one.observe([graded(0, 6)], cursor=1)
    one.observe([], cursor=1)
    assert (one.rates["a"].right[row], one.rates["a"].seen[row]) == (3, 4)


def test_what_failed_is_tried_again_in_the_end() -> None:
    """One problem of fifty failed long ago, the others are solved again and again."""
    one = follower(forget=0.1)
    draw(one, range(1))
    rates = one.rates["a"]
    rates.seen[:] = rates.right[:] = 8.0
    rates.right[7] = 0.0
    for index in range(1, 400):
        (row,) = draw(one, range(index, index + 1))
        if row == 7 and index > 40:
            return
        one.observe([graded(index, 0 if row == 7 else 8)], cursor=index + 1)
    pytest.fail("never tried again")


def test_solved_and_hopeless_problems_are_seldom_drawn_and_not_never() -> None:
    """Problems below 20 are always solved, those from 40 on never, the others half of the time."""
    one, drawn = follower(everything=0.1, forget=0.02), Counter[int]()
    for step in range(120):
        indices = range(10 * step, 10 * step + 10)
        rows = draw(one, indices)
        right = [8 if row < 20 else 4 if row < 40 else 0 for row in rows]
        one.observe([graded(i, r) for i, r in zip(indices, right, strict=True)], cursor=10 * step + 10)
        drawn.update(rows if step >= 20 else [])
    solved, sometimes, failed = (sum(drawn[row] for row in rows) for rows in (range(20), range(20, 40), range(40, 50)))
    assert sometimes > 0.85 * (solved + sometimes + failed)
    assert solved > 20 and failed > 10
    shares = one.describe()
    assert shares["difficulty/tried"] > 0.9 and shares["difficulty/failed"] == 0.2
    assert 0.4 - (1 - shares["difficulty/tried"]) <= shares["difficulty/solved"] <= 0.4


def test_no_problem_comes_twice_in_a_step() -> None:
    assert len(set(draw(follower(), range(20)))) == 20


def test_where_problems_differ_more_than_half_of_the_lost_groups_are_saved() -> None:
    """A policy that is right in 0.87 of its samples, its log-odds of single problems spread by 1; 40 steps, 20 kept.

    Shares of groups thrown away in the last 20 steps.
    """
    pool = 400

    def thrown(everything: float) -> float:
        dice = np.random.default_rng(0)
        ability = 1 / (1 + np.exp(-dice.normal(2.2, 1.0, pool)))
        one, lost, index = follower(everything=everything, forget=0.02), [], 0
        for _ in range(40):
            groups: list[Group] = []
            while sum(0 < sum(bool(reward.correct) for reward in group.rewards) < 8 for group in groups) < 20:
                row = one.row(index, "a", pool, lambda: int(dice.integers(pool)), str)
                groups.append(graded(index, int(dice.binomial(8, ability[row]))))
                index += 1
            one.observe(groups, cursor=index)
            lost.append(1 - 20 / len(groups))
        return float(np.mean(lost[-20:]))

    assert thrown(0.1) < thrown(1.0) / 2


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
    assert one.rates["a"].seen[row] in (0, 1)  # the other grades are half forgotten


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
