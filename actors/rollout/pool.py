"""The rollout workers as the driver sees them: sample a group, push weights; who dies is replaced.

A group whose worker dies is sampled again by another: with the same seeds it is the same group. Workers
that join (replacements, or because the run was scaled) load the current weights before they serve.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from actors.rollout.engine_spec import EngineSpec
from actors.rollout.scripted_engine import Script
from actors.rollout.worker import RolloutWorker, WeightsGoneError
from actors.runtime.labels import identity, task_name
from actors.runtime.liveness import LOADING, STARTING, WATCH, Rules
from actors.runtime.placement import Scheduling
from actors.runtime.pool import Pool, PoolOptions, WorkerHandle
from actors.runtime.replies import PingReply, WorkerInfo
from actors.runtime.rpc import cause, named, wait
from srm_ray.errors import LearnerLost, RunError
from srm_ray.inference.completers import Sampling
from srm_ray.rl.types import Completion
from srm_ray.weights.flat import WeightUpdate

ATTEMPTS = 4  # workers that may die over one group before it is taken for the cause


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds that a worker has at least: to start, which `start_option` sets, and to load weights."""

    start: float = 600
    push: float = 120
    start_option: str = "rollout.start_timeout"


@dataclass(frozen=True, slots=True)
class OtherEngine:
    """Workers that do not run vLLM."""

    spec: Script
    worker_class: Callable[..., Any]


