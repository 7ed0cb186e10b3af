"""Slow is not dead: what a worker does and how far it is, and when a watchdog takes it for hung.

    worker   any thread:                with progress.doing("computing an engine step"): ...
             a thread of its own:       ping -> progress.report(): what is under way, each with a count of its steps
    driver   every few seconds:         Watched.check() -> Hung: how long without progress, doing what

A worker is judged by the steps that it makes, not by how soon it answers. It hangs when one thing goes on without
a step, or without an answer from the thread that has nothing else to do, for longer than a limit: that follows the
longest step seen so far, is larger before the first (compilation), and larger again while the worker's process uses
the processor, where that is proof of work. Time counts as the driver sees it pass, so a pause of the whole machine
is nobody's fault.
"""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from actors.runtime.replies import Doing, PingReply, ProgressReport

WATCH = "watch"  # concurrency group of the pings: Ray gives it a thread of its own in the worker
STARTING, LOADING, STEP = "starting", "loading weights", "computing an engine step"  # kinds of work
LONGEST = 5  # times the longest step so far, before a step is taken for the last one
FIRST = 10  # times the usual limit, before the first step of a kind
COMPUTING = 10  # times the limit, while the process computes
BUSY = 0.05  # share of one core above which a process computes

F = TypeVar("F", bound=Callable[..., Any])


# In the worker


@dataclass(eq=False)
class Activity:
    """Something under way. kind: what its limit depends on; kind and detail together read as "while ..."."""

    number: int
    kind: str
    detail: str
    allowance: float
    steps: int = 0

    def step(self, detail: str | None = None) -> None:
        """Progress. detail: what comes now."""
        if detail is not None:
            self.detail = detail
        self.steps += 1


class Progress:
    """What a worker is doing. Any thread writes and reads it."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._open: dict[int, Activity] = {}
        self._done: set[str] = set()

    def begin(self, kind: str, detail: str = "", allowance: float = 0.0) -> Activity:
        """allowance: seconds that a step may take in any case, by its size."""
        activity = Activity(next(self._numbers), kind, detail, allowance)
        self._open[activity.number] = activity
        return activity

    def end(self, activity: Activity) -> None:
        self._done.add(activity.kind)
        self._open.pop(activity.number, None)

    @contextlib.contextmanager
    def doing(self, kind: str, detail: str = "", allowance: float = 0.0) -> Iterator[Activity]:
        activity = self.begin(kind, detail, allowance)
        try:
            yield activity
        finally:
            self.end(activity)

    def report(self) -> ProgressReport:
        """For `Watched`."""
        open_now = list(self._open.values())
        doing = tuple(Doing(one.number, one.kind, one.detail, one.allowance, one.steps) for one in open_now)
        return ProgressReport(doing, tuple(sorted(self._done)))


def tracked(kind: str) -> Callable[[F], F]:
    """A method whose whole run is one activity of its object's `progress`."""

    def wrap(method: F) -> F:
        @functools.wraps(method)
        def wrapped(self: Any, *args: Any, **options: Any) -> Any:
            with self.progress.doing(kind):
                return method(self, *args, **options)

        return wrapped  # type: ignore[return-value]

    return wrap


# In the driver


class Hung(Exception):
    """A worker makes no progress. The message reads on after its name."""


@dataclass(frozen=True)
class Rules:
    """Limits of one role, seconds.

    usual: of any step and of an answer (`recovery.hung_after`). every: between two looks. floors: (seconds, the option
    to raise) of kinds of work; "*" of those not named. cpu: where a process that uses the processor is at work: in
    any step ("steps"), only where it does not answer at all ("silence": a GPU's driver spins while it waits), or never.
    """

    usual: float
    every: float
    floors: dict[str, tuple[float, str]] = field(default_factory=dict)
    cpu: Literal["steps", "silence", ""] = ""

    def limit(self, kind: str, *, first: bool, longest: float, allowance: float = 0.0) -> float:
        floor = self.floors.get(kind) or self.floors.get("*")
        base = floor[0] if floor else self.usual * (FIRST if first else 1)
        return max(base, allowance, LONGEST * longest)

    def option(self, kind: str) -> str:
        floor = self.floors.get(kind) or self.floors.get("*")
        return floor[1] if floor else "recovery.hung_after"


@dataclass
class Pace:
    """How slow a role's workers have been so far, seconds: whoever takes another's place is no faster.

    longest: step. slowest: answer.
    """

    longest: float = 0.0
    slowest: float = 0.0


@dataclass
class Seen:
    """An activity as the driver last saw it, and for how long it has not changed."""

    kind: str
    detail: str
    allowance: float
    steps: int
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.detail}".strip()


