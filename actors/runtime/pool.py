"""A pool of actors of one role, of which any may die, hang, join or leave while the run goes on.

    target (asked for) --reconcile--> starting --prepare--> serving --lost, or leaving--> gone
                                          ^                    |
                                          +----- backoff <-----+ (deaths, within a budget)

Callers borrow a member (`lend`), the one with the least load, and report it `lost` when a call on it
fails; whatever it was working on is theirs to give to another one. A watchdog asks every member every few
seconds: one that does not answer in time is ended by its process id and replaced.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from actors.runtime.recovery import Budget
from actors.runtime.rpc import cause, end_process, wait
from srm_ray.config.grpo import RecoveryConfig
from srm_ray.errors import RunError

Events = Callable[..., None]  # (event, **facts)
PLACEMENT_WAIT = 30.0  # seconds a worker beyond the fewest may wait for free resources


@dataclass(eq=False)
class Member:
    """One actor. load: what it has been given and not returned, in whatever unit the caller counts.

    ready: when it had started (monotonic seconds), of one that joined in mid-run and has not done any work yet.
    """

    number: int
    name: str
    actor: Any
    state: str = "starting"
    load: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    ready: float | None = None


class Pool:
    """The members of one role.

    spawn: makes the actor of a number. prepare: starts it and brings it up to date; its result, with `pid`
    and `node`, is kept as facts. retire: lets a leaving member hand back its work. fewest, most: bounds
    of automatic growth. room: resources of one more member, asked of the cluster when growing by itself.
    """

    def __init__(
        self,
        role: str,
        *,
        spawn: Callable[[int, str], Any],
        prepare: Callable[[Member], Awaitable[dict[str, Any]]],
        recovery: RecoveryConfig,
        bounds: tuple[int, int],
        room: dict[str, float],
        events: Events,
    ):
        self.role, self.recovery, self.room, self.events = role, recovery, room, events
        self.fewest, self.most = bounds
        self.follows = self.most > self.fewest  # the cluster's free resources, until told a number
        self.target = self.fewest
        self.members: list[Member] = []
        self.budget = Budget(role, recovery)
        self.failure: RunError | None = None
        self._spawn, self._prepare = spawn, prepare
        self._numbers = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False

    # Start and end

    async def start(self) -> list[dict[str, Any]]:
        """Start the members a run begins with. What cannot start at all is an error, not a death."""
        members = [self._hire() for _ in range(self.target)]
        facts = list(await asyncio.gather(*(self._prepare(member) for member in members)))
        for member, known in zip(members, facts, strict=True):
            self._serve(member, known)
        self._run(self._watch())
        return facts

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

    # Work

    @contextlib.asynccontextmanager
    async def lend(self, load: int) -> AsyncIterator[Member]:
        """The serving member with the least load; waits until there is one. Raises what ended the pool."""
        while not (serving := self.serving()):
            await self._change()
        member = min(serving, key=lambda each: (each.load, each.number))
        member.load += load
        try:
            yield member
        finally:
            member.load -= load

    def serving(self) -> list[Member]:
        if self.failure is not None:
            raise self.failure
        return [member for member in self.members if member.state == "serving"]

    def present(self) -> int:
        """Members that serve, and those that have not yet handed back all of their work."""
        return sum(member.state in ("serving", "leaving") for member in self.members)

    def lost(self, member: Member, why: str) -> None:
        """`member` died or hangs: end it and, within the budget, start another."""
        if member not in self.members or self._closed:
            return
        self.members.remove(member)
        leaving, member.state = member.state == "leaving", "lost"
        self._run(self._end(member))
        if leaving:
            return
        try:
            delay = self.budget.spend(f"{member.name} {why}")
        except RunError as error:
            self.events("gave_up", role=self.role, worker=member.name, cause=str(error))
            self.failure = error
            self._wake()
            return
        self.events("restarted", role=self.role, worker=member.name, cause=why, wait=delay)
        self._run(self._reconcile(delay))

    async def healthy(self, member: Member) -> bool:
        """Whether a member answers in time. A failed call on one that does is the call's own fault."""
        try:
            await asyncio.wait_for(wait(member.actor.ping.remote()), self.recovery.hung_after)
        except (TimeoutError, ray.exceptions.RayError):
            return False
        return True

    # Size

    async def scale(self, count: int) -> None:
        """Ask for `count` members, from now on. Returns at once; who leaves hands back its work first."""
        self.target, self.follows = max(1, count), False
        self.events("scaled", role=self.role, workers=self.target)
        await self._reconcile(0.0)

    async def _reconcile(self, delay: float) -> None:
        """Hire or dismiss until there are `target` members."""
        await asyncio.sleep(delay)
        staff = [member for member in self.members if member.state in ("starting", "serving")]
        for _ in range(self.target - len(staff)):
            self._run(self._bring_up(self._hire()))
        surplus = sorted(staff, key=lambda each: (each.state == "serving", -each.number))
        for member in surplus[: max(0, len(staff) - self.target)]:
            self._run(self._dismiss(member))

    def _hire(self) -> Member:
        name = f"{self.role}-{self._numbers}"
        member = Member(self._numbers, name, self._spawn(self._numbers, name))
        self._numbers += 1
        self.members.append(member)
        return member

    async def _bring_up(self, member: Member) -> None:
        try:
            self._serve(member, await self._prepare(member))
        except (RunError, ray.exceptions.RayError) as error:
            self.lost(member, f"could not start: {cause(error)}")
        else:
            self.events("joined", role=self.role, worker=member.name, seconds=time.monotonic() - member.began)

    def _serve(self, member: Member, facts: dict[str, Any]) -> None:
        member.facts = facts
        if member.state == "starting":
            member.state = "serving"
        self._wake()

    async def _dismiss(self, member: Member) -> None:
        """Let a member finish or hand back what it has, then end it."""
        member.state = "leaving"
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
            await asyncio.wait_for(wait(member.actor.hand_back.remote()), self.recovery.hung_after)
            while member.load > 0:
                await asyncio.sleep(0.05)
            await asyncio.wait_for(wait(member.actor.close.remote()), self.recovery.hung_after)
        if member in self.members:
            self.members.remove(member)
            await self._end(member)
            self.events("left", role=self.role, worker=member.name)
        self._wake()

    # Watchdog

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.recovery.ping_every)
            await asyncio.gather(*(self._check(member) for member in self.members if member.state == "serving"))
            if self.follows:
                self._follow_resources()

    async def _check(self, member: Member) -> None:
        try:
            answer = await asyncio.wait_for(wait(member.actor.ping.remote()), self.recovery.hung_after)
            member.facts.update(answer)
        except TimeoutError:
            self.lost(member, f"did not answer for {self.recovery.hung_after:g} s")
        except ray.exceptions.RayError as error:
            self.lost(member, f"died: {cause(error)}")

    def _follow_resources(self) -> None:
        """Grow by one while the cluster has room for it; give up on one that has found no room."""
        starting = [member for member in self.members if member.state == "starting"]
        if not starting and len(self.members) < self.most and self._has_room():
            self.target = len(self.members) + 1
            self.events("scaled", role=self.role, workers=self.target, cause="free resources")
            self._run(self._reconcile(0.0))
        for member in starting:
            waited = time.monotonic() - member.began
            if not member.facts and waited > PLACEMENT_WAIT and len(self.members) > self.fewest and not _placed(member):
                self.target = max(self.fewest, len(self.members) - 1)
                self.members.remove(member)
                self._run(self._end(member))
                self.events("scaled", role=self.role, workers=self.target, cause="no free resources")

    def _has_room(self) -> bool:
        nodes = ray._private.state.available_resources_per_node().values()
        return any(all(node.get(name, 0) >= amount for name, amount in self.room.items()) for node in nodes)

    # Plumbing

    async def _end(self, member: Member) -> None:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.kill(member.actor)
        await end_process(member.facts.get("pid"), member.facts.get("node"))

    def _run(self, coroutine: Any) -> None:
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


def _placed(member: Member) -> bool:
    """Whether Ray has found a node for the actor."""
    state = ray._private.state.actors(member.actor._actor_id.hex())
    return bool(state) and state.get("State") not in ("PENDING_CREATION", "DEPENDENCIES_UNREADY")
