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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.rollout.completions import join, nothing_yet, token_versions
from actors.rollout.engine_env import prepare_environment
from actors.rollout.in_process_engine import SteppedEngine
from actors.rollout.requests import sampling_params
from actors.runtime import env
from actors.runtime.labels import STARTING, describe, node_id, show_status
from actors.runtime.liveness import LOADING, STEP, Activity, Progress
from actors.runtime.liveness import STARTING as START
from srm_ray.inference.completers import Sampling
from srm_ray.process import memory, scratch
from srm_ray.rl.seeds import continued_seed
from srm_ray.rl.types import Completion
from srm_ray.weights import ipc
from srm_ray.weights.flat import SharedFile, TensorSpec, WeightUpdate, digest

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start an engine. model: Hugging Face folder or hub name. Lengths in tokens.

    block_size: tokens of a block of the KV cache, of which whole ones alone are found again; 0: vLLM's own.
    """

    model: str
    stop_token_ids: tuple[int, ...]
    max_model_len: int
    max_num_seqs: int
    dtype: str
    seed: int
    threads: int = 1
    kv_cache_gb: float = 1.0
    gpus: float = 0.0
    memory_fraction: float = 0.9
    tensor_parallel: int = 1
    eager: bool = True
    recompute_cache: bool = False
    sleep: bool = False
    transport: str = "pull"
    block_size: int = 0


# vLLM's name of the engine that takes weights in, by transport (actors/rollout/vllm_extension.py registers them).
BACKENDS = {"pull": "pull", "ipc": "checked_ipc"}
SLOWEST_LOAD = 20e6  # bytes a second, of weights
GONE = "weights of version {} are gone with the learner that published them"


class WeightsGoneError(RuntimeError):
    """The learner that published the weights is no more, and the weights with it."""


class RolloutWorker:
    """An engine and the weights it holds. `start` before anything else."""

    def __init__(self, index: int, spec: EngineSpec):
        self.name = f"rollout-{index}"
        env.keep_log(self.name)
        self.node = node_id()
        self.spec = spec
        self.version = 0
        self.state = STARTING
        self.in_flight = 0
        self.engine: Any = None
        self.pulled: SharedFile | None = None  # weights that came from another node
        self.active: set[str] = set()  # request ids
        self.leaving = False
        self.calls: dict[int, asyncio.Future[list[Completion]]] = {}  # of `generate`, by ticket
        self._request_numbers = itertools.count()
        self._loading = asyncio.Lock()
        self.progress = Progress()
        self._loop: asyncio.AbstractEventLoop | None = None  # once the engine has started
        self._turning = False
        self._layout: tuple[TensorSpec, ...] = ()  # of the weights that the engine loaded last

    def __repr__(self) -> str:
        return describe("RolloutWorker", self.name, self.version, self.state)

    async def start(self) -> dict[str, Any]:
        """Start the engine: 20 to 60 s. Returns info for the log."""
        began = time.time()
        prepare_environment(self.spec)
        with self.progress.doing(START, "(importing vLLM)") as starting:
            from transformers import AutoTokenizer
            from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

            self.tokenizer = AutoTokenizer.from_pretrained(self.spec.model, trust_remote_code=False)
            starting.step("(loading the model)")
            self.engine = self.start_engine()
            starting.step("(preparing for weights)")
            await self.engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info={}))
            await self.engine.update_weight_version("0")
        self._loop = asyncio.get_running_loop()
        self._set_state("ready")
        return {"worker": self.name, "pid": os.getpid(), "node": self.node, "seconds": time.time() - began}

    def start_engine(self) -> Any:
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
        if begun:
            work = [self._continue(prompt_ids, each, sampling) for each in begun]
        else:
            work = [self._complete(prompt_ids, seed, sampling) for seed in seeds]
        completions = asyncio.gather(*work)
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
        prompt = {"prompt_token_ids": list(prompt_ids), "cache_salt": str(self.version)}
        final = await self._request(prompt, sampling_params(sampling, self.spec.stop_token_ids, seed))
        return self._completion(final.outputs[0], seed, final.num_cached_tokens)

    async def _request(self, prompt: dict[str, Any], params: "SamplingParams") -> "RequestOutput":
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

    def _completion(self, output: Any, seed: int, cached: int | None) -> Completion:
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
        size = sum(spec.nbytes for spec in update.specs)
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
            self._layout = update.specs
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
        path = update.path if update.node == self.node else await asyncio.to_thread(self._fetch, update)
        if not os.path.exists(path):
            raise WeightsGoneError(GONE.format(update.version))
        info: dict[str, Any] = {"path": path}
        if update.specs != self._layout:  # the engine remembers it
            info["specs"] = [spec._asdict() for spec in update.specs]
            self._layout = ()
        return info | {"digest": update.digest}

    async def loads_in_place(self) -> bool:
        """Whether the next push takes the short way (see actors/rollout/direct_load.py)."""
        return all(await self.engine.collective_rpc("loads_in_place"))

    async def sleep(self) -> None:
        """Give the GPU's memory back: weights go to CPU memory, the KV cache is gone."""
        with self.progress.doing("going to sleep"):
            await self.engine.sleep(level=1)
        self._set_state("asleep")

    async def wake_up(self) -> None:
        with self.progress.doing("waking up"):
            await self.engine.wake_up()
        self._set_state("ready")

    def _fetch(self, update: WeightUpdate) -> str:
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
        if self.pulled is None:
            self.pulled = SharedFile("srm_ray-pulled", len(data))
        memoryview(self.pulled.buffer)[:] = data
        return self.pulled.path

    async def hand_back(self) -> None:
        """Stop sampling: every `generate` under way returns what it has, its completions marked "abort"."""
        self.leaving = True
        self._set_state("leaving")
        with self.progress.doing("handing back its work"):
            while self.in_flight:
                if self.active:
                    await self.engine.abort(list(self.active))
                await asyncio.sleep(0.02)

    def ping(self) -> dict[str, Any]:
        """Its state now, progress included. Raises where the engine has died.

        The watchdog asks in a thread of its own, which answers while event loop and engine are at work.
        """
        if self.engine is not None and self.engine.errored:
            raise RuntimeError(f"{self.name}: the engine has died")
        if self._loop is not None and not self._turning:
            self._turning = True
            turn = self._turn(self.progress.begin("turning the event loop"))
            asyncio.run_coroutine_threadsafe(turn, self._loop)
        return {
            "pid": os.getpid(),
            "node": self.node,
            "progress": self.progress.report(),
            "worker": self.name,
            "version": self.version,
            "state": self.state,
            "in_flight": self.in_flight,
            "repr": repr(self),
        }

    async def _turn(self, activity: Activity) -> None:
        """The event loop turns; an engine in a process of its own answers between two steps. `ping` reports both."""
        self.progress.end(activity)
        try:
            if self.engine is not None and not isinstance(self.engine, SteppedEngine):
                with self.progress.doing(STEP):
                    await self.engine.is_paused()
        finally:
            self._turning = False

    async def close(self) -> None:
        """End the engine and its process."""
        if self.engine is not None:
            self.engine.shutdown()
            self.engine = None
        scratch.release()

    def _set_state(self, state: str) -> None:
        self.state = state
        show_status(self, self.name, self.version, state)


