"""A worker that makes progress is never taken for hung, however slow; one that makes none is, and why is said."""

import asyncio

import pytest

from actors.runtime.liveness import LOADING, STARTING, STEP, Hung, Pace, Progress, Rules, Watched
from tests.actors.in_process import alive, run

RULES = Rules(usual=60.0, every=5.0)


async def no_cpu(tree):
    return None


def watched(progress, rules=RULES, cpu=no_cpu, latency=0.0):
    async def ask():
        await asyncio.sleep(latency)
        return alive(progress)

    return Watched(ask, rules, cpu)


async def watch(one, seconds):
    """Look at it for so long, as a watchdog does."""
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        await one.check()
        await asyncio.sleep(one.rules.every)


async def steps(progress, *lengths):
    for number, length in enumerate(lengths):
        with progress.doing(STEP, f"of {number} sequences"):
            await asyncio.sleep(length)


def test_steps_of_minutes_are_progress():
    """A first step of nine minutes (compilation), then ever slower ones, far above `hung_after`."""
    progress = Progress()

    async def both():
        lengths = (500, 20, 100, 120, 400, 900, 1500)
        working = asyncio.ensure_future(steps(progress, *lengths))
        await watch(watched(progress), sum(lengths))
        await working

    run(both())


def test_a_long_activity_that_steps_is_progress():
    progress = Progress()

    async def both():
        one = watched(progress, Rules(60.0, 5.0, floors={STARTING: (600.0, "x")}))
        watching = asyncio.ensure_future(watch(one, 2000))
        with progress.doing(STARTING, "(importing)") as starting:
            for stage in "abcd":
                await asyncio.sleep(500)
                starting.step(f"({stage})")
        await watching

    run(both())


@pytest.mark.parametrize(("longest", "limit"), [(1, 60), (40, 200)])
def test_a_step_that_never_ends_is_found_by_what_was_seen(longest, limit):
    progress = Progress()

    async def both():
        one = watched(progress)
        working = asyncio.ensure_future(steps(progress, longest, longest, 1e9))
        began = asyncio.get_running_loop().time()
        with pytest.raises(Hung, match=r"made no progress for \d+ s while computing an engine step of 2 sequences"):
            await watch(one, 1e6)
        working.cancel()
        return asyncio.get_running_loop().time() - began - 2 * longest

    assert limit <= run(both()) <= 1.3 * limit + 15


def test_who_takes_anothers_place_is_given_its_pace():
    """A short first step, then one as long as the other's were."""
    pace = Pace()

    async def both():
        for lengths in (50, 100), (1, 240):
            progress = Progress()
            one = watched(progress)
            one.pace = pace
            working = asyncio.ensure_future(steps(progress, *lengths))
            await watch(one, sum(lengths))
            await working

    run(both())


def test_a_first_step_that_never_ends_is_found_later():
    progress = Progress()

    async def both():
        working = asyncio.ensure_future(steps(progress, 1e9))
        with pytest.raises(Hung, match=r"limit 600 s; recovery\.hung_after raises it"):
            await watch(watched(progress), 1e6)
        working.cancel()
        return asyncio.get_running_loop().time()

    assert 600 <= run(both()) <= 620


def test_who_answers_late_is_slow_and_who_never_answers_is_gone():
    async def slow():
        await watch(watched(Progress(), latency=50.0), 3000)

    run(slow())

    async def silent():
        one = watched(Progress())
        await one.check()
        one.ask = lambda: asyncio.get_running_loop().create_future()
        with pytest.raises(Hung, match=r"did not answer for \d+ s \(limit 60 s"):
            await watch(one, 1e6)
        return asyncio.get_running_loop().time()

    assert 60 <= run(silent()) <= 80


def test_who_never_answered_is_given_the_time_of_a_start():
    async def silent():
        one = watched(Progress(), Rules(60.0, 5.0, floors={STARTING: (600.0, "rollout.start_timeout")}))
        one.ask = lambda: asyncio.get_running_loop().create_future()
        with pytest.raises(Hung, match=r"did not answer for .*rollout\.start_timeout raises it"):
            await watch(one, 1e6)
        return asyncio.get_running_loop().time()

    assert 600 <= run(silent()) <= 620


