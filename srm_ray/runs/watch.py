"""Who watches a run: alarms after each step, and a clock on every stage that is at work.

    train --metrics of a step--> judge -> alarms --+--> events.jsonl, the terminal, a counter
    thread: which stage finished nothing lately? --+--> and, where `alarms.stop` says so, the end of the run

The clock runs in a thread of its own: it must report when the event loop itself hangs.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from srm_ray.config.alarms import AlarmsConfig
from srm_ray.console.progress import duration, echo
from srm_ray.errors import RunError
from srm_ray.runs.alarms import Alarm, Alarms
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog, read

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Stage:
    """in_flight: calls at work. active_at: when one last began on an idle stage, or ended (monotonic seconds)."""

    in_flight: int = 0
    active_at: float = 0.0
    stalled: bool = False


class Watch(AbstractAsyncContextManager["Watch"]):
    """`async with Watch(...) as watch` around the loop. Leaving it raises RunError where a stall ended the run."""

    def __init__(self, config: AlarmsConfig, folder: RunFolder, log: MetricsLog, *, group_size: int):
        self.config, self.folder, self.log = config, folder, log
        self.alarms = Alarms(config, group_size=group_size)
        self.stages: dict[str, Stage] = {}
        self._news: tuple[list[Alarm], list[Alarm]] = ([], [])
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._ended_by: Alarm | None = None
        self._step = 0

    # After each step

    def check(self, metrics: dict[str, Any]) -> dict[str, int]:
        """Hold a step against the limits. Returns what is to be logged with it; `report` prints the rest."""
        with self._lock:
            self._news = self.alarms.check(metrics)
            self._step = int(metrics["step"])
            return {"alarms/fired": self.alarms.fired}

    def report(self) -> None:
        """Print what `check` found. Raises RunError for an alarm that ends the run."""
        raised, over = self._news
        for alarm in over:
            self.folder.record_event("alarm_over", alarm=alarm.name, about=alarm.about, step=self._step)
            echo(f"  alarm over: {' '.join(filter(None, alarm.key))}, since step {alarm.step}")
        for alarm in raised:
            self._announce(alarm)
        for alarm in raised:
            if alarm.name in self.config.stop:
                raise RunError(_ending(alarm))

    def raise_alarm(self, name: str, about: str, value: float, limit: float, text: str) -> None:
        """An alarm that no step's metrics show. Raises RunError where it ends the run."""
        with self._lock:
            self.alarms.fired += 1
            alarm = Alarm(name, about, self._step, value, limit, text)
        self._announce(alarm)
        if name in self.config.stop:
            raise RunError(_ending(alarm))

    def _announce(self, alarm: Alarm) -> None:
        self.folder.record_event(
            "alarm", alarm=alarm.name, about=alarm.about, step=alarm.step, value=alarm.value, limit=alarm.limit,
            text=alarm.text,
        )  # fmt: skip
        self.log.count("alarms", alarm=alarm.name)
        echo(f"  ALARM {alarm.name}: {alarm.text}")

    # Stages

    def calls(self, stage: str, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """`call`, each use of it counted as work of `stage`: the stage stalls when none of them ends."""

        async def watched(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._lock:
                state = self.stages.setdefault(stage, Stage())
                if not state.in_flight:
                    state.active_at = time.monotonic()
                state.in_flight += 1
            try:
                return await call(*args, **kwargs)
            finally:
                with self._lock:
                    state.in_flight -= 1
                    state.active_at = time.monotonic()
                    state.stalled = False

        return watched

    async def __aenter__(self) -> "Watch":
        """A continued run remembers: its alarms stand as its log says."""
        for line in read(self.log.path) if self.log.path.is_file() else ():
            self.alarms.check(line)
            self.alarms.fired = int(line.get("alarms/fired", self.alarms.fired))
            self._step = int(line["step"])
        if self.config.stalled is not None:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None
            self._thread = threading.Thread(target=self._keep_time, args=(task, loop), daemon=True, name="watch")
            self._thread.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._end.set()
        if self._ended_by is None:
            return
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        raise RunError(_ending(self._ended_by))

    def _keep_time(self, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        limit = self.config.stalled
        assert limit is not None
        while not self._end.wait(min(1.0, limit / 4)):
            for alarm in self._stalls(limit):
                self._announce(alarm)
                if "stalled" in self.config.stop and self._ended_by is None:
                    self._ended_by = alarm
                    loop.call_soon_threadsafe(task.cancel)

    def _stalls(self, limit: float) -> list[Alarm]:
        """Stages that have just been found to stall."""
        found, now = [], time.monotonic()
        with self._lock:
            for name, stage in self.stages.items():
                silent = now - stage.active_at
                if not stage.in_flight or stage.stalled or silent < limit:
                    continue
                stage.stalled = True
                self.alarms.fired += 1
                text = (
                    f"{name} has finished nothing for {duration(silent)} (limit {duration(limit)}) with "
                    f"{stage.in_flight} call(s) under way, in step {self._step + 1}"
                )
                found.append(Alarm("stalled", name, self._step + 1, silent, limit, text))
        return found


def _ending(alarm: Alarm) -> str:
    return f"alarm {alarm.name}, which alarms.stop lists: {alarm.text}"
