"""What a Ctrl-C does, step by step, in one process."""

import asyncio
import signal
import threading

import pytest

from srm_ray.console import interrupts
from srm_ray.console.interrupts import Interrupts


@pytest.fixture
def said(monkeypatch) -> list[str]:
    words: list[str] = []
    monkeypatch.setattr(interrupts, "_report", words.append)
    monkeypatch.setattr(interrupts, "end_at_once", lambda text: words.append(f"end: {text}"))
    return words


def test_without_an_event_loop_the_main_thread_is_interrupted() -> None:
    state = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        state.on_signal(2, None)
    state.on_signal(2, None)  # a second one is not Python's to hear


def test_an_event_loop_that_waits_has_its_main_task_cancelled() -> None:
    state, ends = Interrupts(), []

    async def main() -> None:
        state.loop, state.main = asyncio.get_running_loop(), asyncio.current_task()
        asyncio.get_running_loop().call_later(0.01, state.on_signal, 2, None)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # what ends in order may wait
            ends.append("cleaned")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert ends == ["cleaned"] and not state.insisted


def test_the_first_is_told_and_the_second_ends_at_once(said) -> None:
    state = Interrupts(advice=[lambda: "the same command goes on after step 3"])
    state.delivered.set()
    state.count_one(signal.SIGINT)
    assert state.announced.is_set() and said[0].startswith("interrupted: ")
    state.count_one(signal.SIGINT)
    assert said[1].startswith("end: ended at once")


def test_a_signal_of_our_own_does_not_count(said) -> None:
    state = Interrupts(own=1)
    state.count_one(signal.SIGINT)
    assert (state.count, said) == (0, [])


def test_a_main_thread_that_never_hears_is_ended(said, monkeypatch) -> None:
    monkeypatch.setattr(interrupts, "STUCK_AFTER", 0.01)
    state = Interrupts()
    state._expect()
    assert "a library does not end in order" in said[0]


def test_the_innermost_advice_is_given(monkeypatch) -> None:
    monkeypatch.setattr(interrupts, "_interrupts", Interrupts())
    assert interrupts.how_to_go_on() == interrupts.NOTHING_SAVED
    with interrupts.advising(lambda: "outer"):
        with interrupts.advising(lambda: "inner"):
            assert interrupts.how_to_go_on() == "inner"
        assert interrupts.how_to_go_on() == "outer"


def test_work_in_a_thread_gives_its_result_and_its_error() -> None:
    assert interrupts.in_thread(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        interrupts.in_thread(lambda: 1 // 0)


def test_work_that_goes_on_after_an_interrupt_is_known_to(monkeypatch) -> None:
    """`Thread.join`, interrupted, says of a thread that runs that it has ended."""
    state, free = Interrupts(), threading.Event()
    monkeypatch.setattr(interrupts, "_interrupts", state)
    before = signal.signal(signal.SIGALRM, state.on_signal)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            interrupts.in_thread(lambda: free.wait(60))
        assert interrupts.work_goes_on()
    finally:
        signal.signal(signal.SIGALRM, before)
        free.set()
    assert state.worked is not None and state.worked.wait(10) and not interrupts.work_goes_on()
