"""The learner's ranks as the driver sees them: a batch in, one optimizer step, weights out."""

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Coroutine, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from actors.learner.rank import Learner
from actors.learner.spec import LearnerSpec, Numerics, Started, StepSums, Update
from actors.runtime import env
from actors.runtime.labels import identity, task_name
from actors.runtime.liveness import WATCH, Hung, Pace, Rules, Watched
from actors.runtime.placement import Places, resources
from actors.runtime.recovery import Budget
from actors.runtime.replies import PingReply
from actors.runtime.rpc import cause, close_actors, cpu_seconds, end_process, wait
from srm_ray.config.recovery import RecoveryConfig
from srm_ray.errors import LearnerLost, RunError
from srm_ray.rl.batching import PackedBatch, counts_in_loss, lay_back, micro_batches, spread
from srm_ray.rl.entropy import high_entropy
from srm_ray.rl.types import Group, Learned, TrainBatch
from srm_ray.training.algorithm import algorithm_of
from srm_ray.weights.flat import WeightUpdate

PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "DistBackendError", "Broken pipe", "NCCL")
NOTHING = np.zeros(0, np.float32)  # of a completion without a token

T = TypeVar("T")


class LearnerGroup:
    """K ranks that step together. `max_new_tokens` is Dr. GRPO's constant length.

    fresh_only: only tokens of the learner's own version prove the weights (asynchronous rollouts); otherwise
    every token must. places: where the ranks run, and run again.
    """

    def __init__(
        self,
        count: int,
        spec: LearnerSpec,
        *,
        max_new_tokens: int,
        mismatch_limit: float,
        fresh_only: bool = False,
        recovery: RecoveryConfig | None = None,
        places: Places | None = None,
    ):
        self.count, self.spec = count, spec
        places = places or Places(resources(spec.learner.cpus, spec.learner.gpus))
        self.places = [places.take() for _ in range(count)]
        self.max_new_tokens, self.mismatch_limit, self.fresh_only = max_new_tokens, mismatch_limit, fresh_only
        recovery = recovery or RecoveryConfig()
        self.budget, self.recovery = Budget("learner", recovery), recovery
        self.version = 0
        self.ranks: list[ActorHandle] = []
        self.info: list[Started] = []
        self.watched: list[Watched] = []
        self.pace = Pace()
        self.processes: dict[int, tuple[int | None, str]] = {}  # process id and node of each rank that has answered
        self._spawn()

    def _spawn(self) -> None:
        options = self.spec.learner
        # Pings have a thread of their own in each rank, so that one that computes for minutes still answers them.
        remote = ray.remote(concurrency_groups={WATCH: 1})(Learner)
        needs = {"num_cpus": options.cpus, "num_gpus": options.gpus}
        environment = {"env_vars": env.of_learner(options.gpus)}
        self.ranks = [
            remote.options(**needs, runtime_env=environment, **identity(f"learner-{rank}"), **place.options).remote(
                rank, self.count, self.spec
            )
            for rank, place in enumerate(self.places)
        ]
        step = (options.step_timeout, "learner.step_timeout")
        cpu: Literal["steps", "silence"] = "silence" if options.gpus else "steps"
        rules = Rules(self.recovery.hung_after, self.recovery.ping_every, floors={"*": step}, cpu=cpu)
        ranks = range(self.count)
        self.watched = [
            Watched(partial(self._ping, rank), rules, partial(self._cpu, rank), self.pace) for rank in ranks
        ]

    async def start(self) -> list[Started]:
        master = (await self._gather("start", [self.ranks[0].address.remote()]))[0]
        self.info = await self._all("start", master)
        for watched in self.watched:
            watched.started()
        self.processes = {rank: (known.pid, known.node) for rank, known in enumerate(self.info)}
        return self.info

    async def restart(self, lost: LearnerLost) -> None:
        """End every rank (they cannot go on without one another) and start new ones, with the first weights.

        Raises RunError when the restart budget is spent.
        """
        while True:
            delay = self.budget.spend(str(lost))
            await self._end()
            await asyncio.sleep(delay)
            self._spawn()
            try:
                await self.start()
                return
            except LearnerLost as again:
                lost = again

    async def _end(self) -> None:
        for watched in self.watched:
            watched.close()
        for rank in self.ranks:
            ray.kill(rank)
        await asyncio.gather(*(end_process(pid, node) for pid, node in self.processes.values()))
        self.info, self.processes = [], {}

    async def step(self, batch: TrainBatch, lr: float) -> Learned:
        """Apply the loss to a batch. Raises RunError, nothing updated, on a mismatch."""
        began = time.perf_counter()
        shares = self._shares(batch)
        thresholds: list[float] = []
        if len(shares) > 1 or self.spec.loss.entropy_top < 1:
            # The later updates use a batch that older weights sampled: pin log pi_old to those weights.
            shares = [(groups, await self._scored(parts, thresholds, pin=len(shares) > 1)) for groups, parts in shares]
        results: list[StepSums] = []
        norms: list[float] = []
        for groups, parts in shares:
            update = Update(self._denominator(groups), batch.entropy_beta)
            results.append(await self._accumulate(update, parts))
            norms.append((await self._all("apply", lr))[0])
        metrics = _metrics(results, norms, time.perf_counter() - began) | {"policy/lr": lr}
        if thresholds:
            metrics["policy/entropy_threshold"] = sum(thresholds) / len(thresholds)
        return Learned(metrics, _of_batch(shares, results))

    def _shares(self, batch: TrainBatch) -> list[tuple[tuple[Group, ...], list[list[PackedBatch]]]]:
        """The batch cut into one share of groups for each update, packed for every rank."""
        count = min(self.spec.learner.updates_per_step, len(batch.groups))
        shares = [batch.groups[first::count] for first in range(count)]
        return [(groups, self._pack(groups, batch.version)) for groups in shares]

    def _pack(self, groups: tuple[Group, ...], version: int) -> list[list[PackedBatch]]:
        return micro_batches(
            groups,
            budget=self.spec.learner.micro_batch_tokens,
            ranks=len(self.ranks),
            filter_overlong=self.spec.loss.filter_overlong,
            proof_version=version if self.fresh_only else None,
        )

    async def _scored(
        self, parts: list[list[PackedBatch]], thresholds: list[float], *, pin: bool
    ) -> list[list[PackedBatch]]:
        """With what the weights of before the step make of it: log pi_old where `pin`, the tokens of high entropy where
        the policy loss is of them alone; their thresholds are added to `thresholds`."""
        calls = [self._call(rank, "scores", part) for rank, part in enumerate(parts)]
        found = [score for scores in await self._gather("scores", calls) for score in scores]
        micros = [micro for part in parts for micro in part]
        if pin:
            micros = [replace(micro, old_logprobs_C=old) for micro, (old, _) in zip(micros, found, strict=True)]
        if self.spec.loss.entropy_top < 1:
            entropies, masks = [entropy_C for _, entropy_C in found], [micro.mask_C for micro in micros]
            chosen, threshold = high_entropy(entropies, masks, self.spec.loss.entropy_top)
            micros = [replace(micro, policy_mask_C=mask) for micro, mask in zip(micros, chosen, strict=True)]
            thresholds.append(threshold)
        rest = iter(micros)
        return [list(itertools.islice(rest, len(part))) for part in parts]

    async def _accumulate(self, update: Update, parts: list[list[PackedBatch]]) -> StepSums:
        calls = [self._call(rank, "accumulate", part, update) for rank, part in enumerate(parts)]
        result = _add_ranks(await self._gather("accumulate", calls))
        self._check_mismatch(result.by_worker)
        return result

    def _denominator(self, groups: tuple[Group, ...]) -> float:
        """Counted once, over the whole update: see `srm_ray.rl.loss`."""
        counted = [
            completion
            for group in groups
            for index, completion in enumerate(group.completions)
            if counts_in_loss(group, index, filter_overlong=self.spec.loss.filter_overlong)
        ]
        if not counted:
            raise RunError("every completion of this step is masked out of the loss (undecided or truncated)")
        return algorithm_of(self.spec.algorithm, self.spec.loss).denominator(
            tokens=sum(completion.sampled_tokens for completion in counted),
            sequences=len(counted),
            constant_length=self.max_new_tokens,
        )

    def _check_mismatch(self, by_worker: dict[str, tuple[float, float]]) -> None:
        """Weights are proved here: sampled tokens must be as likely to the learner as they were to the sampler."""
        for worker, (tokens, distance) in sorted(by_worker.items()):
            mean = distance / max(1.0, tokens)
            if not mean <= self.mismatch_limit:
                raise RunError(
                    f"{worker} samples from other weights than the learner's: log-probabilities differ by {mean:.3g} "
                    f"on average over {tokens:.0f} tokens (weights.mismatch_limit {self.mismatch_limit:g})"
                )

    async def publish(self, version: int, *, elsewhere: bool = False) -> WeightUpdate:
        """The current weights as `version`. elsewhere: for workers on other nodes too."""
        update = (await self._all("publish", version, elsewhere))[0]
        self.version = version
        return update

    async def share(self, update: WeightUpdate) -> WeightUpdate | None:
        """A published update for workers on other nodes too; None where it has been overwritten since."""
        return (await self._gather("share", [self._call(0, "share", update)]))[0]

    async def check(self) -> None:
        """Raises LearnerLost where a rank is dead or hangs; returns when all have answered."""

        async def answered(watched: Watched) -> None:
            while not await watched.check():
                pass

        await self._check_until_answered(answered(watched) for watched in self.watched)

    async def _check_until_answered(self, looks: Iterable[Awaitable[object]]) -> None:
        """One look at each rank. Raises LearnerLost, naming the first that is dead or all that hang."""
        found = list(enumerate(await asyncio.gather(*looks, return_exceptions=True)))
        for rank, error in found:
            if isinstance(error, ray.exceptions.RayError):
                raise LearnerLost(f"learner-{rank} died: {cause(error)}") from error
            if isinstance(error, BaseException) and not isinstance(error, Hung):
                raise error
        if hung := [f"learner-{rank} {error}" for rank, error in found if isinstance(error, Hung)]:
            raise LearnerLost("; ".join(hung))

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """`work`, which waits for others than the learner; LearnerLost, and the work cancelled, when a rank dies."""
        working, watching = asyncio.ensure_future(work), asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                watching.result()
            return await working
        finally:
            working.cancel()
            watching.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.recovery.ping_every)
            await self._check_until_answered(watched.check() for watched in self.watched)

    def doing(self) -> str:
        """What the first rank computes, as of its last ping; "" where it waits."""
        return ", ".join(str(seen) for seen in self.watched[0].doing.values()) if self.watched else ""

    @property
    def numerics(self) -> Numerics:
        """What the last bits of a step depend on besides config, weights and batch."""
        return self.info[0].numerics

    @property
    def node(self) -> str:
        """Where the weights are published."""
        return self.info[0].node if self.info else ""

    async def ping(self) -> list[PingReply]:
        return list(await asyncio.gather(*(self._ping(rank) for rank in range(len(self.ranks)))))

    async def save(self, folder: Path) -> None:
        await self._all("save", str(folder))

    async def load(self, folder: Path) -> None:
        await self._all("load", str(folder))

    async def export(self, folder: Path, *, plain: bool = True) -> None:
        """Plain weights, or of a policy with an adapter it alone."""
        await self._all("export", str(folder), plain)

    async def close(self) -> None:
        if self.info:  # ranks that still start own nothing yet, and nobody waits for them
            await close_actors(self.ranks)
        await self._end()

    async def _all(self, method: str, *args: object) -> list[Any]:
        return await self._gather(method, [self._call(index, method, *args) for index in range(len(self.ranks))])

    def _call(self, rank: int, method: str, *args: object) -> ObjectRef:
        name = task_name(f"learner-{rank}", self.version, method)
        return getattr(self.ranks[rank], method).options(name=name).remote(*args)

    async def _ping(self, rank: int) -> PingReply:
        name = task_name(f"learner-{rank}", self.version, "ping")
        answer: PingReply = await self.ranks[rank].ping.options(name=name, concurrency_group=WATCH).remote()
        self.processes[rank] = (answer.info.pid, answer.info.node)
        return answer

    async def _cpu(self, rank: int, tree: bool) -> float | None:
        pid, node = self.processes.get(rank, (None, None))
        return await cpu_seconds(pid, node, tree=tree)

    async def _gather(self, what: str, calls: list[ObjectRef]) -> list[Any]:
        """Await one call per rank; a failure, or a rank that dies or hangs meanwhile, is named."""
        waiting = [asyncio.ensure_future(wait(call)) for call in calls]
        try:
            done, _ = await self.unless_lost(asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION))
        finally:
            for task in waiting:
                task.cancel()
        for rank, task in enumerate(waiting):
            error = task.exception() if task in done else None
            if isinstance(error, ray.exceptions.RayTaskError) and not self._lost_a_peer(error):
                raise error.as_instanceof_cause() from error
            if error is not None:
                raise LearnerLost(f"learner-{rank} failed in {what}: {cause(error)}") from error
        return [task.result() for task in waiting]

    def _lost_a_peer(self, error: BaseException) -> bool:
        """A collective that failed because another rank is gone: gloo and NCCL say so before Ray notices."""
        return len(self.ranks) > 1 and any(sign in str(error) for sign in PEER_IS_GONE)


