"""The reward worker under load: a hung sample delays no other, killed processes lose nothing, no process is left."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from actors.reward.spec import RewardSpec
from actors.reward.worker import RewardWorker
from rewards.verdict import REASONS, Reward
from srm_ray.rl.types import Group
from tests.actors.graded_groups import OWN, SQUARE, boxed, fenced, group, score
from tests.process_tree import children_of, gone
from tests.rewards.hostile_answers import HOSTILE

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
    assert stats.scored == 20_000 + 4 * len(HOSTILE) and set(stats.queued.values()) == {0}
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
    assert times[0] >= 3.0 and max(times[1:]) < times[0]


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
    assert ray.get(actor.ping.remote(), timeout=300).info.worker == "reward-1"
    rewards = ray.get(actor.score.remote(group([boxed(text) for text in HOSTILE], answer="123456789")), timeout=400)
    assert len(rewards) == len(HOSTILE) and all(r.correct is not True for r in rewards)
    code = ray.get(actor.score.remote(group([fenced("def f(x): return 49")], tests=SQUARE)), timeout=300)
    assert code[0].correct is True
    stats = ray.get(actor.stats.remote())
    assert stats.scored == len(HOSTILE) + 1 and stats.seconds["correct"].p99 > 0
    started = set(ray.get(actor.pids.remote()))
    running = actor.score.remote(group([fenced("while True: pass")], tests=SQUARE))
    time.sleep(1)
    ray.kill(actor)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(running, timeout=120)
    assert started and gone(started)
    again = remote.remote(spec, 1)
    assert ray.get(again.score.remote(group([boxed("5")], answer="5")), timeout=300)[0].correct is True
    ray.get(again.close.remote())
