"""Episodes in killable processes: one process an episode, forked from one that has imported the user's modules.

    Sessions.open() -> Session --reset, call, step, reward--> process (srm_ray.environments.process)

A call that takes too long, and a process that dies, cost their episode: `EpisodeFailed`, whose reason is a word of
`rewards.verdict.REASONS`. No thread waits for an environment, so that as many episodes as there is memory for are under
way at once. Processes die with their forkserver, and that with its owner.
"""

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewards.sandbox.processes import HEADER, MAX_MESSAGE, Died, Forkserver, Worker
from srm_ray.environments.contract import BadEnvironment, Contract
from srm_ray.rl.types import ToolCall

SERVE = "srm_ray.environments.process:serve"
LIGHT = ("srm_ray.environments.process", "pydantic")
PACKAGES = ("rewards", "srm_ray")  # that another interpreter is shown
TRY = "import sys, pydantic; assert sys.version_info >= (3, 11), 'Python 3.11 or newer is needed'"
START_TIMEOUT = 120.0  # seconds to import the user's modules
CHECK_MEMORY = 4 << 30  # bytes of address space of the process that checks, at least: it describes tools, once


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What episodes are played with.

    name: "package.module:Class", or "" for tools alone. tools: "package.module:function" each. timeout: seconds of one
    call. memory: bytes of address space of an episode's process. characters: most of one answer that a model sees.
    at_once: episodes under way at once. python: interpreter of another Python environment, "" for this one.
    """

    name: str
    tools: tuple[str, ...] = ()
    timeout: float = 30.0
    memory: int = 4 << 30
    characters: int = 8000
    at_once: int = 256
    python: str = ""

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(each for each in (self.name, *self.tools) if each)

    def forkserver(self, *objects: str) -> Forkserver:
        """That forks an episode's process. objects: what it imports first."""
        return Forkserver((*LIGHT, *objects), self.python, PACKAGES)