def _add_ranks(results: list[StepSums]) -> StepSums:
    """Ranks in their order; log-probabilities one rank's after the other's."""
    values: dict[str, float] = defaultdict(float)
    by_worker: dict[str, tuple[float, float]] = {}
    for result in results:
        for name, value in result.values.items():
            values[name] = max(values[name], value) if name == "mismatch_max" else values[name] + value
        for worker, (tokens, distance) in result.by_worker.items():
            before = by_worker.get(worker, (0.0, 0.0))
            by_worker[worker] = (before[0] + tokens, before[1] + distance)
    return StepSums(dict(values), by_worker, tuple(itertools.chain(*(result.logprobs for result in results))))


def _of_batch(
    shares: list[tuple[tuple[Group, ...], list[list[PackedBatch]]]], results: list[StepSums]
) -> tuple[tuple[np.ndarray, ...], ...]:
    """Per-token log-probabilities, [group][completion] in the order of the step's batch, which `_shares` cut."""
    laid = []
    for (groups, parts), result in zip(shares, results, strict=True):
        found: dict[int, np.ndarray] = {}
        values = iter(result.logprobs)
        for part in parts:
            found |= lay_back(part, list(itertools.islice(values, len(part))))
        orders = itertools.count()
        laid.append(
            [tuple(spread(found.get(next(orders), NOTHING), one) for one in group.completions) for group in groups]
        )
    return tuple(laid[i % len(laid)][i // len(laid)] for i in range(sum(map(len, laid))))


def _metrics(results: list[StepSums], norms: list[float], seconds: float) -> dict[str, float]:
    """Sums over the step's updates to per-token means."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.values)
    tokens = max(1.0, total["tokens"])
    metrics = {
        "policy/loss": total["loss"] / len(results),
        "policy/entropy": total["entropy"] / tokens,
        "policy/clip_fraction_high": total["clipped_high"] / tokens,
        "policy/clip_fraction_low": total["clipped_low"] / tokens,
        "policy/mismatch_kl": total["mismatch_kl"] / tokens,
        "policy/mismatch_abs": total["mismatch_abs"] / tokens,
        "policy/mismatch_max": max(result.values["mismatch_max"] for result in results),
        "policy/importance_masked": total["masked"] / tokens,
        "policy/grad_norm": sum(norms) / len(norms),
        "time/learn": seconds,
        "throughput/learner_tokens_per_s": total["tokens"] / seconds,
    }
    if "top_k_kl" in total:
        metrics["teacher/top_k_kl"] = total["top_k_kl"] / tokens
    if "kl" in total:
        metrics["policy/kl"] = total["kl"] / len(results)
    return metrics