def test_who_has_started_is_given_no_more_than_the_others():
    """It hangs before anybody has asked it anything, or was last heard of while it started."""

    async def silent(heard: bool):
        progress = Progress()
        one = watched(progress, Rules(60.0, 5.0, floors={STARTING: (600.0, "rollout.start_timeout")}))
        if heard:
            progress.begin(STARTING)
            await one.check()
        one.started()
        one.ask = lambda: asyncio.get_running_loop().create_future()
        began = asyncio.get_running_loop().time()
        with pytest.raises(Hung, match=r"did not answer for \d+ s \(limit 60 s; recovery\.hung_after raises it"):
            await watch(one, 1e6)
        return asyncio.get_running_loop().time() - began

    assert 60 <= run(silent(False)) <= 80 and 60 <= run(silent(True)) <= 80


def test_a_slow_start_makes_nobody_slow_afterwards():
    async def silent():
        progress = Progress()
        one = watched(progress, Rules(60.0, 5.0, floors={STARTING: (600.0, "rollout.start_timeout")}))
        started = progress.begin(STARTING)
        await one.check()
        answers = one.ask

        async def late():
            await asyncio.sleep(300.0)
            return await answers()

        one.ask = late
        while not await one.check():
            pass
        progress.end(started)
        one.ask = answers
        await one.check()
        assert one.pace.slowest < 60
        one.ask = lambda: asyncio.get_running_loop().create_future()
        began = asyncio.get_running_loop().time()
        with pytest.raises(Hung, match=r"did not answer for \d+ s \(limit 60 s; recovery\.hung_after raises it"):
            await watch(one, 1e6)
        return asyncio.get_running_loop().time() - began

    assert 60 <= run(silent()) <= 80


def test_who_was_asked_while_it_started_and_answers_afterwards_is_not_slow():
    """Its start is reported before the answer to a question that imports have held up."""

    async def asked():
        progress = Progress()
        one = watched(progress, Rules(60.0, 5.0, floors={STARTING: (600.0, "rollout.start_timeout")}), latency=220.0)
        with progress.doing(STARTING, "(importing vLLM)"), progress.doing("carrying out a call to the engine"):
            for _ in range(20):
                assert not await one.check()
                await asyncio.sleep(5.0)
        one.started()
        while not await one.check():
            pass
        return one.pace

    assert run(asked()).slowest < 30


def test_who_is_silent_while_it_starts_is_loading_libraries():
    """From a slow disk, which holds up every thread of it."""

    async def silent():
        progress = Progress()
        one = watched(progress, Rules(60.0, 5.0, floors={STARTING: (600.0, "rollout.start_timeout")}))
        with progress.doing(STARTING, "(importing vLLM)"):
            await one.check()
            one.ask = lambda: asyncio.get_running_loop().create_future()
            with pytest.raises(Hung, match=r"last seen starting \(importing vLLM\).*start_timeout raises it"):
                await watch(one, 1e6)
        return asyncio.get_running_loop().time()

    assert 600 <= run(silent()) <= 620


@pytest.mark.parametrize(
    ("share", "counts", "ended"),
    [(0.9, "steps", False), (0.0, "steps", True), (0.9, "silence", True), (0.9, "", True)],
)
def test_processor_time_is_a_sign_of_work_where_it_proves_any(share, counts, ended):
    """One native call of ten minutes on a CPU; a GPU's driver would spin as well when it hangs."""
    progress = Progress()

    async def cpu(tree):
        return share * asyncio.get_running_loop().time()

    async def both():
        one = watched(progress, Rules(60.0, 5.0, cpu=counts), cpu)
        working = asyncio.ensure_future(steps(progress, 1, 1, 550))
        try:
            await watch(one, 560)
        finally:
            working.cancel()

    if ended:
        with pytest.raises(Hung):
            run(both())
    else:
        run(both())


def test_work_that_is_large_is_given_longer():
    progress = Progress()

    async def both():
        one = watched(progress, Rules(60.0, 5.0, floors={LOADING: (120.0, "weights.push_timeout")}))
        with progress.doing(LOADING, "of version 3", allowance=700.0):
            await watch(one, 650)
        with (
            progress.doing(LOADING, "of version 4"),
            pytest.raises(Hung, match=r"loading weights of version 4.*weights\.push_timeout"),
        ):
            await watch(one, 1e6)

    run(both())


def test_a_pause_of_the_whole_machine_is_nobodys_fault():
    progress = Progress()

    async def both():
        one = watched(progress)
        working = asyncio.ensure_future(steps(progress, 1, 1e9))
        await watch(one, 30)
        asyncio.get_running_loop()._selector.now += 3600  # as after SIGSTOP and SIGCONT of all processes
        await watch(one, 10)
        working.cancel()

    run(both())
