"""vLLM's engine stepped by a thread of this process, with the calls of AsyncLLM that a rollout worker makes.

    event loop --requests, calls--> inbox --> [ take what came | step | hand over what finished ] --> futures

AsyncLLM keeps its engine in a process of its own and sends it every request, and gets every token of every
step back, through a socket. Where the engine computes on the same few cores, that work takes its time from it;
here nothing is sent. Between two steps nothing is in flight, so that a call made
there (new weights, a pause) finds the engine at rest. With GPUs, where the processor has nothing better to
do, workers use AsyncLLM.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actors.runtime.liveness import STEP, Progress

if TYPE_CHECKING:
    from vllm import EngineArgs, PromptType, RequestOutput, SamplingParams
    from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller(Generic[T]):
    """Who waits for a result: a future and the event loop that it belongs to."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]

    @classmethod
    def here(cls) -> "Caller[T]":
        loop = asyncio.get_running_loop()
        return cls(loop, loop.create_future())

    def resolve(self, result: T) -> None:
        """From the engine's thread, like `fail`."""
        self.loop.call_soon_threadsafe(_resolve, self.future, result)

    def fail(self, error: BaseException) -> None:
        self.loop.call_soon_threadsafe(_fail, self.future, error)


@dataclass(frozen=True, slots=True)
class Call:
    """Work for the engine's thread between two steps.

    carry_out: the work, which gives its caller the result. fail: gives it an error instead. request: it adds one to the
    engine, and its caller learns of it in a later step.
    """

    carry_out: Callable[[], None]
    fail: Callable[[BaseException], None]
    request: bool = False


BURST, PAUSE = 0.05, 0.004  # seconds that an idle engine waits for more requests: in all, and for the next


