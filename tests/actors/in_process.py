"""Actors that live in this process, on a clock that jumps: what takes workers minutes takes a test milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

from actors.runtime.liveness import Progress
from actors.runtime.replies import PingReply, WorkerInfo

INFO = WorkerInfo("in-process-0", None, "")  # there is no process to end


class Jumping(selectors.DefaultSelector):
    """Waits for nothing: the loop's clock is put forward instead."""

    now = 0.0

    def select(self, timeout=None):
        if timeout:
            self.now += timeout
        return super().select(0)


def run(work: Coroutine[Any, Any, Any], *, limit: float = 1e6) -> Any:
    """The result of `work`, on an event loop whose clock jumps. limit: seconds of that clock."""
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(asyncio.wait_for(work, limit))


def actor_error() -> Exception:
    import ray

    return ray.exceptions.RayActorError()


def alive(progress: Progress) -> PingReply:
    return PingReply(INFO, progress.report())


class InProcess:
    """A worker as an actor: `actor.method.options(...).remote(...)`. `end` is what `ray.kill` does."""

    def __init__(self, worker: Any):
        self._worker, self._calls, self.ended = worker, set(), False

    def __getattr__(self, method: str) -> "Method":
        return Method(self, method)

    def end(self) -> None:
        self.ended = True
        gone = actor_error()
        for call in list(self._calls):
            if not call.done():
                call.set_exception(gone)


class Method:
    def __init__(self, actor: InProcess, name: str):
        self.actor, self.name = actor, name

    def options(self, **_: Any) -> "Method":
        return self

    def remote(self, *args: Any, **named: Any) -> "asyncio.Future[Any]":
        answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.actor.ended:
            answer.set_exception(actor_error())
            return answer
        self.actor._calls.add(answer)
        task = asyncio.ensure_future(self._call(*args, **named))

        def done(task: "asyncio.Task[Any]") -> None:
            if answer.done() or task.cancelled():
                return
            if error := task.exception():
                answer.set_exception(error)
            else:
                answer.set_result(task.result())

        task.add_done_callback(done)
        return answer

    async def _call(self, *args: Any, **named: Any) -> Any:
        found = getattr(self.actor._worker, self.name)(*args, **named)
        return await found if asyncio.iscoroutine(found) else found
