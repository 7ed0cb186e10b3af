"""Reasoning Gym: the same problems everywhere, its scorers, and what an answer cannot do to them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards.code.inside import isolate
from rewards.gym import BadFamily, Gym, Scorer, active
from rewards.gym_probe import Rates, probe
from rewards.sandbox.processes import Pool
from tests.rewards.gym_data import needs_gym, task

OWN = ["countdown", "n_queens", "number_sorting", "binary_matrix", "shortest_path", "simple_integration", "word_ladder"]
needs_landlock = pytest.mark.skipif(
    isolate.landlock_version() == 0, reason="THE KERNEL HAS NO LANDLOCK; this test checked nothing"
)


@pytest.fixture(scope="module")
def gym() -> Iterator[Gym]:
    made = Gym()
    yield made
    made.close()


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    made = Scorer(timeout=5.0)
    yield made
    made.close()


@pytest.mark.integration
@needs_gym
def test_a_task_is_the_same_problem_in_every_process(gym: Gym) -> None:
    """Some families iterate over sets of strings, whose order follows the process's hash seed."""
    families = ["word_ladder", "ransom_note", "isomorphic_strings", "chain_sum", "list_functions"]
    tasks = [task(family, index=index) for family in families for index in (3, 1, 2)]
    other = Gym()
    try:
        assert [gym.make(one) for one in tasks] == [other.make(one) for one in reversed(tasks)][::-1]
    finally:
        other.close()
    assert gym.make(tasks[0]) != gym.make(tasks[1])


@pytest.mark.integration
@needs_gym
def test_options_are_difficulty(gym: Gym) -> None:
    one = gym.make(task("chain_sum", min_terms=2, max_terms=2, min_digits=1, max_digits=1))
    assert sum(sign in one.question for sign in "+-") == 1
    assert one.answer is not None and abs(int(one.answer)) < 20


@pytest.mark.integration
@needs_gym
@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("chain_sums", {}, r"no family 'chain_sums'; did you mean chain_sum\?"),
        ("chain_sum", {"min_term": 2}, r"chain_sum has no option 'min_term'; did you mean min_terms\?"),
        ("chain_sum", {"seed": 2}, "chain_sum has no option 'seed'"),
        ("chain_sum", {"min_terms": 9, "max_terms": 3}, "max_terms must be >= min_terms"),
        ("chain_sum", {"min_terms": "many"}, "chain_sum does not take options"),
    ],
)
def test_what_does_not_fit_is_named(gym: Gym, family: str, options: dict, message: str) -> None:
    with pytest.raises(BadFamily, match=message):
        gym.check(family, options)


@pytest.mark.integration
@needs_gym
@needs_landlock
@pytest.mark.parametrize("family", OWN)
def test_own_scorers_accept_gold_and_refuse_everything_else(
    gym: Gym, scorer: Scorer, family: str, tmp_path: Path
) -> None:
    one = task(family)
    gold = gym.make(one).answer
    assert gold is not None
    assert scorer.grade(gold, one).correct is True
    written = tmp_path / "written"
    hostile = [
        f"__import__('os').system('touch {written}')",
        f"open('{written}', 'w')",
        "().__class__.__bases__[0].__subclasses__()",
        "exit()",
        "9**9**9",
        "7" * 30_000,
        "[1, 2",
        "",
        "nonsense",
    ]
    for answer in hostile:
        verdict = scorer.grade(answer, one)
        assert verdict.correct is False, (family, answer, verdict)
    assert not written.exists()
    assert scorer.pool.replaced == 0  # no answer cost the process its life


@pytest.mark.integration
@needs_gym
@needs_landlock
def test_another_right_answer_is_right(scorer: Scorer, gym: Gym) -> None:
    """Where several answers are right the gold one is only an example."""
    one = task("countdown")
    gold = gym.make(one).answer
    assert gold is not None
    assert scorer.grade(f"({gold})", one).correct is True
    assert scorer.grade(f"{gold} + 1", one).correct is False


@pytest.mark.integration
@needs_landlock
def test_a_confined_process_can_only_compute(tmp_path: Path) -> None:
    pool = Pool("tests.rewards.confined:serve", ["rewards.gym"])
    try:
        assert pool.run([str(tmp_path)], 30)[0] == []
    finally:
        pool.close()
    assert os.listdir(tmp_path) == []


def test_what_counts_as_more_than_computing() -> None:
    for harmless in ("1 + 2*(3 - 4)", "['1', '2.5']", "sin(x)**2 + exp(2*x)/3 + C", "[[0, 1], [2, 3]]", "A# B#", "1.5"):
        assert not active(harmless), harmless
    for hostile in (
        "open('x')",
        "().real",
        "a.b",
        "__x__",
        "lambda: 1",
        "print (1)",
        "sin(open('x'))",
        "[].pop",
        "(open)('x')",
        "ｏｐｅｎ('x')",
    ):
        assert active(hostile), hostile


def test_a_task_survives_json() -> None:
    one = task("chain_sum", min_terms=2)
    assert json.loads(one.options) == {"min_terms": 2}


@pytest.mark.integration
@needs_gym
@needs_landlock
def test_a_scorer_that_accepts_anything_is_found_out(gym: Gym, scorer: Scorer) -> None:
    def rates(family: str) -> Rates | None:
        tasks = [task(family, index=index) for index in range(6)]
        return probe(scorer, [(one, gym.make(one).answer) for one in tasks])

    halting = rates("game_of_life_halting")
    assert halting is not None and halting.worthless and halting.noise == 1.0 and halting.example
    for family in ("countdown", "n_queens", "shortest_path"):
        honest = rates(family)
        assert honest is not None and not honest.worthless, (family, honest)
