"""A pool of actors of one role, of which any may die, hang, join or leave while the run goes on.

    target (asked for) --reconcile--> starting --prepare--> serving --lost, or leaving--> gone
                                          ^                    |
                                          +----- backoff <-----+ (deaths, within a budget)

Callers borrow a member (`acquire`), the one with the least load, and report it `lost` when a call on it
fails; whatever it was working on is theirs to give to another one. A watchdog looks at every member every few
seconds: one that makes no progress (actors/runtime/liveness.py) is ended by its process id and replaced, and whatever
fails because of that says so.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray
from ray.actor import ActorHandle

from actors.runtime.liveness import WATCH, Hung, Pace, Rules, Watched
from actors.runtime.placement import Place, Places, Scheduling
from actors.runtime.recovery import Budget
from actors.runtime.replies import PingReply, WorkerInfo
from actors.runtime.rpc import cause, cpu_seconds, end_process, wait
from srm_ray.config.recovery import RecoveryConfig
from srm_ray.console.progress import echo
from srm_ray.errors import RunError
from srm_ray.weights.flat import WeightUpdate

T = TypeVar("T")
OnEvent = Callable[..., None]  # (event: str, **info)
NEVER_RAN = "cancelled before it started running"  # Ray of an actor that it sent to a node that is gone
NOTICE = 2.0  # seconds until it is asked for again; Ray needs a few to notice
ASKED_AGAIN = 10  # times, before it counts as a death
PLACEMENT_WAIT = 30.0  # seconds a worker beyond the fewest may wait for free resources


def report_deaths(event: str, **info: Any) -> None:
    """For a command that keeps no record of events: prints who was replaced, and why."""
    if event == "restarted":
        echo(f"  {info['worker']} {info['cause']}; another one takes its place")


def ignore_event(event: str, **info: Any) -> None:
    """For a caller that needs no events."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Of a pool of any role. places: where its members run; the resources of one more are asked of the cluster when it
    grows by itself. bounds: fewest and most of automatic growth. recovery: how many may die, and when one is taken for
    hung. on_event: called when one dies, joins or leaves."""

    places: Places
    bounds: tuple[int, int] = (1, 1)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    on_event: OnEvent = ignore_event


@dataclass(eq=False)
class WorkerHandle:
    """One actor. load: what it has been given and not returned, in whatever unit the caller counts.

    info: its last reply; None until it has answered. ready: when it had started (monotonic seconds), of one that
    joined in mid-run and has not done any work yet. missed: weights that were gone when it was about to load them.
    why: it is no more; what fails afterwards fails because of it.
    """

    number: int
    name: str
    actor: ActorHandle
    place: Place
    state: str = "starting"
    load: int = 0
    info: WorkerInfo | None = None
    began: float = field(default_factory=time.monotonic)
    ready: float | None = None
    missed: WeightUpdate | None = None
    why: str = ""
    watched: Watched = field(init=False)


class Pool:
    """The members of one role.

    spawn: makes the actor of a number, with the options of its place. prepare: starts it and brings it up to date.
    rules: when one is taken for hung.
    """

    def __init__(
        self,
        role: str,
        options: PoolOptions,
        *,
        spawn: Callable[[int, str, Scheduling], ActorHandle],
        prepare: Callable[[WorkerHandle], Awaitable[WorkerInfo]],
        rules: Rules,
    ):
        self.role, self.rules, self.places, self.on_event = role, rules, options.places, options.on_event
        self.fewest, self.most = options.bounds
        self.follows = self.most > self.fewest  # the cluster's free resources, until it is given a number
        self.target = self.fewest
        self.members: list[WorkerHandle] = []
        self.budget = Budget(role, options.recovery)
        self.failure: RunError | None = None
        self._spawn, self._prepare = spawn, prepare
        self._numbers = self._never_ran = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self.pace = Pace()
        self._began = self._held = self._closed = False

    # Start and end

    async def start(self) -> list[WorkerInfo]:
        """Start the members a run begins with. What cannot start at all is an error, not a death."""
        members = [self._new() for _ in range(self.target)]
        self._run(self._watch())
        info = list(await asyncio.gather(*(self._prepare(member) for member in members)))
        for member, known in zip(members, info, strict=True):
            self._serve(member, known)
        self._began = True
        for member in members:
            if member not in self.members:  # it served, and was lost while others were still starting
                self._replace(member, member.why)
        return info

    async def close(self, *, seconds: float) -> None:
        """End every member. Those that serve have so many seconds to end what they own; nobody waits for a start."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        members, self.members = self.members, []
        started = [member for member in members if member.state != "starting"]
        closing = [asyncio.ensure_future(wait(member.actor.close.remote())) for member in started]
        if closing:
            await asyncio.wait(closing, timeout=seconds)
        for task in closing:
            task.cancel()
        await asyncio.gather(*(self._end(member) for member in members))
        for member in members:
            self.places.give_back(member.place)

    # Work

    @contextlib.asynccontextmanager
    async def acquire(self, load: int, prefer: str = "") -> AsyncIterator[WorkerHandle]:
        """The serving member of the name `prefer`, else the one with the least load; waits until there is one. Raises
        what ended the pool."""
        while not (serving := self.serving()):
            await self._change()
        member = min(serving, key=lambda each: (each.name != prefer, each.load, each.number))
        member.load += load
        try:
            yield member
        finally:
            member.load -= load

    def serving(self) -> list[WorkerHandle]:
        if self.failure is not None:
            raise self.failure
        return [member for member in self.members if member.state == "serving"]

    def present(self) -> int:
        """Members that serve, and those that have not yet handed back all of their work."""
        return sum(member.state in ("serving", "leaving") for member in self.members)

    async def ask(self, member: WorkerHandle, call: Awaitable[T], what: str) -> T:
        """A call's result, however long it takes while there is progress. RunError says who failed, and why."""
        try:
            return await wait(call)
        except ray.exceptions.RayError as error:
            raise RunError(f"{member.name} {member.why or f'could not {what}: {cause(error)}'}") from error

    def mark_failed(self, member: WorkerHandle, why: str) -> str:
        """`member` died or hangs: end it and, within the budget, start another. Returns why it is no more, which is
        what was found first: what fails when a worker is ended has the same cause."""
        member.why = member.why or why
        if member not in self.members or self._closed:
            return member.why
        self._remove(member)
        leaving, member.state = member.state == "leaving", "lost"
        self._run(self._end(member))
        self._wake()
        if not leaving and self._began:
            self._replace(member, member.why)
        return member.why

    def _replace(self, member: WorkerHandle, why: str) -> None:
        try:
            delay = self.budget.spend(f"{member.name} {why}")
        except RunError as error:
            self.on_event("gave_up", role=self.role, worker=member.name, cause=str(error))
            self.failure = error
            self._wake()
            return
        self.on_event("restarted", role=self.role, worker=member.name, cause=why, wait=delay)
        self._run(self._reconcile(delay))

    async def healthy(self, member: WorkerHandle) -> bool:
        """Whether a member answers. A failed call on one that does is the call's own fault."""
        try:
            while not await member.watched.check():
                pass
        except (Hung, ray.exceptions.RayError):
            return False
        return not member.why

    # Size

    async def scale(self, count: int) -> None:
        """Ask for `count` members, from now on. Returns at once; who leaves hands back its work first."""
        self.target, self.follows = max(1, count), False
        self.on_event("scaled", role=self.role, workers=self.target)
        await self._reconcile(0.0)

    async def hold(self) -> None:
        """Start nobody until `release`. Returns once nobody is starting any more."""
        self._held = True
        for member in [each for each in self.members if self._unplaced(each)]:
            self._withdraw(member, "waited for free resources when no worker may start")
        while self.failure is None and any(member.state == "starting" for member in self.members):
            await self._change()

    def release(self) -> None:
        """Replace those that died meanwhile."""
        self._held = False
        self._run(self._reconcile(0.0))

    async def _reconcile(self, delay: float) -> None:
        """Spawn or retire until there are `target` members; nobody is spawned while the pool is held."""
        await asyncio.sleep(delay)
        alive = [member for member in self.members if member.state in ("starting", "serving")]
        for _ in range(0 if self._held else self.target - len(alive)):
            self._run(self._bring_up(self._new()))
        surplus = sorted(alive, key=lambda each: (each.state == "serving", -each.number))
        for member in surplus[: max(0, len(alive) - self.target)]:
            self._run(self._retire(member))

    def _new(self) -> WorkerHandle:
        name, place = f"{self.role}-{self._numbers}", self.places.take()
        member = WorkerHandle(self._numbers, name, self._spawn(self._numbers, name, place.options), place)
        member.watched = Watched(lambda: self._ping(member), self.rules, lambda tree: _cpu(member, tree), self.pace)
        self._numbers += 1
        self.members.append(member)
        return member

    async def _bring_up(self, member: WorkerHandle) -> None:
        try:
            self._serve(member, await self._prepare(member))
        except (RunError, ray.exceptions.RayError) as error:
            if NEVER_RAN in str(error) and self._never_ran < ASKED_AGAIN and member in self.members:
                self._never_ran += 1
                self._withdraw(member, "was sent to a node that is gone")
                self._run(self._reconcile(NOTICE))
                return
            self.mark_failed(
                member, f"could not start: {cause(error).removeprefix(f'{member.name} could not start: ')}"
            )
            return
        if member.state == "serving":
            self.on_event("joined", role=self.role, worker=member.name, seconds=time.monotonic() - member.began)

    def _serve(self, member: WorkerHandle, info: WorkerInfo) -> None:
        member.info = member.info or info  # a ping that was answered since knows more
        member.watched.started()
        if member.state == "starting":
            member.state = "serving"
        self._never_ran = 0
        self._wake()

    async def _retire(self, member: WorkerHandle) -> None:
        """Let a member finish or hand back what it has, then end it. The watchdog ends one that never gets there."""
        starting, member.state = member.state == "starting", "leaving"
        with contextlib.suppress(ray.exceptions.RayError):
            if not starting:  # else it has nothing
                await wait(member.actor.hand_back.remote())
                while member.load > 0 and not member.why:
                    await asyncio.sleep(0.05)
                await wait(member.actor.close.remote())
        if member in self.members:
            self._remove(member)
            member.why = member.why or "left"
            await self._end(member)
            self.on_event("left", role=self.role, worker=member.name)
        self._wake()

    # Watchdog

    async def _watch(self) -> None:
        while True:
            await asyncio.gather(*(self._check(member) for member in self.members))
            await asyncio.sleep(self.rules.every)
            if self.follows and self._began:
                self._follow_resources()

    async def _check(self, member: WorkerHandle) -> None:
        try:
            await member.watched.check()
        except Hung as hung:
            why = str(hung)
            if self._unplaced(member):
                needs = ", ".join(f"{amount:g} {name}" for name, amount in self.places.each.items())
                waited = time.monotonic() - member.began
                why = f"found no node with {needs} free for {waited:.0f} s: end what holds them, or add a node"
            self.mark_failed(member, why)
        except ray.exceptions.RayError as error:
            if member.state != "starting":  # else the call that starts it says more
                self.mark_failed(member, f"died: {cause(error)}")

    async def _ping(self, member: WorkerHandle) -> PingReply:
        answer: PingReply = await member.actor.ping.options(concurrency_group=WATCH).remote()
        member.info = answer.info
        return answer

    def _follow_resources(self) -> None:
        """Grow by one while the cluster has resources for it; give up on one that could not be placed."""
        starting = [member for member in self.members if member.state == "starting"]
        if not self._held and not starting and len(self.members) < self.most and self._fits():
            self.target = len(self.members) + 1
            self.on_event("scaled", role=self.role, workers=self.target, cause="free resources")
            self._run(self._reconcile(0.0))
        for member in starting:
            waited = time.monotonic() - member.began
            if waited > PLACEMENT_WAIT and len(self.members) > self.fewest and self._unplaced(member):
                self.target = max(self.fewest, len(self.members) - 1)
                self._withdraw(member, "found no free resources")
                self.on_event("scaled", role=self.role, workers=self.target, cause=f"{member.name} {member.why}")

    def _unplaced(self, member: WorkerHandle) -> bool:
        return member.state == "starting" and member.info is None and not _placed(member)

    def _withdraw(self, member: WorkerHandle, why: str) -> None:
        """End one that has not come to work; nobody takes its place."""
        self._remove(member)
        member.why = why
        self._run(self._end(member))
        self._wake()

    def _fits(self) -> bool:
        nodes = ray._private.state.available_resources_per_node().values()
        return any(all(node.get(name, 0) >= amount for name, amount in self.places.each.items()) for node in nodes)

    # Plumbing

    def _remove(self, member: WorkerHandle) -> None:
        """It is no more, and the next one may wait in its place for it to be gone."""
        self.members.remove(member)
        self.places.give_back(member.place)

    async def _end(self, member: WorkerHandle) -> None:
        member.watched.close()
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(member.actor)
        await end_process(*_process(member))

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = RunError(f"{self.role} workers: {error!r}")
            self.failure.__cause__ = error
            self._wake()

    async def _change(self) -> None:
        """Until a member joins, or the pool fails."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


async def _cpu(member: WorkerHandle, tree: bool) -> float | None:
    pid, node = _process(member)
    return await cpu_seconds(pid, node, tree=tree)


def _process(member: WorkerHandle) -> tuple[int | None, str | None]:
    """Its process id and node, as far as they are known."""
    return (member.info.pid, member.info.node) if member.info else (None, None)


def _placed(member: WorkerHandle) -> bool:
    """Whether Ray has found a node for the actor."""
    state = ray._private.state.actors(member.actor._actor_id.hex())
    return bool(state) and state.get("State") not in ("PENDING_CREATION", "DEPENDENCIES_UNREADY")