@dataclass(frozen=True, slots=True)
class Step:
    """What `step` answered. seconds: that it took."""

    observation: str
    reward: float
    done: bool
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an environment gives an episode; correct: whether it is right, where it says so itself."""

    reward: float | None
    correct: bool | None = None


class EpisodeFailed(Exception):
    """The environment cannot go on. reason: "timeout", "worker_died" or "environment_error"."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Session:
    """One episode's process. Not for two calls at once."""

    def __init__(self, worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float):
        self.worker, self.reader, self.writer, self.timeout = worker, reader, writer, timeout
        self.seconds = 0.0  # of the newest call
        self.idle = True  # no call is under way, and none has failed

    async def reset(self, row: dict[str, Any], seed: int) -> str | None:
        found: str | None = await self.ask("reset", row, seed)
        return found

    async def call(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls with their results, made one after the other; those that could not be read are left as they are."""
        made = []
        for one in calls:
            if not one.error:
                result, error = await self.ask("call", one.name, one.arguments)
                one = replace(one, result=result, error=error, seconds=self.seconds)
            made.append(one)
        return tuple(made)

    async def step(self, text: str) -> Step:
        return Step(**await self.ask("step", text), seconds=self.seconds)

    async def reward(self) -> Outcome:
        found = await self.ask("reward")
        return Outcome(None) if found is None else Outcome(*found)

    async def ask(self, what: str, *arguments: Any, timeout: float = 0.0) -> Any:
        """Raises `EpisodeFailed`, after which the session is of no use."""
        limit = timeout or self.timeout
        body = json.dumps([what, *arguments], default=str).encode()
        began, self.idle = time.monotonic(), False
        try:
            async with asyncio.timeout(limit):
                self.writer.write(HEADER.pack(len(body)) + body)
                await self.writer.drain()
                (size,) = HEADER.unpack(await self.reader.readexactly(HEADER.size))
                if size > MAX_MESSAGE:
                    raise EpisodeFailed("environment_error", f"{what} answered with {size:,} bytes")
                kind, answer, _ = json.loads(await self.reader.readexactly(size))
        except TimeoutError:
            raise EpisodeFailed("timeout", f"{what} took more than {limit:g} s") from None
        except (asyncio.IncompleteReadError, OSError):
            died = f"the environment's process died in {what} (environment.memory_gb limits it)"
            raise EpisodeFailed("worker_died", died) from None
        self.seconds = time.monotonic() - began
        if kind == "bad":
            raise BadEnvironment(answer)
        if kind == "failed":
            raise EpisodeFailed("environment_error", f"{what}: {answer}")
        self.idle = True
        return answer

    async def end(self) -> None:
        """Kill the process, whatever it is doing."""
        self.writer.transport.abort()
        await asyncio.to_thread(self.worker.forkserver.kill, self.worker.pid)


class LocalPlayer:
    """An episode on `Sessions` of this process; its own process starts with `reset`."""

    def __init__(self, sessions: "Sessions"):
        self.sessions = sessions
        self.session: Session | None = None

    async def reset(self, row: dict[str, Any], seed: int) -> str | None:
        self.session = await self.sessions.open()
        return await self.session.reset(row, seed)

    async def call(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        return await self._begun.call(calls)

    async def step(self, text: str) -> Step:
        return await self._begun.step(text)

    async def reward(self) -> Outcome:
        return await self._begun.reward()

    @property
    def _begun(self) -> Session:
        assert self.session is not None, "reset comes first"
        return self.session


def check_python(python: str) -> None:
    """Raises `BadEnvironment` where an interpreter cannot serve."""
    try:
        tried = subprocess.run([python, "-c", TRY], capture_output=True, text=True, timeout=START_TIMEOUT, check=False)
    except OSError as error:
        raise BadEnvironment(f"environment.python {python} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise BadEnvironment(f"environment.python {python} does not answer") from None
    if tried.returncode:
        problem = tried.stderr.strip().splitlines()[-1:] or [f"it ends with status {tried.returncode}"]
        wanted = f"{python} -m pip install pydantic" if "pydantic" in problem[0] else "give another one"
        raise BadEnvironment(f"environment.python {python}: {problem[0]} ({wanted})")


class Sessions:
    """Opens episodes. `start` before anything else; `close` ends all."""

    def __init__(self, spec: EnvironmentSpec):
        self.spec = spec
        self.forkserver: Forkserver | None = None
        self.contract: Contract | None = None
        self.open_sessions: set[Session] = set()
        self.slots = asyncio.Semaphore(spec.at_once)

    async def start(self) -> Contract:
        """Check the environment, in a process of its own. Raises `BadEnvironment`."""
        if self.spec.python:
            await asyncio.to_thread(check_python, self.spec.python)
        first = self.spec.forkserver()
        try:
            session = await self._session(first, max(self.spec.memory, CHECK_MEMORY))
            plain = await session.ask("load", *self._named, None, timeout=START_TIMEOUT)
        except EpisodeFailed as failed:
            raise BadEnvironment(f"{self.spec.name or self.spec.tools[0]}: {failed.detail}") from None
        finally:
            await asyncio.to_thread(first.close)
        self.contract = Contract.of(plain)
        self.forkserver = self.spec.forkserver(*self.spec.objects)
        return self.contract

    @property
    def _named(self) -> tuple[str, list[str], int]:
        return self.spec.name, list(self.spec.tools), self.spec.characters

    async def open(self) -> Session:
        """A process for one episode; waits while there are as many as may be. `end_of` it, whatever happens."""
        assert self.forkserver is not None and self.contract is not None, "start comes first"
        await self.slots.acquire()
        try:
            session = await self._session(self.forkserver, self.spec.memory)
            self.open_sessions.add(session)
        except BaseException:
            self.slots.release()
            raise
        try:
            await session.ask("load", *self._named, self.contract.plain(), timeout=START_TIMEOUT)
        except BaseException:
            await self.end_of(session)
            raise
        return session

    @contextlib.asynccontextmanager
    async def player(self) -> AsyncIterator[LocalPlayer]:
        """For one episode, whose process ends with the context."""
        player = LocalPlayer(self)
        try:
            yield player
        finally:
            if player.session is not None:
                await self.end_of(player.session)

    async def end_of(self, session: Session) -> None:
        """The episode is over: its object may close what it has open, then its process is killed."""
        if session not in self.open_sessions:
            return
        self.open_sessions.discard(session)
        self.slots.release()
        try:
            if self.contract is not None and self.contract.closes and session.idle:
                with contextlib.suppress(EpisodeFailed):  # it is over all the same
                    await session.ask("close")
        finally:
            await session.end()

    async def _session(self, forkserver: Forkserver, memory: int) -> Session:
        try:
            worker = await asyncio.to_thread(Worker, forkserver, SERVE, memory)
        except Died as died:
            raise EpisodeFailed("worker_died", f"no process could be started: {died}") from None
        reader, writer = await asyncio.open_connection(sock=worker.sock)
        return Session(worker, reader, writer, self.spec.timeout)

    def close(self) -> None:
        for session in self.open_sessions:
            session.writer.transport.abort()
        self.open_sessions.clear()
        if self.forkserver is not None:
            self.forkserver.close()
