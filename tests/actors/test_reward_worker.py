"""The reward worker: parts, exactly one reward a sample, hostile samples, killed processes, a user's function."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.reward.spec import RewardSpec, check
from actors.reward.worker import RewardWorker
from rewards.gym import Gym
from rewards.verdict import REASONS, Reward
from srm_ray.errors import UserError
from srm_ray.rl.types import Completion, Group, Prompt
from tests.data.problem_rows import read
from tests.process_tree import children_of, gone
from tests.rewards.gym_data import needs_gym, task
from tests.rewards.hostile_answers import HOSTILE
from tests.rewards.shared_data import FOLDER, rows

CHAT = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n"
SQUARE = [{"fn": "f", "args": [7], "expected": 49}]
OWN = "tests.actors.own_rewards"


def prompt(**fields: Any) -> Prompt:
    return Prompt(index=0, token_ids=(1, 2), text=fields.pop("text", CHAT), **fields)


def completion(text: str, finish: str = "stop", tokens: int = 3) -> Completion:
    zeros = np.zeros(tokens, np.int32)
    return Completion(zeros, zeros.astype(np.float32), zeros, finish, 0, text, "rollout-0")


def group(texts: list[str], **fields: Any) -> Group:
    return Group(prompt(**fields), tuple(completion(text) for text in texts))


def boxed(answer: str) -> str:
    return rf"a</think>\boxed{{{answer}}}"


def fenced(code: str) -> str:
    return f"a</think>\n```python\n{code}\n```"


def score(worker: RewardWorker, *groups: Group) -> list[tuple[Reward, ...]]:
    async def all_of_them() -> list[tuple[Reward, ...]]:
        return list(await asyncio.gather(*(worker.score(g) for g in groups)))

    return asyncio.run(all_of_them())


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
        boxed(r"\frac{\sqrt{4}}{4}"),
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
    assert rewards[0].parts == {"code": 1.0, "format": 1.0} and worker.stats()["sandbox"] in ("bubblewrap", "landlock")
    check_text = "def check(candidate): assert candidate(7) == 49"
    assert score(worker, group([texts[0]], tests=check_text, entry_point="f"))[0][0].correct is True


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


# Load


def mixed_groups(count: int, hostile: bool) -> list[Group]:
    """`count` groups of 8: integers, LaTeX that needs a process, wrong answers; 1 % hostile ones."""
    groups = []
    for n in range(count):
        texts = [boxed(str(n)), boxed(str(n + 1)), boxed(rf"\frac{{{2 * n}}}{{2}}"), boxed(rf"\sqrt{{{n * n}}}")]
        texts += [boxed(f"{n}.0"), boxed(f"x={n}"), boxed(rf"{n}\text{{ cm}}"), "no answer"]
        if hostile and n % 12 == 0:
            texts[n // 12 % 8] = boxed(HOSTILE[n // 12 % len(HOSTILE)])
        groups.append(group(texts, answer=str(n)))
    return groups


def load(worker: RewardWorker, groups: list[Group]) -> tuple[float, list[tuple[Reward, ...]]]:
    start = time.perf_counter()
    results = score(worker, *groups)
    return time.perf_counter() - start, results


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.integration
def test_ten_thousand_samples_with_one_percent_hostile_ones() -> None:
    worker = RewardWorker(RewardSpec(processes=2))
    try:
        hostile = [boxed(text) for text in HOSTILE]
        load(worker, [group(hostile, answer=gold) for gold in ("1", "2", "3", "4")])  # all that is started once
        clean, clean_results = load(worker, mixed_groups(1250, hostile=False))
        before = resident()
        dirty, dirty_results = load(worker, mixed_groups(1250, hostile=True))
        grown = resident() - before
        stats = worker.stats()
    finally:
        worker.close()
    assert sum(map(len, dirty_results)) == sum(map(len, clean_results)) == 10_000
    assert all(r.reason in REASONS - {"grader_error"} for results in dirty_results for r in results)
    assert all(
        [r.correct for r in results] == [True, False, True, True, True, True, True, False]
        for results in clean_results[1:]
    )
    assert stats["scored"] == 20_000 + 4 * len(HOSTILE) and set(stats["queued"].values()) == {0}
    assert grown < 200 << 20, f"{grown >> 20} MiB"
    print(
        f"10,000 samples: {10_000 / clean:.0f}/s; with 1 % hostile ones {10_000 / dirty:.0f}/s; {grown >> 20} MiB more"
    )
    assert dirty < 1.25 * clean + 2.0, (clean, dirty)  # 20 % less throughput, and room for a busy machine


@pytest.mark.integration
def test_a_hung_sample_delays_no_other() -> None:
    worker = RewardWorker(
        RewardSpec(weights={"function": 1.0}, function=f"{OWN}:moods", function_timeout=3.0, processes=2)
    )
    try:
        groups = [group([text]) for text in ["hang", *["fine"] * 50]]

        async def finish_times() -> list[float]:
            start = time.perf_counter()

            async def one(g: Group) -> float:
                await worker.score(g)
                return time.perf_counter() - start

            return await asyncio.gather(*(one(g) for g in groups))

        times = asyncio.run(finish_times())
    finally:
        worker.close()
    assert times[0] >= 3.0 and max(times[1:]) < 3.0


# Killed processes


@pytest.mark.integration
@pytest.mark.parametrize("victims", ["workers", "forkserver"])
def test_killed_grading_processes_lose_nothing(victims: str) -> None:
    worker = RewardWorker(RewardSpec(processes=2))
    groups = [
        group([boxed(rf"\sqrt{{{n * n}}}"), boxed(rf"\sqrt{{{n}}}")], answer=rf"\frac{{{2 * n}}}{{2}}")
        for n in range(2, 400)
    ]

    async def run() -> list[tuple[Reward, ...]]:
        scoring = asyncio.gather(*(worker.score(g) for g in groups))
        for _ in range(5):
            await asyncio.sleep(0.05)
            forkserver = worker.graders.math.own.forkserver.process
            for pid in worker.graders.math.pids() if victims == "workers" else [forkserver.pid] if forkserver else []:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        return list(await scoring)

    try:
        results = asyncio.run(run())
    finally:
        worker.close()
    assert len(results) == len(groups)
    for rewards in results:
        assert rewards[0].correct is True or rewards[0].reason == "worker_died"
        assert rewards[1].correct is False or rewards[1].reason == "worker_died"
    undecided = sum(r.correct is None for rewards in results for r in rewards)
    assert undecided <= 4, undecided


@pytest.mark.integration
def test_close_ends_every_process() -> None:
    before = children_of(os.getpid())
    worker = RewardWorker(RewardSpec())
    score(
        worker, group([boxed(r"\sqrt{4}")], answer=r"\frac{4}{2}"), group([fenced("def f(x): return 49")], tests=SQUARE)
    )
    started = children_of(os.getpid()) - before
    assert len(started) >= 3
    worker.close()
    assert gone(started)


@pytest.mark.integration
def test_as_a_ray_actor_killed_and_replaced(ray_session) -> None:
    """Grades the hostile answers in a real actor; when it is killed, its processes go with it."""
    ray = ray_session
    remote = ray.remote(num_cpus=0)(RewardWorker)
    spec = RewardSpec(code_timeout=3.0)
    actor = remote.remote(spec, 1)
    assert ray.get(actor.ping.remote(), timeout=60)["worker"] == "reward-1"
    rewards = ray.get(actor.score.remote(group([boxed(text) for text in HOSTILE], answer="123456789")), timeout=120)
    assert len(rewards) == len(HOSTILE) and all(r.correct is not True for r in rewards)
    code = ray.get(actor.score.remote(group([fenced("def f(x): return 49")], tests=SQUARE)), timeout=60)
    assert code[0].correct is True
    stats = ray.get(actor.stats.remote())
    assert stats["scored"] == len(HOSTILE) + 1 and "p99" in stats["seconds"]["correct"]
    started = set(ray.get(actor.pids.remote()))
    running = actor.score.remote(group([fenced("while True: pass")], tests=SQUARE))
    time.sleep(1)
    ray.kill(actor)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(running, timeout=30)
    assert started and gone(started)
    again = remote.remote(spec, 1)
    assert ray.get(again.score.remote(group([boxed("5")], answer="5")), timeout=60)[0].correct is True
    ray.get(again.close.remote())


# A user's own reward, weights


@pytest.mark.integration
def test_several_rewards_with_weights() -> None:
    weights = {"math": 2.0, "format": 0.5, "length": 1.0, "function": 0.25}
    spec = RewardSpec(weights=weights, l_max=100, l_cache=50, function=f"{OWN}:length_of_answer")
    worker = RewardWorker(spec)
    try:
        texts = Group(prompt(answer="5"), (completion(boxed("5"), tokens=75), completion(boxed("6")), completion("a")))
        rewards = score(worker, texts)[0]
    finally:
        worker.close()
    assert rewards[0].parts == {"format": 1.0, "length": -0.5, "function": 1.0}  # the function grades, nothing else
    assert [r.value for r in rewards] == pytest.approx([0.25, 0.75, 0.025])
    assert [r.correct for r in rewards] == [True, True, True]


@pytest.mark.integration
def test_a_function_alone_decides_correctness() -> None:
    worker = RewardWorker(RewardSpec(weights={"format": 0.1}, function=f"{OWN}:moods", function_timeout=1.0))
    try:
        rewards = score(worker, group(["fine", "hang", "sleep", "raise", "nan", "exit", "fine"]))[0]
    finally:
        worker.close()
    assert [r.reason for r in rewards] == [
        "correct",
        "timeout",
        "timeout",
        "grader_error",
        "grader_error",
        "worker_died",
        "correct",
    ]
    assert [r.correct for r in rewards] == [True, None, None, None, None, None, True]
    assert [r.value for r in rewards] == [0.5, 0, 0, 0, 0, 0, 0.5]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nonsense", "package.module:function"),
        ("no.such.module:f", "No module named"),
        (f"{OWN}:missing", "missing"),
        (f"{OWN}:two", "it must be callable as reward"),
        (f"{OWN}:wrong_parameter", "completion"),
        (f"{OWN}:answer_never_missing", "answer"),
        (f"{OWN}:wrong_result", "float is needed"),
        (f"{OWN}:not_a_function", "not a function"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_at_start_up(function: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        check(RewardSpec(function=function))
    assert "\n" not in str(error.value) and "--reward" in str(error.value)


@pytest.mark.integration
def test_functions_that_can_be_used() -> None:
    for name in ("length_of_answer", "unannotated", "coroutine", "whole_group", "pair", "says_itself", "columns"):
        check(RewardSpec(function=f"{OWN}:{name}"))


ROW = {"difficulty": 3, "nested": {"a": [1]}}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "threshold", "expected"),
    [
        ("coroutine", 0.0, [(0.25, True, "correct"), (0.25, True, "correct"), (0.25, False, "truncated")]),
        ("coroutine", 0.25, [(0.25, False, "wrong"), (0.25, False, "wrong"), (0.25, False, "truncated")]),
        ("says_itself", 0.9, [(1.0, True, "correct"), (0.0, False, "wrong"), (1.0, True, "correct")]),
        ("pair", 0.0, [(0.1, True, "correct"), (0.0, None, "undecided"), (0.1, False, "wrong")]),
        ("columns", 0.0, [(1.0, True, "correct"), (1.0, True, "correct"), (1.0, False, "truncated")]),
        ("column_with_a_default", 0.0, [(0.3, True, "correct"), (0.3, True, "correct"), (0.3, False, "truncated")]),
        ("whole_group", 0.0, [(1.0, True, "correct"), (0.0, False, "wrong"), (1.0, False, "truncated")]),
        ("group_one_short", 0.0, [(0.0, None, "grader_error")] * 3),
    ],
)
def test_forms_of_a_function_of_ones_own(name: str, threshold: float, expected: list[tuple[Any, ...]]) -> None:
    """A gold answer is there, and the built-in grader has no say."""
    worker = RewardWorker(RewardSpec(weights={}, function=f"{OWN}:{name}", threshold=threshold))
    ended = (completion("right"), completion("none"), completion("right", finish="length"))
    try:
        (found,) = score(worker, Group(replace(prompt(answer="5"), row=ROW), ended))
    finally:
        worker.close()
    assert [(r.value, r.correct, r.reason) for r in found] == expected
    assert not {"math", "code"} & {part for r in found for part in r.parts}


@pytest.mark.integration
def test_a_function_can_call_the_graders() -> None:
    worker = RewardWorker(RewardSpec(weights={}, function=f"{OWN}:calls_the_graders", function_timeout=60.0))
    try:
        (found,) = score(worker, group([boxed(r"\frac{10}{2}"), boxed("6")], answer="5"))
    finally:
        worker.close()
    assert [(r.value, r.correct) for r in found] == [(0.5, True), (0.0, False)]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("columns", {"hard": 1}, "wants the column 'difficulty'; the first rows have hard"),
        ("columns", None, "wants the column 'difficulty'; the first rows have none"),
        ("columns", {"difficulty": 3}, "raised KeyError: 'nested'"),
        ("raises", {}, "called with '' and the answer '5': it raised ValueError: could not convert string to float"),
        ("group_one_short", {}, "not a list of 2 results"),
        ("moods", {}, ""),
    ],
)
def test_a_function_is_tried_on_the_first_rows(name: str, row: dict[str, Any] | None, says: str) -> None:
    spec = RewardSpec(function=f"{OWN}:{name}")
    prompts = [replace(prompt(answer="5"), row=row)]
    if not says:
        return check(spec, prompts)
    with pytest.raises(UserError, match=re.escape(says)) as error:
        check(spec, prompts)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"--reward {OWN}:{name}")


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
    assert repr(worker) == "RewardWorker(reward-3)" and worker.ping()["worker"] == "reward-3"


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
    assert worker.stats()["kinds"]["gym"] >= 5


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