class Watched:
    """What is known of one worker's progress.

    ask: its `ping`. cpu: seconds of processor time used so far by its process, or (True) that and all that it started;
    None where that is not known. pace: of the role's workers.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[PingReply]],
        rules: Rules,
        cpu: Callable[[bool], Awaitable[float | None]],
        pace: Pace | None = None,
    ):
        self.ask, self.rules, self.cpu, self.pace = ask, rules, cpu, pace or Pace()
        self.answer: asyncio.Future[PingReply] | None = None
        self.answered = False
        self.silent = 0.0  # seconds that the question under way has waited
        self.doing: dict[int, Seen] = {}
        self.done: set[str] = set()
        self._marked: float | None = None  # when time was counted last
        self._sample: tuple[float, float] | None = None

    async def check(self) -> bool:
        """Wait a while for an answer; whether one came. Raises `Hung`, and what the question itself raises."""
        self._pass_time()
        if self.answer is None:
            self.answer, self.silent = asyncio.ensure_future(self.ask()), 0.0
            self.answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # also where nobody looks
        answer = self.answer
        await asyncio.wait([answer], timeout=self.rules.every)
        self._pass_time()
        if answer.done() and self.answer is answer:
            self.answer = None
            self._take(answer.result())
        overdue = self._overdue()
        if overdue is None:
            self._sample = None
        elif not await self._computes(*overdue):
            raise Hung(self._description(*overdue))
        return answer.done()

    def started(self) -> None:
        """It has reported that it is ready: from now on its silence is no longer that of a start, and is counted anew,
        as the question under way may have waited for imports."""
        self.answered, self.silent, self.doing = True, 0.0, {}

    def close(self) -> None:
        if self.answer is not None:
            self.answer.cancel()

    def _pass_time(self) -> None:
        """Count the time since the last look, but no more than looks are apart: for the rest nobody looked."""
        now = asyncio.get_running_loop().time()
        passed = 0.0 if self._marked is None else min(now - self._marked, 3 * self.rules.every)
        self._marked = now
        if self.answer is not None:
            self.silent += passed
        for seen in self.doing.values():
            seen.seconds += passed

    def _take(self, answer: PingReply) -> None:
        starts = self._starts()
        if not starts:  # how long libraries take to load says nothing of the work
            self.pace.slowest = max(self.pace.slowest, self.silent)
        self.answered, self.silent = True, 0.0
        if answer.progress is None:
            return
        before, self.doing = self.doing, {}
        for now in answer.progress.doing:
            seen = Seen(now.kind, now.detail, now.allowance, now.steps)
            if now.number in before and before[now.number].steps == seen.steps:
                seen.seconds = before.pop(now.number).seconds
            self.doing[now.number] = seen
        if not starts:
            self.pace.longest = max([self.pace.longest, *(seen.seconds for seen in before.values())])
        self.done = set(answer.progress.done)

    def _overdue(self) -> tuple[Seen | None, float, float] | None:
        """What has gone on for too long (None: the silence), for how long, and its limit."""
        limit = self._silence_limit()
        if self.silent > limit:
            return None, self.silent, limit
        late = []
        for seen in self.doing.values():
            limit = self.rules.limit(
                seen.kind, first=not self._stepped(seen), longest=self.pace.longest, allowance=seen.allowance
            )
            if seen.seconds > limit:
                late.append((seen, seen.seconds, limit))
        return max(late, key=lambda each: each[1] / each[2], default=None)

    def _starts(self) -> bool:
        """Libraries are being loaded, perhaps from a slow disk, which holds up every thread."""
        return not self.answered or any(seen.kind == STARTING for seen in self.doing.values())

    def _silence_limit(self) -> float:
        start = self.rules.limit(STARTING, first=False, longest=0.0) if self._starts() else 0.0
        return max(self.rules.usual, start, LONGEST * self.pace.slowest)

    def _stepped(self, seen: Seen) -> bool:
        return seen.kind in self.done or seen.steps > 0

    async def _computes(self, late: Seen | None, seconds: float, limit: float) -> bool:
        """Whether the processor time that the worker uses proves it to be at work."""
        if seconds > COMPUTING * limit or not self.rules.cpu or (late is not None and self.rules.cpu != "steps"):
            return False
        used, now = await self.cpu(late is not None), asyncio.get_running_loop().time()
        if used is None:
            return False
        before, self._sample = self._sample, (now, used)
        return before is None or used - before[1] > BUSY * (now - before[0])

    def _description(self, late: Seen | None, seconds: float, limit: float) -> str:
        if late is not None:
            option, found = self.rules.option(late.kind), f"made no progress for {seconds:.0f} s while {late}"
        else:
            option = self.rules.option(STARTING) if self._starts() else "recovery.hung_after"
            last = ", ".join(map(str, self.doing.values()))
            found = f"did not answer for {seconds:.0f} s" + (f", last seen {last}" if last else "")
        return f"{found} (limit {limit:.0f} s{f'; {option} raises it' if option else ''})"