class RolloutPool:
    """Rollout actors. A group goes to the worker with the fewest tokens outstanding.

    keep_partial: what a leaving worker had sampled of a completion is kept and continued by another one; the
    deterministic mode samples it anew. share: asks the learner for weights that workers on other nodes can read, too;
    None where they can no longer be had. spawn: makes the actor of a worker, where it is not one of `worker_class`.
    """

    def __init__(
        self,
        options: PoolOptions,
        spec: EngineSpec | Script,
        *,
        limits: TimeLimits = TimeLimits(),
        keep_partial: bool = False,
        share: Callable[[WeightUpdate], Awaitable[WeightUpdate | None]] | None = None,
        worker_class: Callable[..., Any] = RolloutWorker,
        spawn: Callable[[int, str, Scheduling], ActorHandle] | None = None,
    ):
        self.spec, self.keep_partial, self.share = spec, keep_partial, share
        remote = ray.remote(concurrency_groups={WATCH: 4})(worker_class)
        each, recovery = options.places.each, options.recovery
        actors = {"num_cpus": each.get("CPU", 0), "num_gpus": each.get("GPU", 0), "max_concurrency": 4096}

        def actor(number: int, name: str, place: Scheduling) -> ActorHandle:
            return remote.options(**actors, **identity(name), **place).remote(number, spec)

        self.role = spec.role
        self.pool = Pool(
            self.role,
            options,
            spawn=spawn or actor,
            prepare=self._prepare,
            rules=Rules(
                usual=recovery.hung_after,
                every=recovery.ping_every,
                floors={
                    STARTING: (limits.start, limits.start_option),
                    LOADING: (limits.push, "weights.push_timeout"),
                },
                cpu="silence" if spec.gpus else "steps",
            ),
        )
        self.current: WeightUpdate | None = None
        self.mean_length = spec.max_model_len / 2
        self.version = 0
        self._tickets = itertools.count()
        self._loading = asyncio.Lock()  # a worker joins before a push or after it, not in its middle

    async def start(self) -> list[WorkerInfo]:
        return await self.pool.start()

    async def close(self) -> None:
        """End engines, then actors."""
        await self.pool.close(seconds=30)

    @property
    def members(self) -> list[WorkerHandle]:
        return self.pool.members

    @property
    def capacity(self) -> int:
        """Sequences that the serving engines decode at once."""
        return self.spec.max_num_seqs * max(1, len(self.pool.serving()))

    async def _prepare(self, member: WorkerHandle) -> WorkerInfo:
        """Start the engine and load the weights of now."""
        info: WorkerInfo = await self.pool.ask(member, member.actor.start.remote(), "start")
        member.info = info
        if self.current is not None:
            member.ready = time.monotonic()
        while not await self._up_to_date(member):
            await asyncio.sleep(0.2)
        return info

    async def _up_to_date(self, member: WorkerHandle) -> bool:
        """Load the weights of now; False where the worker has to wait for the next push to get them."""
        async with self._loading:
            update = self.current
            if update is None:
                self._serve(member)
                return True
            if update is member.missed:
                return False
            if not _readable(update, member) and (update := await self._shared(update)) is None:
                return False
            try:
                what = f"load weights of version {update.version}"
                await self.pool.ask(member, member.actor.load_weights.remote(update), what)
            except RunError as error:
                if not isinstance(getattr(error.__cause__, "cause", None), WeightsGoneError):
                    raise
                member.missed = update  # the learner died: its successor will push
                return False
            self._serve(member)
            return True

    def _serve(self, member: WorkerHandle) -> None:
        """Before the next push, so that it is not left out; unless it was asked to leave meanwhile."""
        if member.state == "starting":
            member.state = "serving"

    # Sampling

    async def generate(
        self, prompt_ids: tuple[int, ...], seeds: tuple[int, ...], sampling: Sampling, *, prefer: str = ""
    ) -> tuple[Completion, ...]:
        """One completion per seed, from one worker (or its successors). Cancelling this cancels the requests.

        prefer: the worker whose cache holds the prompt; it samples if it serves.
        """
        begun: tuple[Completion, ...] = ()
        deaths: list[str] = []
        while True:
            load = len(seeds) * (len(prompt_ids) + round(self.mean_length))
            async with self.pool.acquire(load, prefer) as member:
                ticket = next(self._tickets)
                call = self._call(member, "generate", "generate", prompt_ids, seeds, sampling, begun, ticket)
                try:
                    found = tuple(await call)
                except asyncio.CancelledError:
                    self._call(member, "abandon", "abandon", ticket, num_returns=0)
                    raise
                except ray.exceptions.RayError as error:
                    deaths.append(await self._failed(member, error))
                    if len(deaths) == ATTEMPTS:
                        raise RunError(f"{ATTEMPTS} workers died over one prompt; the first: {deaths[0]}") from error
                    continue
            self._first_group(member)
            if not any(completion.finish_reason == "abort" for completion in found):
                self._learn_length(found)
                return found
            begun = found if self.keep_partial else ()

    async def _failed(self, member: WorkerHandle, error: Exception) -> str:
        """A call failed: with the worker, which is replaced, or by itself, which ends the run."""
        why = f"failed while generating: {cause(error)}"
        if not isinstance(error, ray.exceptions.RayActorError) and await self.pool.healthy(member):
            raise RunError(f"{member.name} {why}") from error
        return f"{member.name} {self.pool.mark_failed(member, why)}"

    def _first_group(self, member: WorkerHandle) -> None:
        """How soon a worker that joined in mid-run is of use."""
        if member.ready is not None:
            seconds, member.ready = time.monotonic() - member.ready, None
            self.pool.on_event("first_group", role=self.role, worker=member.name, seconds=seconds)

    def _learn_length(self, found: tuple[Completion, ...]) -> None:
        mean = sum(len(completion.token_ids) for completion in found) / max(1, len(found))
        self.mean_length += 0.02 * (mean - self.mean_length)

    # Weights

    async def push(self, update: WeightUpdate) -> float:
        """Load `update` into every serving worker at once. Returns the slowest one's seconds.

        A worker that dies meanwhile, or does not get on with it, is replaced; RunError where one refuses it.
        """
        began = time.perf_counter()
        async with self._loading:
            self.current = update
            serving = self.pool.serving()
            if not update.handles and not all(_readable(update, member) for member in serving):
                update = await self._shared(update) or update  # one has joined on another node since it was published
            await asyncio.gather(*(self._push(member, update) for member in serving))
            self.version = update.version
        return time.perf_counter() - began

    async def _push(self, member: WorkerHandle, update: WeightUpdate) -> None:
        what = f"load weights of version {update.version}"
        await self._or_lose(member, self._call(member, "load_weights", what, update), what)

    async def _or_lose(self, member: WorkerHandle, call: Awaitable[object], what: str) -> None:
        """A call on a member, which is replaced where it dies over it; RunError where the call itself fails."""
        try:
            await wait(call)
        except ray.exceptions.RayError as error:
            why = f"could not {what}: {cause(error)}"
            if not isinstance(error, ray.exceptions.RayActorError) and await self.pool.healthy(member):
                raise RunError(f"{member.name} {why}") from error
            self.pool.mark_failed(member, why)

    async def _shared(self, update: WeightUpdate) -> WeightUpdate | None:
        """The same weights, for workers anywhere; None where the learner no longer has them."""
        if self.share is None:
            return None
        try:
            shared = await self.share(update)
        except LearnerLost:
            return None  # its successor will push
        if shared is not None and self.current is update:
            self.current = shared
        return shared

    def forget(self) -> None:
        """The published weights are gone with their learner: who joins now waits for the next push."""
        self.current = None

    def nodes(self) -> set[str]:
        """Nodes of the workers that serve, and of those that are about to."""
        return {member.info.node for member in self.members if member.info}

    # The rest

    async def sleep(self) -> None:
        """Every engine gives its GPU memory back until `wake_up`; until then none starts. Who dies over it is gone from
        the GPU, too."""
        await self.pool.hold()
        await self._each_or_lose("go to sleep", "sleep")

    async def wake_up(self) -> None:
        await self._each_or_lose("wake up", "wake_up")
        self.pool.release()

    async def _each_or_lose(self, what: str, method: str) -> None:
        serving = self.pool.serving()
        await asyncio.gather(*(self._or_lose(one, self._call(one, method, what), what) for one in serving))

    async def ping(self) -> list[PingReply]:
        return await self._each(30, "answer", "ping")

    def _call(self, member: WorkerHandle, method: str, what: str, *args: object, **options: object) -> "ObjectRef":
        """A call named so that Ray's lists of tasks say who does what at which weights."""
        name = task_name(member.name, self.version, what)
        return getattr(member.actor, method).options(name=name, **options).remote(*args)

    async def _each(self, timeout: float, what: str, method: str) -> list[Any]:
        """Call a method of every serving worker; a failure or a missed time limit names the worker."""
        calls = [
            named(self._call(member, method, what), who=member.name, what=what, timeout=timeout)
            for member in self.pool.serving()
        ]
        return list(await asyncio.gather(*calls))


def _readable(update: WeightUpdate, member: WorkerHandle) -> bool:
    """Whether the weights lie where the worker can read them: on its own node, or in Ray's object store."""
    return update.data is not None or (member.info is not None and update.node == member.info.node)
