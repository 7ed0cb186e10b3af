"""RolloutWorker: one vLLM engine in one Ray actor. Prompt in, G completions out.

    driver --prompt, seeds--> RolloutWorker --requests--> vLLM (GPU: AsyncLLM; CPU: actors/rollout/in_process_engine.py)
    driver --WeightUpdate---> RolloutWorker --pause, load, resume--> vLLM

Each completion is a request of its own with its own seed: vLLM's prefix cache shares the prompt, the
engine's batch stays full, and a completion's tokens do not depend on what else is in flight.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.rollout.completions import join, nothing_yet, token_versions
from actors.rollout.engine_env import prepare_environment
from actors.rollout.engine_spec import EngineSpec, engine_args
from actors.rollout.in_process_engine import SteppedEngine
from actors.rollout.requests import sampling_params
from actors.runtime import env
from actors.runtime.labels import STARTING, describe, node_id, show_status
from actors.runtime.liveness import LOADING, STEP, Activity, Progress
from actors.runtime.liveness import STARTING as START
from actors.runtime.replies import PingReply, WorkerInfo
from srm_ray.inference.completers import Sampling
from srm_ray.process import memory, scratch
from srm_ray.process.imports import quick_imports
from srm_ray.rl.seeds import continued_seed
from srm_ray.rl.types import Completion
from srm_ray.weights import ipc
from srm_ray.weights.flat import SharedFile, TensorSpec, WeightUpdate, digest, plain

if TYPE_CHECKING:
    from vllm import CompletionOutput, RequestOutput, SamplingParams, TokensPrompt
    from vllm.v1.engine.async_llm import AsyncLLM


SLOWEST_LOAD = 20e6  # bytes a second, of weights
GONE = "weights of version {} are gone with the learner that published them"


class WeightsGoneError(RuntimeError):
    """The learner that published the weights is no more, and the weights with it."""


class RolloutWorker:
    """An engine and the weights it holds. `start` before anything else."""

    def __init__(self, index: int, spec: EngineSpec):
        self.name = f"{spec.role}-{index}"
        env.keep_log(self.name)
        self.node = node_id()
        self.spec = spec
        self.version = 0
        self.state = STARTING
        self.in_flight = 0
        self._engine: AsyncLLM | SteppedEngine | None = None
        self.pulled: dict[str, SharedFile] = {}  # weights that came from another node: "" and, of an adapter, "base"
        self.active: set[str] = set()  # request ids
        self.leaving = False
        self.calls: dict[int, asyncio.Future[list[Completion]]] = {}  # of `generate`, by ticket
        self._request_numbers = itertools.count()
        self._loading = asyncio.Lock()
        self.progress = Progress()
        self._loop: asyncio.AbstractEventLoop | None = None  # once the engine has started
        self._turning = False
        self._layout: tuple[TensorSpec, ...] = ()  # of the weights that the engine loaded last
        self._base = ""  # digest of what the engine adds adapters to

    def __repr__(self) -> str:
        return describe("RolloutWorker", self.name, self.version, self.state)

    async def start(self) -> WorkerInfo:
        """Start the engine: 20 to 60 s."""
        prepare_environment(self.spec)
        with self.progress.doing(START, "(importing vLLM)") as starting:
            with quick_imports():
                import vllm.v1.engine.async_llm
                import vllm.v1.engine.llm_engine  # noqa: F401
                from transformers import AutoTokenizer
                from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

            self.tokenizer = AutoTokenizer.from_pretrained(self.spec.model, trust_remote_code=False)
            starting.step("(loading the model)")
            self._engine = self.start_engine()
            starting.step("(preparing for weights)")
            await self.engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info={}))
            await self.engine.update_weight_version("0")
        self._loop = asyncio.get_running_loop()
        self._set_state("ready")
        return self._info()

    @property
    def engine(self) -> "AsyncLLM | SteppedEngine":
        assert self._engine is not None, "start comes first"
        return self._engine

    def start_engine(self) -> "AsyncLLM | SteppedEngine":
        """AsyncLLM, with its engine in a process of its own; on a CPU the same in this process."""
        if self.spec.gpus:
            from vllm.v1.engine.async_llm import AsyncLLM

            return AsyncLLM.from_engine_args(engine_args(self.spec))
        return SteppedEngine(engine_args(self.spec), self.progress)

    async def generate(
        self,
        prompt_ids: tuple[int, ...],
        seeds: tuple[int, ...],
        sampling: Sampling,
        begun: tuple[Completion, ...] = (),
        ticket: int | None = None,
    ) -> list[Completion]:
        """One completion per seed, in the order of the seeds.

        begun: what another worker had sampled of each when it left (finish_reason "abort"); it is continued.
        Completions that this worker hands back in turn have the same finish_reason. ticket: the caller's number for
        this call, by which it may `abandon` it.
        """
        self.in_flight += len(seeds)
        self._set_state("generating")
        completions = asyncio.gather(*self._work(prompt_ids, seeds, sampling, begun))
        if ticket is not None:
            self.calls[ticket] = completions
        try:
            return await completions
        except asyncio.CancelledError:
            if ticket is None or ticket in self.calls:
                raise
            return []
        finally:
            if ticket is not None:
                self.calls.pop(ticket, None)
            self.in_flight -= len(seeds)
            if not self.in_flight:
                self._set_state("ready")

    def _work(
        self, prompt_ids: tuple[int, ...], seeds: tuple[int, ...], sampling: Sampling, begun: tuple[Completion, ...]
    ) -> list[Coroutine[Any, Any, Completion]]:
        """What `generate` waits for, by seed."""
        if begun:
            return [self._continue(prompt_ids, each, sampling) for each in begun]
        return [self._complete(prompt_ids, seed, sampling) for seed in seeds]

    async def abandon(self, ticket: int) -> None:
        """Abort what a call of `generate` samples; it returns an empty list, which nobody waits for."""
        if completions := self.calls.pop(ticket, None):
            completions.cancel()

    async def _continue(self, prompt_ids: tuple[int, ...], begun: Completion, sampling: Sampling) -> Completion:
        """The rest of a completion, sampled with a seed of its own, joined to what there is."""
        if begun.finish_reason != "abort":
            return begun
        longer = (*prompt_ids, *begun.token_ids.tolist())
        left = replace(sampling, max_new_tokens=sampling.max_new_tokens - len(begun.token_ids))
        rest = await self._complete(longer, continued_seed(begun.seed, len(begun.token_ids)), left)
        return join(begun, rest)

    async def _complete(self, prompt_ids: tuple[int, ...], seed: int, sampling: Sampling) -> Completion:
        if self.leaving:
            return nothing_yet(seed, self.name)
        # The salt keeps prefixes that older weights computed out of this request's reach.
        prompt: TokensPrompt = {"prompt_token_ids": list(prompt_ids), "cache_salt": str(self.version)}
        final = await self._request(prompt, sampling_params(sampling, self.spec.stop_token_ids, seed))
        return self._completion(final.outputs[0], seed, final.num_cached_tokens)

    async def _request(self, prompt: "TokensPrompt", params: "SamplingParams") -> "RequestOutput":
        """The engine's whole answer to one request; while it is at work, the request is in `active`."""
        request_id = f"{self.name}-{next(self._request_numbers)}"
        final = None
        self.active.add(request_id)
        try:
            async for output in self.engine.generate(prompt, params, request_id=request_id):
                final = output
        finally:
            self.active.discard(request_id)
        if final is None:
            raise RuntimeError(f"{self.name}: the engine returned nothing for request {request_id}")
        return final

    def _completion(self, output: "CompletionOutput", seed: int, cached: int | None) -> Completion:
        ids = np.asarray(output.token_ids, np.int32)
        ended = output.finish_reason == "stop"
        shown = ids[:-1] if ended and len(ids) and int(ids[-1]) in self.spec.stop_token_ids else ids
        return Completion(
            token_ids=ids,
            # The first entry of each position is the sampled token's.
            logprobs=np.asarray(output.logprobs.logprobs, np.float32)[output.logprobs.start_indices[: len(ids)]],
            versions=token_versions(output, len(ids), self.version),
            finish_reason=output.finish_reason,
            seed=seed,
            text=self.tokenizer.decode(shown.tolist(), skip_special_tokens=False),
            worker=self.name,
            cached=cached,
        )

    async def load_weights(self, update: WeightUpdate) -> float:
        """Pull one version into the engine; requests in flight wait and go on with it. Returns seconds."""
        size = sum(spec.nbytes for part in (update, update.base) if part for spec in part.specs)
        with self.progress.doing(LOADING, f"of version {update.version}", allowance=size / SLOWEST_LOAD):
            async with self._loading:
                return await self._load_weights(update)

    async def _load_weights(self, update: WeightUpdate) -> float:
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        began = time.perf_counter()
        busy = self.in_flight > 0
        self._set_state("loading weights")
        info = await self._update_info(update)
        if busy:
            await self.engine.pause_generation(mode="keep", clear_cache=False)
        try:
            # Both are sent at once: the engine takes calls in their order, and each answer takes a while.
            await asyncio.gather(
                self.engine.start_weight_update(),
                self.engine.update_weights(WeightTransferUpdateRequest(update_info=info)),
            )
            await self.engine.finish_weight_update(str(update.version))
            self._layout, self._base = update.specs, update.base.digest if update.base else ""
            if self.spec.recompute_cache or not busy:
                await self.engine.reset_prefix_cache(reset_running_requests=busy)
        finally:
            if busy:
                await self.engine.resume_generation()
        self.version = update.version
        memory.give_back(update.version)
        self._set_state("generating" if self.in_flight else "ready")
        return time.perf_counter() - began

    async def _update_info(self, update: WeightUpdate) -> dict[str, Any]:
        """What the engine's transport is given of an update."""
        if update.handles:
            return ipc.update_info(update)
        info: dict[str, Any] = {"path": await self._reach(update), "digest": update.digest, "scale": update.scale}
        if update.base is not None and update.base.digest != self._base:  # else the engine remembers it, as the layout
            base, self._base = update.base, ""
            info["base"] = {"path": await self._reach(base, "base"), "digest": base.digest, "specs": plain(base.specs)}
        if update.specs != self._layout or "base" in info:
            info["specs"], self._layout = plain(update.specs), ()
        return info

    async def _reach(self, update: WeightUpdate, kind: str = "") -> str:
        """Path of the update's buffer, which has been brought here where it lies on another node."""
        path = update.path if update.node == self.node else await asyncio.to_thread(self._fetch, update, kind)
        if not os.path.exists(path):
            raise WeightsGoneError(GONE.format(update.version))
        return path

    async def loads_directly(self) -> bool:
        """Whether the next push takes the short way (see actors/rollout/direct_load.py)."""
        return all(await self.engine.collective_rpc("loads_directly"))

    async def sleep(self) -> None:
        """Give the GPU's memory back: weights go to CPU memory, the KV cache is gone."""
        with self.progress.doing("going to sleep"):
            await self._gpu_engine().sleep(level=1)
        self._set_state("asleep")

    async def wake_up(self) -> None:
        with self.progress.doing("waking up"):
            await self._gpu_engine().wake_up()
        self._set_state("ready")

    def _gpu_engine(self) -> "AsyncLLM":
        assert not isinstance(self.engine, SteppedEngine), "only an engine on a GPU sleeps"
        return self.engine

    def _fetch(self, update: WeightUpdate, kind: str) -> str:
        """The buffer from another node, copied to shared memory on this one."""
        import ray

        if update.data is None:
            raise RuntimeError(
                f"{self.name}: weights of version {update.version} lie on another node and were not published to it"
            )
        try:
            data = ray.get(update.data)
        except ray.exceptions.ObjectLostError as error:
            raise WeightsGoneError(GONE.format(update.version)) from error
        if digest(data) != update.digest:
            raise ValueError(f"weights of version {update.version} arrived corrupt")
        if kind not in self.pulled:
            self.pulled[kind] = SharedFile(f"srm_ray-pulled{kind}", len(data))
        memoryview(self.pulled[kind].buffer)[:] = data
        return self.pulled[kind].path

    async def hand_back(self) -> None:
        """Stop sampling: every `generate` under way returns what it has, its completions marked "abort"."""
        self.leaving = True
        self._set_state("leaving")
        with self.progress.doing("handing back its work"):
            while self.in_flight:
                if self.active:
                    await self.engine.abort(list(self.active))
                await asyncio.sleep(0.02)

    def ping(self) -> PingReply:
        """Its state now, progress included. Raises where the engine has died.

        The watchdog asks in a thread of its own, which answers while event loop and engine are at work.
        """
        if self._engine is not None and self._engine.errored:
            raise RuntimeError(f"{self.name}: the engine has died")
        if self._loop is not None and not self._turning:
            self._turning = True
            turn = self._turn(self.progress.begin("turning the event loop"))
            asyncio.run_coroutine_threadsafe(turn, self._loop)
        return PingReply(self._info(), self.progress.report())

    def _info(self) -> WorkerInfo:
        return WorkerInfo(self.name, os.getpid(), self.node, self.version, self.state, self.in_flight)

    async def _turn(self, activity: Activity) -> None:
        """The event loop turns; an engine in a process of its own answers between two steps. `ping` reports both."""
        self.progress.end(activity)
        try:
            if self._engine is not None and not isinstance(self._engine, SteppedEngine):
                with self.progress.doing(STEP):
                    await self._engine.is_paused()
        finally:
            self._turning = False

    async def close(self) -> None:
        """End the engine and its process."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
        scratch.release()

    def _set_state(self, state: str) -> None:
        self.state = state
        show_status(self, self.name, self.version, state)
