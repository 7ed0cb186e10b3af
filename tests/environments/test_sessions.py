"""Episodes in processes of their own: what hangs, dies or fills memory costs its episode alone."""

import asyncio
import os
import sysconfig
import venv
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from srm_ray.environments.contract import BadEnvironment
from srm_ray.environments.sessions import EnvironmentSpec, EpisodeFailed, Session, Sessions
from srm_ray.rl.types import ToolCall

pytestmark = pytest.mark.integration
HERE = "tests.environments.samples:"


def with_sessions(spec: EnvironmentSpec, work: Callable[[Sessions], Awaitable[None]]) -> None:
    async def run() -> None:
        sessions = Sessions(spec)
        try:
            await sessions.start()
            await work(sessions)
        finally:
            sessions.close()

    asyncio.run(run())


async def called(session: Session, name: str, **arguments: object) -> ToolCall:
    (made,) = await session.call([ToolCall(name, dict(arguments))])
    return made


def test_episodes_are_apart_and_one_that_fails_costs_no_other() -> None:
    async def work(sessions: Sessions) -> None:
        one, hangs, dies, grows = [await sessions.open() for _ in range(4)]
        for session in (one, hangs, dies, grows):
            assert await session.reset({"goal": 2}, 1) == " Count to 2."
        assert len({session.worker.pid for session in (one, hangs, dies, grows)}) == 4
        assert (await called(one, "increment", by=1)).result == "1"
        failing = [called(hangs, "slowly", seconds=3600), called(dies, "die")]
        found = await asyncio.gather(*failing, return_exceptions=True)
        assert [failed.reason for failed in found if isinstance(failed, EpisodeFailed)] == ["timeout", "worker_died"]
        full = await called(grows, "grow")
        assert full.error and "MemoryError" in full.result
        assert (await called(one, "increment", by=1)).result == "2", "and it goes on where it was"
        assert (await one.reward()).reward == 1.0
        pids = [session.worker.pid for session in (one, hangs, dies, grows)]
        await asyncio.gather(*(sessions.end_of(session) for session in (one, hangs, dies, grows)))
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
        fresh = await sessions.open()
        assert await fresh.reset({"goal": 1}, 1) == " Count to 1."
        assert (await called(fresh, "increment", by=1)).result == "1", "no state is left from another episode"

    with_sessions(EnvironmentSpec(HERE + "Counter", timeout=15.0, memory=1 << 29), work)


def test_no_more_at_once_than_may_be() -> None:
    async def work(sessions: Sessions) -> None:
        first = await sessions.open()
        waiting = asyncio.ensure_future(sessions.open())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await sessions.end_of(first)
        await waiting

    with_sessions(EnvironmentSpec(HERE + "Guess", at_once=1), work)


async def nothing(sessions: Sessions) -> None: ...


def test_what_cannot_be_used_is_said_in_one_line() -> None:
    with pytest.raises(BadEnvironment, match="has no reset"):
        with_sessions(EnvironmentSpec(HERE + "NoReset"), nothing)


def test_an_exception_of_the_environment_s_fails_the_episode_and_says_which() -> None:
    async def work(sessions: Sessions) -> None:
        session = await sessions.open()
        await session.reset({}, 1)
        with pytest.raises(EpisodeFailed, match="step must return"):
            await session.step("x")

    with_sessions(EnvironmentSpec(HERE + "BadStep"), work)


ELSEWHERE = """
import importlib.util

class There:
    def reset(self, seed: int) -> str:
        return "numpy" if importlib.util.find_spec("numpy") else "nothing of the other one"
    def step(self, text: str) -> tuple[str, float, bool]:
        return "", float(text == "a"), True
"""


def test_an_environment_that_another_python_has(tmp_path: Path) -> None:
    """A Python environment with pydantic and the class, and nothing else that this one has."""
    venv.create(tmp_path / "other", symlinks=True)
    python, ours = str(tmp_path / "other" / "bin" / "python"), Path(sysconfig.get_path("purelib"))
    packages = next((tmp_path / "other").glob("lib/python*/site-packages"))
    with pytest.raises(BadEnvironment, match="pip install pydantic"):
        with_sessions(EnvironmentSpec("there:There", python=python), nothing)
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions.py"):
        (packages / name).symlink_to(ours / name)
    (packages / "there.py").write_text(ELSEWHERE)

    async def work(sessions: Sessions) -> None:
        session = await sessions.open()
        assert await session.reset({}, 1) == "nothing of the other one"
        assert (await session.step("a")).done and (await session.reward()).reward == 1.0

    with_sessions(EnvironmentSpec("there:There", python=python), work)
    with pytest.raises(BadEnvironment, match="there is no module there"):
        with_sessions(EnvironmentSpec("there:There"), nothing)
    with pytest.raises(BadEnvironment, match=r"transformers describes tools, and .* lacks it"):
        with_sessions(EnvironmentSpec(HERE + "Counter", python=python), nothing)
    with pytest.raises(BadEnvironment, match="cannot be run: No such file"):
        with_sessions(EnvironmentSpec("there:There", python=str(tmp_path / "none")), nothing)
