"""The reward worker: parts, exactly one reward a sample, hostile samples, what each grader is given."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from actors.reward.spec import RewardSpec
from actors.reward.worker import RewardWorker
from rewards.gym import Gym
from rewards.verdict import REASONS
from srm_ray.errors import UserError
from srm_ray.rl.types import Group, Prompt
from tests.actors.graded_groups import CHAT, SQUARE, boxed, completion, fenced, group, prompt, score
from tests.data.problem_rows import read
from tests.rewards.gym_data import needs_gym, task
from tests.rewards.hostile_answers import HOSTILE
from tests.rewards.shared_data import FOLDER, rows


@pytest.fixture(scope="module")
def worker() -> Iterator[RewardWorker]:
    ours = RewardWorker(RewardSpec(code_timeout=5.0), index=3)
    yield ours
    ours.close()


@pytest.mark.integration
def test_one_reward_per_completion_in_order(worker: RewardWorker) -> None:
    texts = [
        boxed("1/2"),
        boxed("2"),
        boxed(r"\frac{2}{4}"),
        "a",
        r"\boxed{0.5}",
        boxed("0.5") + r" or \boxed{3}",
    ]
    rewards = score(worker, group(texts, answer="0.5"))[0]
    assert [r.reason for r in rewards] == ["correct", "wrong", "correct", "no_answer", "no_answer", "several_answers"]
    assert [r.correct for r in rewards] == [True, False, True, False, False, False]
    assert [round(r.value, 6) for r in rewards] == [1.1, 0.1, 1.1, 0.0, 0.0, 0.1]
    assert rewards[0].parts == {"math": 1.0, "format": 1.0}
    assert all(r.seconds >= 0 for r in rewards)


@pytest.mark.integration
def test_an_opened_think_is_taken_from_the_prompt(worker: RewardWorker) -> None:
    """Without an opening tag in the prompt, a completion without tags is all answer."""
    assert score(worker, group([r"\boxed{5}"], answer="5", text="Q:"))[0][0].correct is True
    assert score(worker, group([r"\boxed{5}"], answer="5"))[0][0].reason == "no_answer"
    assert score(worker, group(["so 5"], answer="5", text=r"What? \boxed{5}"))[0][0].reason == "no_answer"


@pytest.mark.integration
def test_truncated_is_never_correct(worker: RewardWorker) -> None:
    cut = Group(prompt(answer="5"), (completion(boxed("5"), "length"),))
    reward = score(worker, cut)[0][0]
    assert (reward.correct, reward.reason, reward.parts["math"]) == (False, "truncated", 0.0)


@pytest.mark.integration
def test_code(worker: RewardWorker) -> None:
    texts = [
        fenced("def f(x): return x * x"),
        fenced("def f(x): return x"),
        fenced("def f(x): exit()"),
        "a</think>none",
    ]
    rewards = score(worker, group(texts, tests=SQUARE))[0]
    assert [r.reason for r in rewards] == ["correct", "wrong", "runtime_error", "no_answer"]
    assert rewards[0].parts == {"code": 1.0, "format": 1.0} and worker.stats().sandbox in ("bubblewrap", "landlock")
    check_text = "def check(candidate): assert candidate(7) == 49"
    assert score(worker, group([texts[0]], tests=check_text, entry_point="f"))[0][0].correct is True


@pytest.mark.integration
def test_one_program_has_a_verdict_of_each_problem(worker: RewardWorker) -> None:
    """At once, and of problems with the same number, as a held-out one and one that is trained on have."""
    program, other = [fenced("def f(x): return x * x")], [SQUARE[0] | {"expected": 48}]
    trained, held_out = score(worker, group(program, tests=SQUARE), group(program, tests=other))
    assert (trained[0].correct, held_out[0].correct) == (True, False)


@pytest.mark.integration
def test_bad_input_has_a_reason(worker: RewardWorker) -> None:
    assert score(worker, group(["x"]))[0][0].reason == "bad_input"
    for broken in (prompt(answer=5), prompt(tests=5), prompt(tests=[]), Prompt(0, (), None, answer="5")):  # type: ignore[arg-type]
        reward = score(worker, Group(broken, (completion(boxed("5")),)))[0][0]
        assert reward.correct is not True and reward.value <= 0.1 and reward.reason in REASONS
    nothing = Group(prompt(answer="5"), (completion(None),))  # type: ignore[arg-type]
    assert score(worker, nothing)[0][0].correct is None
    assert score(worker, Group(prompt(answer="5"), ()))[0] == ()


@pytest.mark.integration
def test_undecided_is_masked_and_worth_nothing() -> None:
    worker = RewardWorker(RewardSpec(processes=1))
    worker.close()
    reward = score(worker, group([boxed(r"\sqrt{25}")], answer=r"\frac{10}{2}"))[0][0]
    assert reward.correct is None and reward.value == 0.0 and reward.reason in ("worker_died", "grader_error")


@pytest.mark.integration
def test_equal_pairs_in_flight_are_graded_once(worker: RewardWorker) -> None:
    calls = 0
    original = worker.graders.math.equivalent

    def counting(answer: str, gold: str, question: str = "") -> Any:
        nonlocal calls
        calls += 1
        return original(answer, gold, question)

    worker.graders.math.equivalent = counting  # type: ignore[method-assign]
    try:
        rewards = score(worker, group([boxed(r"\sqrt{49}")] * 8, answer=r"\frac{14}{2}"))[0]
    finally:
        worker.graders.math.equivalent = original  # type: ignore[method-assign]
    assert [r.correct for r in rewards] == [True] * 8 and calls == 1


@pytest.mark.integration
def test_the_question_reaches_the_math_grader(worker: RewardWorker) -> None:
    def asked(question: str, answers: list[str], gold: str) -> list[tuple[bool | None, str]]:
        rewards = score(worker, group([boxed(a) for a in answers], text=CHAT.replace("q", question), answer=gold))[0]
        return [(r.correct, r.reason) for r in rewards]

    unevaluated, correct, wrong = (False, "unevaluated"), (True, "correct"), (False, "wrong")
    assert asked("What is 47+36+29?", ["47+36+29", "112"], "112") == [unevaluated, correct]
    assert asked("What is 8/2?", ["8/2", "4"], "4") == [unevaluated, correct]
    assert asked("What share is 8 of 2?", ["8/2"], "4.0") == [unevaluated]
    assert asked("What percentage is red?", [r"60\%", "60"], "60") == [correct, correct]
    assert asked("What is 20% of 300?", [r"60\%", "60"], "60") == [wrong, correct]
    assert asked("What is it?", ["5"], r"\mystery{5") == [(None, "bad_gold")]


@pytest.mark.integration
def test_what_is_in_flight_is_bounded() -> None:
    worker = RewardWorker(RewardSpec(in_flight=4, processes=1))
    try:
        groups = [group([boxed(rf"\sqrt{{{n * n}}}")], answer=str(n)) for n in range(1, 60)]
        assert all(rewards[0].correct for rewards in score(worker, *groups))
        queue = worker.queues["math"]
        assert queue.slots._value == 4 and queue.depth == 0
    finally:
        worker.close()


@pytest.mark.integration
def test_every_hostile_answer_through_the_worker(worker: RewardWorker) -> None:
    rewards = score(worker, group([boxed(text) for text in HOSTILE], answer=r"\frac{123}{1000}"))[0]
    assert len(rewards) == len(HOSTILE)
    assert all(r.correct is not True and r.reason in REASONS - {"grader_error"} for r in rewards)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": {"maths": 1.0}}, "maths"),
        ({"weights": {"length": 1.0}}, "l_cache"),
        ({"weights": {"function": 1.0}}, "function"),
        ({"math_timeout": 0}, "time limits"),
        ({"processes": 0}, "processes"),
    ],
)
def test_a_spec_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RewardSpec(**fields)


@pytest.mark.integration
def test_it_says_who_it_is(worker: RewardWorker) -> None:
    assert repr(worker) == "RewardWorker(reward-3)" and worker.ping().info.worker == "reward-3"


@pytest.mark.integration
def test_answers_that_are_text(worker: RewardWorker) -> None:
    rewards = score(worker, group([boxed("ainomma"), boxed("ammonia")], answer="ainomma", grader="text"))[0]
    assert [(r.correct, r.reason, round(r.value, 6)) for r in rewards] == [
        (True, "correct", 1.1),
        (False, "wrong", 0.1),
    ]
    assert rewards[0].parts == {"text": 1.0, "format": 1.0}


@pytest.mark.integration
@needs_gym
def test_answers_that_only_reasoning_gym_can_tell(worker: RewardWorker) -> None:
    one = task("number_sorting")
    maker = Gym()
    gold = maker.make(one).answer
    maker.close()
    texts = [boxed(str(gold)), boxed("['1']"), boxed("__import__('os').abort()"), "none", boxed("1") + r" \boxed{2}"]
    rewards = score(worker, group(texts, answer=gold, grader="gym", gym=one))[0]
    assert [r.reason for r in rewards] == ["correct", "wrong", "rejected_syntax", "no_answer", "several_answers"]
    assert rewards[0].parts == {"gym": 1.0, "format": 1.0}
    assert worker.stats().kinds["gym"] >= 5


@pytest.mark.integration
def test_mbpps_tasks_as_they_are_trained_on(worker: RewardWorker) -> None:
    """Its own solutions pass the tests as read from its own files; another task's solution does not."""
    solutions = {row["text"].strip(): row["code"] for row in rows("mbpp/mbpp.jsonl")}
    tasks = read(FOLDER / "mbpp" / "mbpp.jsonl")[::37]
    codes = [solutions[one.messages[0]["content"].partition("\nYour code")[0]] for one in tasks]
    made = zip(tasks, codes, codes[1:] + codes[:1], strict=True)
    groups = [group([fenced(own), fenced(other)], tests=one.tests) for one, own, other in made]
    groups = [replace(one, prompt=replace(one.prompt, index=number)) for number, one in enumerate(groups)]
    for rewards in score(worker, *groups):
        assert [reward.correct for reward in rewards] == [True, False]