def engine_args(spec: EngineSpec) -> Any:
    """vLLM's arguments. Prefill is not chunked: with seeded requests that ends vLLM's CPU engine."""
    from vllm.config import WeightTransferConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    shared: dict[str, Any] = {
        "model": spec.model,
        "skip_tokenizer_init": True,
        "dtype": spec.dtype,
        "max_model_len": spec.max_model_len,
        "max_num_seqs": spec.max_num_seqs,
        "seed": spec.seed,
        "logprobs_mode": "processed_logprobs",
        "disable_log_stats": True,
        "weight_transfer_config": WeightTransferConfig(backend=BACKENDS[spec.transport]),
        "worker_extension_cls": "actors.rollout.vllm_extension.WorkerExtension",
        **({"block_size": spec.block_size} if spec.block_size else {}),
    }
    if spec.gpus:
        return AsyncEngineArgs(
            **shared,
            gpu_memory_utilization=spec.memory_fraction,
            tensor_parallel_size=spec.tensor_parallel,
            # Said, since in a placement group vLLM would have Ray start these processes, outside the worker's place.
            distributed_executor_backend="mp" if spec.tensor_parallel > 1 else "uni",
            enforce_eager=spec.eager,
            enable_sleep_mode=spec.sleep,
        )
    return AsyncEngineArgs(
        **shared,
        enforce_eager=True,
        distributed_executor_backend="uni",
        enable_chunked_prefill=False,
        max_num_batched_tokens=max(4096, spec.max_model_len),
        kv_cache_memory_bytes=int(spec.kv_cache_gb * (1 << 30)),
    )
