"""Problems by source: mixtures, levels, Reasoning Gym, MBPP; the same for an index whoever asks and whenever."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rewards.verdict import Reward
from srm_ray.config.command_line import parse
from srm_ray.config.data import CurriculumConfig, DataConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.data import tasks
from srm_ray.data.curriculum import Curriculum
from srm_ray.data.prompts import open_held_out, sources_of, training_tasks
from srm_ray.data.tasks import share_of
from srm_ray.errors import UserError
from srm_ray.rl.types import Group, Prompt
from tests.data.problem_rows import read
from tests.rewards.gym_data import needs_gym
from tests.rewards.shared_data import FOLDER as SHARED

TWO = {"sums": {"weight": 3}, "long": {"options": {"terms": 5}}}
CLIMB = {"levels": [{"terms": 2}, {"terms": 4}, {"terms": 6, "digits": 3}]}


def terms(question: str) -> int:
    return question.count("+") + 1


def question(stream: Any, index: int) -> str:
    return stream.task(index)[0].messages[0]["content"]


def group(source: str, index: int, level: int, right: int, of: int = 8, undecided: int = 0) -> Group:
    rewards = [Reward(1.0, True, "correct")] * right + [Reward(0.0, False, "wrong")] * (of - right)
    rewards += [Reward(0.0, None, "undecided")] * undecided
    return Group(Prompt(index, (), "", source=source, level=level), (), rewards=tuple(rewards))


# Mixtures


def test_weights_are_shares_all_along() -> None:
    stream = training_tasks(DataConfig(mixture=TWO), seed=1)
    drawn = Counter[str]()
    for index in range(400):
        drawn[stream.task(index)[0].source] += 1
        assert abs(drawn["sums"] - 0.75 * (index + 1)) <= 1
    assert drawn == {"sums": 300, "long": 100}
    assert terms(question(stream, next(i for i in range(9) if stream.task(i)[0].source == "long"))) == 5


def test_an_index_gives_the_same_task_in_whatever_order_it_is_asked_for() -> None:
    first, other = (training_tasks(DataConfig(mixture=TWO), seed=1) for _ in range(2))
    backwards = [question(other, index) for index in reversed(range(200))][::-1]
    assert [question(first, index) for index in range(200)] == backwards
    assert len(set(backwards)) > 195


def test_files_and_generators_mix(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}?", "answer": n, "source": "x"}) + "\n" for n in range(3)))
    stream = training_tasks(DataConfig(mixture={"mine": {"path": str(path)}, "sums": {}}), seed=1)
    assert stream.size is None
    mine = [stream.task(index)[0] for index in range(12) if stream.task(index)[0].source != "sums"]
    assert Counter(task.messages[0]["content"] for task in mine) == {"0?": 2, "1?": 2, "2?": 2}


@pytest.mark.parametrize(("count", "parts", "shares"), [(10, 3, [4, 3, 3]), (2, 3, [1, 1, 0]), (6, 2, [3, 3])])
def test_a_count_is_divided(count: int, parts: int, shares: list[int]) -> None:
    assert [share_of(count, parts, part) for part in range(parts)] == shares


# Levels and the curriculum


def test_a_source_goes_up_when_a_window_is_right_often_enough() -> None:
    climb = Curriculum({"sums": 3, "other": 0}, raise_at=0.75, window=16)
    assert climb.observe([group("sums", 0, 0, right=8)], cursor=5) == {}  # half a window
    assert climb.observe([group("sums", 5, 0, right=4)], cursor=9) == {"sums": 1}  # 12 of 16
    assert [climb.level("sums", index) for index in (0, 8, 9, 100)] == [0, 0, 1, 1]
    # Groups of the level before do not count, nor completions that nobody could grade.
    late = [group("sums", 8, 0, right=8), group("sums", 8, 0, right=8)]
    assert climb.observe([*late, group("sums", 9, 1, right=8, undecided=8)], cursor=12) == {}
    assert climb.observe([group("sums", 12, 1, right=3)], cursor=13) == {}  # 11 of 16: a new window begins
    assert climb.observe([group("sums", 13, 1, right=8), group("sums", 14, 1, right=8)], cursor=15) == {"sums": 2}
    assert climb.observe([group("sums", 15, 2, right=8), group("sums", 16, 2, right=8)], cursor=17) == {}  # the top
    assert climb.describe() == {"curriculum/level/sums": 2}
    assert climb.level("other", 10) == 0


def test_a_prompt_depends_on_seed_index_and_schedule_alone() -> None:
    config = DataConfig(mixture={"sums": CLIMB, "plain": {}})
    curriculum = CurriculumConfig(raise_at=0.5, window=8)
    stream = training_tasks(config, seed=2, curriculum=curriculum)
    before = [question(stream, index) for index in range(40)]
    stream.curriculum.observe([group("sums", 0, 0, right=8)], cursor=20)
    after = [question(stream, index) for index in range(40)]
    assert after[:20] == before[:20]
    assert after[20::2] != before[20::2] and after[21::2] == before[21::2]
    assert {terms(after[index]) for index in range(0, 20, 2)} == {2}
    assert {terms(after[index]) for index in range(20, 40, 2)} == {4}
    assert [stream.task(index)[1] for index in (18, 19, 20, 21)] == [0, 0, 1, 0]
    # A continued run has the schedule from its checkpoint, through JSON.
    continued = training_tasks(config, seed=2, curriculum=curriculum)
    continued.curriculum.restore(json.loads(json.dumps(stream.curriculum.to_plain())))
    assert [question(continued, index) for index in range(40)] == after
    assert continued.curriculum.to_plain() == stream.curriculum.to_plain()
    continued.curriculum.restore({})  # a run that starts over without a checkpoint
    assert [question(continued, index) for index in range(40)] == before


def test_held_out_problems_are_spread_over_the_levels() -> None:
    held_out = open_held_out(DataConfig(**CLIMB), 30, "sums")
    assert Counter(terms(task.messages[0]["content"]) for task in held_out) == {2: 10, 4: 10, 6: 10}
    trained = training_tasks(DataConfig(options={"terms": 2}), seed=3)
    assert not {task.messages[0]["content"] for task in held_out} & {question(trained, index) for index in range(2000)}


# Wrong settings


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data.options.terms", "1"], "arithmetic's option terms must be a whole number from 2 to 12, got 1"),
        (["--data.options", "{digits: many}"], "arithmetic's option digits must be a whole number"),
        (["--data.levels", "[{terms: 2}, {numbers: 3}]"], "arithmetic has no option 'numbers'"),
        (["--data.path", "a.jsonl", "--data.options.terms", "2"], "options and levels belong to generated problems"),
        (["--data.path", "a.jsonl", "--data.mixture", "{a: {}}"], "data.mixture and data.path exclude each other"),
        (["--data.mixture", "{a: {wieght: 2}}"], "wieght"),
        (["--data.mixture", "{a: {weight: 0}}"], "greater than 0"),
        (["--data.mixture", "{a: {generator: sums}}"], "'sums' does not exist"),
    ],
)
def test_what_does_not_fit_is_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        training_tasks(parse(GRPOConfig, argv, stage="grpo").data, seed=1)
    assert "\n" not in str(refused.value)


def test_options_on_the_command_line_are_values() -> None:
    data = parse(GRPOConfig, ["--data.options.terms", "4"], stage="grpo").data
    assert data.options == {"terms": 4}
    assert terms(question(training_tasks(data, seed=1), 0)) == 4


# Reasoning Gym


@pytest.mark.integration
@needs_gym
def test_a_family_of_reasoning_gym_by_name() -> None:
    data = DataConfig(name="reasoning_gym/chain_sum", options={"min_terms": 2, "max_terms": 2, "max_digits": 2})
    assert list(sources_of(data)) == ["chain_sum"]
    first, again, other = (training_tasks(data, seed=seed) for seed in (1, 1, 2))
    asked = [question(first, index) for index in range(1200)]
    assert asked[700:] == [question(again, index) for index in range(700, 1200)]
    assert asked[:50] != [question(other, index) for index in range(50)]
    assert first.task(0)[0].grader == "math"
    held_out = open_held_out(data, 60, "chain_sum")
    assert len({task.messages[0]["content"] for task in held_out}) == 60
    assert not {task.messages[0]["content"] for task in held_out} & set(asked)


@pytest.mark.integration
@needs_gym
@pytest.mark.parametrize(
    ("family", "grader"), [("gcd", "math"), ("caesar_cipher", "text"), ("countdown", "gym"), ("rubiks_cube", "gym")]
)
def test_each_family_has_the_grader_that_it_needs(family: str, grader: str) -> None:
    task, _ = training_tasks(DataConfig(name=f"reasoning_gym/{family}"), seed=1).task(0)
    assert task.grader == grader
    assert (task.gym is not None) == (grader == "gym")
    assert (task.answer is None) == (family == "rubiks_cube")


@pytest.mark.integration
@needs_gym
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "reasoning_gym/chain_summ"}, "data.name reasoning_gym/chain_summ: .*did you mean chain_sum"),
        ({"name": "reasoning_gym/gcd", "levels": [{}, {"max": 3}]}, "gcd has no option 'max'"),
    ],
)
def test_a_family_that_does_not_fit_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        training_tasks(DataConfig(**options), seed=1)


@pytest.mark.integration
@needs_gym
def test_too_few_problems_are_said_to_be() -> None:
    data = DataConfig(name="reasoning_gym/count_bits", options={"min_n": 1, "max_n": 1})
    with pytest.raises(UserError, match=r"too few different problems|no problem to hold out"):
        training_tasks(data, seed=1).task(0)
        open_held_out(data, 5, "count_bits")


# MBPP


def mbpp(path: Path, *ids: int, **fields: Any) -> Path:
    row: dict[str, Any] = {
        "text": "Write f.",
        "code": "",
        "test_setup_code": "import math",
        "test_list": ["assert f(1) == 1"],
    } | fields
    path.write_text(
        "".join(
            json.dumps({"task_id": one, **row, "text": row["text"] and f"{row['text']} {one}"}) + "\n" for one in ids
        )
    )
    return path


def test_training_takes_mbpps_train_split_alone(tmp_path: Path) -> None:
    path = mbpp(tmp_path / "mbpp.jsonl", 5, 11, 510, 511, 600, 601, 974, 975)
    tasks = read(path)
    assert [task.where.rpartition(":")[2] for task in tasks] == ["6", "7"]
    assert tasks[0].tests == ["import math", "assert f(1) == 1"]
    assert tasks[0].messages[0]["content"].startswith("Write f.")
    assert "assert f(1) == 1" in tasks[0].messages[0]["content"]
    assert len(read(path, split="test", measuring=True)) == 2


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([11, 12], {}, r"no task of MBPP's split train \(task_id 601 to 974\) among its 2; .* not for training"),
        ([601], {"split": "test"}, "MBPP's split test is for measuring; train on split train"),
        ([601], {"split": "dev"}, "MBPP has the splits prompt, test, validation, train, not 'dev'"),
    ],
)
def test_mbpps_other_splits_are_refused(tmp_path: Path, ids: list[int], options: dict[str, str], message: str) -> None:
    path = mbpp(tmp_path / "mbpp.jsonl", *ids)
    with pytest.raises(UserError, match=message):
        training_tasks(DataConfig(path=str(path), **options), seed=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_list": []}, "MBPP's `test_list` must be a list of statements"),
        ({"text": ""}, "text is empty"),
        ({"task_id": "x601"}, "`task_id` must be a whole number or Mbpp/<number>, got 'x601'"),
    ],
)
def test_a_malformed_mbpp_row_is_named(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        read(mbpp(tmp_path / "mbpp.jsonl", 601, **fields))
    assert "mbpp.jsonl:1" in str(refused.value)


def test_mbpp_as_published() -> None:
    path = SHARED / "mbpp" / "mbpp.jsonl"
    if not path.is_file():
        pytest.skip(f"REAL DATA MISSING: {path} (set SRM_SHARED_DATA); this test checked nothing")
    config = DataConfig(path=str(path), eval_path=str(path), eval_split="validation")
    stream = training_tasks(config, seed=1)
    assert stream.size == 374
    held_out = open_held_out(config, 1000, "mbpp")
    assert len(held_out) == 90
    asked = {question(stream, index) for index in range(374)}
    assert len(asked) == 374 and not asked & {task.messages[0]["content"] for task in held_out}


# A reward of one's own gets the whole row


def test_rows_are_kept_for_a_reward_of_ones_own_alone(tmp_path: Path) -> None:
    row = {"prompt": "p", "answer": ["any", "thing"], "difficulty": 3}
    mbpp = {"task_id": 601, "text": "t", "code": "c", "test_list": ["assert f(1) == 1"], "test_setup_code": ""}
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(row)}\n{json.dumps(mbpp)}\n")
    first, second = read(file, graded=False)
    assert (first.row, first.answer) == (row, None)
    assert second.row == mbpp and second.tests == ["assert f(1) == 1"]
    file.write_text(f"{json.dumps(row | {'answer': '5'})}\n")
    assert [task.row for task in read(file)] == [None]


@pytest.mark.integration
@needs_gym
def test_a_family_whose_scorer_accepts_anything_is_refused_before_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    halting = training_tasks(DataConfig(name="reasoning_gym/game_of_life_halting"), seed=1)
    with pytest.raises(UserError, match=r"game_of_life_halting.*full marks to 100% of answers that say nothing"):
        halting.probe()
    training_tasks(DataConfig(name="reasoning_gym/countdown"), seed=1).probe()
    assert capsys.readouterr().out == ""
    training_tasks(DataConfig(name="reasoning_gym/syllogism"), seed=1).probe()


# Tests of code are looked at when the file is opened


def test_code_rows_are_read_in_the_forms_that_they_have(tmp_path: Path) -> None:
    file = tmp_path / "code.jsonl"
    rows = [
        {"prompt": "def f(x):\n", "test": "def check(candidate):\n    assert candidate(1) == 2", "entry_point": "f"},
        {"question": "Add.", "input_output": json.dumps({"inputs": ["1 2"], "outputs": ["3"]})},
        {"prompt": "Add.", "verification_info": json.dumps({"test_cases": [{"input": "1 2", "output": "3"}]})},
        {"prompt": "Add.", "tests": [{"type": "stdin_stdout", "input": "1 2", "output": "3"}]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = read(file)
    assert [task.entry_point for task in tasks] == ["f", None, None, None]
    assert all(task.tests is not None for task in tasks)


@pytest.mark.parametrize(
    ("tests", "says"),
    [
        ("print(f(1))", "assert nothing"),
        ("def check(candidate): assert candidate(1) == 2", "give entry_point"),
        ([{"stdin": "1"}], "neither fn, args and expected nor stdin and stdout"),
        ([], "no tests"),
        ("import numpy as np\nassert np.zeros(1) == f(1)", "numpy.zeros"),
    ],
)
def test_tests_that_cannot_be_run_are_refused_with_their_line(tmp_path: Path, tests: Any, says: str) -> None:
    file = tmp_path / "code.jsonl"
    file.write_text(json.dumps({"prompt": "p", "tests": tests}) + "\n")
    with pytest.raises(UserError, match=says) as error:
        read(file)
    assert "1 `tests`: " in str(error.value) and f"({file}:1)" in str(error.value)


def test_a_family_whose_scorer_judges_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All completions of such a family would be masked out of the loss."""
    made = tasks.GymTasks.__new__(tasks.GymTasks)
    made.family, made.options = "knight_swap", ["{}"]
    made.__dict__["task"] = lambda position, level: tasks.Task(
        (), source="s", gym=tasks.GymTask("f", "{}", 0, position)
    )
    monkeypatch.setattr(tasks, "probe", lambda scorer, judged: None)
    made.probe()
    assert "knight_swap with options {}: its scorer judged none of the answers" in capsys.readouterr().out
