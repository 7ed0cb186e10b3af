"""Environment worker: the processes in which episodes are played (srm_ray.environments.sessions).

    driver --open, call, step, reward, finish, by the episode's ticket--> EnvironmentWorker --> a process an episode

It waits for environments without threads, so that as many episodes as there is memory for are under way. What an
environment does wrong is an answer (`Failed`), never an exception of the actor's.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.runtime import env
from actors.runtime.labels import node_id
from actors.runtime.liveness import STARTING, Progress
from actors.runtime.replies import PingReply, WorkerInfo
from srm_ray.environments.sessions import EnvironmentSpec, EpisodeFailed, Outcome, Session, Sessions, Step
from srm_ray.rl.types import ToolCall

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an episode cannot go on; see `EpisodeFailed`."""

    reason: str
    detail: str


class EnvironmentWorker:
    """A plain class; `ray.remote` where it is spawned (an async actor). `start` before anything else."""

    def __init__(self, index: int, spec: EnvironmentSpec):
        self.name, self.spec, self.node = f"environment-{index}", spec, node_id()
        env.keep_log(self.name)
        self.progress = Progress()
        self.sessions: Sessions | None = None
        self.playing: dict[int, Session] = {}
        self.over: set[int] = set()  # episodes that ended before their process had started
        self.loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"EnvironmentWorker({self.name})"

    async def start(self) -> WorkerInfo:
        self.loop = asyncio.get_running_loop()
        with self.progress.doing(STARTING, "(importing the environment)"):
            self.sessions = Sessions(self.spec)
            await self.sessions.start()
        return WorkerInfo(self.name, os.getpid(), self.node)

    async def open(self, ticket: int, row: dict[str, Any], seed: int) -> str | Failed | None:
        """Begin an episode, once a slot is free. Returns the observation of `reset`."""
        assert self.sessions is not None, "start comes first"
        try:
            session = await self.sessions.open()
        except EpisodeFailed as failed:
            return self._failed(ticket, failed)
        if ticket in self.over:
            self.over.discard(ticket)
            await self.sessions.end_of(session)
            return Failed("worker_died", "the episode ended before it began")
        self.playing[ticket] = session
        return await self._ask(ticket, session.reset(row, seed))

    async def call(self, ticket: int, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...] | Failed:
        return await self._ask(ticket, self.playing[ticket].call(calls))

    async def step(self, ticket: int, text: str) -> Step | Failed:
        return await self._ask(ticket, self.playing[ticket].step(text))

    async def reward(self, ticket: int) -> Outcome | Failed:
        return await self._ask(ticket, self.playing[ticket].reward())

    async def finish(self, ticket: int) -> None:
        """The episode is over, wherever it is."""
        session = self.playing.pop(ticket, None)
        if session is None:
            self.over.add(ticket)
        elif self.sessions is not None:
            await self.sessions.end_of(session)

    async def _ask(self, ticket: int, question: Awaitable[T]) -> T | Failed:
        try:
            return await question
        except EpisodeFailed as failed:
            return self._failed(ticket, failed)

    def _failed(self, ticket: int, failed: EpisodeFailed) -> Failed:
        logger.warning("%s: episode %d: %s: %s", self.name, ticket, failed.reason, failed.detail)
        return Failed(failed.reason, failed.detail)

    async def hand_back(self) -> None:
        """Nothing to hand back: episodes end by themselves."""

    def ping(self) -> PingReply:
        """Who and where this is; asked for in a thread of its own."""
        if self.loop is not None and not self.loop.is_closed():
            turn = self.progress.begin("turning the event loop")
            self.loop.call_soon_threadsafe(self.progress.end, turn)
        return PingReply(WorkerInfo(self.name, os.getpid(), self.node), self.progress.report())

    async def close(self) -> None:
        if self.sessions is not None:
            self.sessions.close()