class SteppedEngine:
    """One LLMEngine and its thread. Everything that touches the engine happens on that thread."""

    def __init__(self, args: "EngineArgs", progress: Progress):
        """progress: of steps and calls. Raises what starting the engine raises."""
        self.progress = progress
        self.inbox: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self.waiting: dict[str, Caller[RequestOutput]] = {}
        self.paused = False
        self.ended = False
        self.failure: BaseException | None = None
        started: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, args=(args, started), name="engine", daemon=True)
        self.thread.start()
        error = started.get()
        if error is not None:
            raise error

    # The engine's thread

    def _run(self, args: "EngineArgs", started: "queue.SimpleQueue[BaseException | None]") -> None:
        from vllm.v1.engine.llm_engine import LLMEngine

        try:
            # On this thread: vLLM binds the compute threads of the thread that loads the model.
            self.engine = LLMEngine.from_engine_args(args)
        except BaseException as error:
            started.put(error)
            return
        started.put(None)
        try:
            while self._take(block=self.paused or not self.engine.has_unfinished_requests()):
                if not self.paused and self.engine.has_unfinished_requests():
                    with self.progress.doing(STEP, f"of {len(self.waiting)} sequences"):
                        outputs = self.engine.step()
                    self._hand_over(outputs)
        except BaseException as error:
            self.failure = error
        finally:
            self.ended = True
            self._release()
            self.engine.engine_core.shutdown()

    def _take(self, *, block: bool) -> bool:
        """Do what was asked for since the last step; with nothing to step, wait for it. False: the end.

        Requests that come to an idle engine come in a burst, and start together: steps of a few take as long as
        steps of many.
        """
        wait = None if block else 0.0  # seconds, None: as long as it takes
        latest = float("inf")
        while True:
            try:
                call = self.inbox.get(wait != 0, wait)
            except queue.Empty:
                return True
            if call is None:
                return False
            wait = 0.0
            try:
                with self.progress.doing("carrying out a call to the engine"):
                    call.carry_out()
            except Exception as error:
                call.fail(error)
                continue
            if call.request and block:
                now = time.monotonic()
                latest = min(latest, now + BURST)
                wait = max(0.0, min(PAUSE, latest - now))

    def _hand_over(self, outputs: "list[RequestOutput]") -> None:
        done = [(self.waiting.pop(o.request_id), o) for o in outputs if o.finished and o.request_id in self.waiting]
        if done:  # all of a step at once: each waking of the event loop costs the engine its turn
            done[0][0].loop.call_soon_threadsafe(_resolve_all, done)

    def _release(self) -> None:
        """Calls that still wait end: nothing more will come."""
        error = RuntimeError(f"the engine has ended: {self.failure or 'it was shut down'}")
        waiting: list[Callable[[BaseException], None]] = [caller.fail for caller in self.waiting.values()]
        self.waiting = {}
        with contextlib.suppress(queue.Empty):
            while True:
                if call := self.inbox.get_nowait():
                    waiting.append(call.fail)
        for fail in waiting:
            fail(error)

    # AsyncLLM's calls

    @property
    def errored(self) -> bool:
        """Whether the engine ended by an error of its own."""
        return self.failure is not None

    def _call(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        """The function's result, run between two steps."""
        caller: Caller[T] = Caller.here()
        self._put(Call(lambda: caller.resolve(function()), caller.fail))
        return caller.future

    def _put(self, call: Call) -> None:
        self.inbox.put(call)
        if self.ended:
            self._release()

    async def generate(
        self, prompt: "PromptType", params: "SamplingParams", request_id: str
    ) -> "AsyncIterator[RequestOutput]":
        """The request's final output. Leaving before it has come aborts the request."""
        caller: Caller[RequestOutput] = Caller.here()

        def add() -> None:
            self.engine.add_request(request_id, prompt, params)
            self.waiting[request_id] = caller

        self._put(Call(add, caller.fail, request=True))
        try:
            yield await caller.future
        finally:
            if caller.future.cancelled():
                self._call(lambda: self._abort(request_id))

    def _abort(self, request_id: str) -> None:
        """End a request; who still waits for it gets what it has, with finish_reason "abort", as from AsyncLLM."""
        from vllm.v1.engine import FinishReason

        if (caller := self.waiting.pop(request_id, None)) is None:
            return
        processor = self.engine.output_processor
        for inner in processor.external_req_ids[request_id]:
            state = processor.request_states[inner]
            caller.resolve(state.make_request_output([], None, FinishReason.ABORT, None))
        self.engine.abort_request([request_id])

    async def abort(self, request_ids: list[str]) -> None:
        def abort_all() -> None:
            for request_id in request_ids:
                self._abort(request_id)

        await self._call(abort_all)

    async def is_paused(self) -> bool:
        """Answered between two steps, so an engine that hangs does not answer."""
        return await self._call(lambda: self.paused)

    async def pause_generation(self, *, mode: str, clear_cache: bool = True) -> None:
        """No step until `resume_generation`; requests stay where they are (mode "keep", the only one here)."""
        if mode != "keep":
            raise ValueError(f"pause_generation: mode must be 'keep' (got {mode!r})")

        def pause() -> None:
            self.paused = True
            if clear_cache:
                self.engine.reset_prefix_cache()

        await self._call(pause)

    async def resume_generation(self) -> None:
        await self._call(lambda: setattr(self, "paused", False))

    async def collective_rpc(
        self, method: str, *, args: tuple[object, ...] = (), kwargs: dict[str, object] | None = None
    ) -> list[Any]:
        return await self._call(lambda: self.engine.collective_rpc(method, args=args, kwargs=kwargs))

    async def init_weight_transfer_engine(self, request: "WeightTransferInitRequest") -> None:
        await self.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": request.init_info})

    async def start_weight_update(self) -> None:
        await self.collective_rpc("start_weight_update")

    async def update_weights(self, request: "WeightTransferUpdateRequest") -> None:
        await self.collective_rpc("update_weights", kwargs={"update_info": request.update_info})

    async def finish_weight_update(self, weight_version: str | None = None) -> None:
        def finish() -> None:
            self.engine.collective_rpc("finish_weight_update")
            if weight_version is not None:
                self.engine.set_weight_version(weight_version)

        await self._call(finish)

    async def update_weight_version(self, new_version: str) -> None:
        await self._call(lambda: self.engine.set_weight_version(new_version))

    async def reset_prefix_cache(self, reset_running_requests: bool = False) -> bool:
        return await self._call(lambda: self.engine.reset_prefix_cache(reset_running_requests))

    def shutdown(self) -> None:
        """End the thread after its current step, and the engine with it."""
        self.inbox.put(None)
        self.thread.join()


def _resolve(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():  # else the caller has gone
        future.set_result(result)


def _fail(future: "asyncio.Future[T]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _resolve_all(done: "list[tuple[Caller[RequestOutput], RequestOutput]]") -> None:
    for caller, output in done:
        _resolve(caller.future, output)
