"""What a person sees while work goes on: never half a minute of silence, and how long it will take.

    with phase("starting 2 engines", remember=True):       about as long as it took the last time
    with phase("evaluation", total=1000) as counted:       counted.advance() as items are done

On a terminal each phase is a bar below the printed lines. In a file, the innermost one says how far it is
whenever nothing else was printed for a while.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from srm_ray.console import output
from srm_ray.errors import printable
from srm_ray.files.atomic import write_atomically
from srm_ray.files.faults import WriteFailed
from srm_ray.files.roots import cache_root

if TYPE_CHECKING:
    from srm_ray.console.bars import Bars

SHORT = 5.0  # seconds: what takes no longer needs no words
SILENCE = 20.0  # seconds without a line, at most
TICK = 0.25
READ_EVERY = 1.0  # seconds between looks into the logs
REMEMBERED = 200  # phases
DURATIONS = "durations.json"  # in the cache: seconds that phases took the last time


def echo(text: str) -> None:
    """A line to the person."""
    _console.echo(text)


def duration(seconds: float) -> str:
    """`48s`, `3m05s`, `2h10m`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


Kind = Literal["alone", "talking", "background"]


class Phase:
    """Something under way. total: items of it (0: not counted); done: those that were there before.

    usual: seconds that it takes, as far as is known. count, status: items done, and what to print besides, asked for
    when it is printed.
    kind: "talking" where what is done within says its own lines, so that this one speaks only into a silence;
    "background" for what does so too, and is shown only while nothing else is under way.
    """

    def __init__(
        self,
        what: str,
        *,
        total: int = 0,
        done: int = 0,
        usual: float = 0.0,
        count: Callable[[], int] | None = None,
        status: Callable[[], str] | None = None,
        kind: Kind = "alone",
    ) -> None:
        self.what, self.total, self.done, self.usual, self.status = what, total, done, usual, status
        self.count, self.kind = count, kind
        self.before, self.note = done, ""
        self.began = time.monotonic()
        self.announced = False  # that it is under way

    def advance(self, count: int = 1, note: str = "") -> None:
        """So many items more are done."""
        self.reach(self.done + count, note)

    def reach(self, done: int, note: str = "") -> None:
        """So many items are done in all."""
        self.done, self.note = done, note or self.note

    def turn_to(self, what: str, total: int, done: int) -> None:
        """Something else is under way now, in the same place."""
        self.what, self.total, self.done, self.before, self.note = what, total, done, done, ""
        self.began = time.monotonic()

    @property
    def took(self) -> float:
        return time.monotonic() - self.began

    def left(self) -> float | None:
        """Seconds to go: from the items done so far, else from how long it usually takes. None: nobody knows."""
        if self.total and self.done > self.before:
            return self.took / (self.done - self.before) * (self.total - self.done)
        if self.usual > self.took:
            return self.usual - self.took
        return None

    @property
    def share(self) -> float | None:
        """Of the whole, 0 to 1."""
        if self.total:
            return self.done / self.total
        return min(0.99, self.took / self.usual) if self.usual else None

    def state(self) -> str:
        """E.g. `340 of 1,000, 41s so far, about 1m20s left`."""
        if self.count:
            self.done = self.count()
        left, status = self.left(), self.status() if self.status else self.note
        parts = [f"{self.done:,} of {self.total:,}"] if self.total else []
        parts += [status] if status else []
        parts += [f"{duration(self.took)} so far"]
        if left is not None:
            parts += [f"about {duration(left)} left"]
        elif self.usual:
            parts += [f"usually {duration(self.usual)}"]
        return ", ".join(parts)


class Console:
    """What is under way in this process, and what shows it."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self.last_line = time.monotonic()
        self.lock = threading.RLock()
        self.bars: Bars | None = None  # of a terminal
        self.thread: threading.Thread | None = None
        self.ended = threading.Event()

    def echo(self, text: str) -> None:
        """Control characters are shown, not obeyed: rows, names and errors are anybody's."""
        bars, text = self.bars, printable(text)
        self.last_line = time.monotonic()
        try:
            if bars is not None:
                bars.echo(text)
            else:
                print(text, file=output.out(), flush=True)
        except OSError:
            output.leave_terminal()

    def begin(self, phase: Phase) -> None:
        with self.lock:
            self.phases.append(phase)
            if self.thread is None:
                self.ended.clear()
                self.thread = threading.Thread(target=self._watch, name="progress", daemon=True)
                self.thread.start()
        if phase.kind == "alone" and phase.usual > SHORT and not output.on_terminal():
            phase.announced = True
            self.echo(f"{phase.what}: takes about {duration(phase.usual)}")

    def end(self, phase: Phase, *, whole: bool) -> None:
        with self.lock:
            self.phases.remove(phase)
            thread = None
            if not self.phases:
                thread, self.thread = self.thread, None
                self.ended.set()
        if thread is not None:
            thread.join()
        if whole and phase.kind == "alone" and (phase.announced or phase.took > SHORT):
            self.echo(f"{phase.what}: took {duration(phase.took)}")

    def _watch(self) -> None:
        """The thread that shows bars, or breaks a silence."""
        terminal = output.on_terminal()
        read = 0.0
        try:
            while not self.ended.wait(TICK):
                if time.monotonic() - read > READ_EVERY:
                    read = time.monotonic()
                    for advice in output.advisor.due():
                        self.echo(f"note: {advice}")
                with self.lock:
                    phases = list(self.phases)
                if terminal:
                    self._show(phases)
                elif phases:
                    self.report_if_silent(phases[-1])
        finally:
            self._hide()

    def report_if_silent(self, phase: Phase) -> None:
        """One line, where it is due."""
        silent = time.monotonic() - self.last_line
        if silent > SILENCE or (phase.kind == "alone" and not phase.announced and phase.took > SHORT - 1):
            phase.announced = True
            self.echo(f"{phase.what}: {phase.state()}")

    def _show(self, phases: list[Phase]) -> None:
        due = [phase for phase in phases if phase.took > 1.0 and phase.kind != "background"]
        due = due or [phase for phase in phases if phase.took > 2.0]
        if self.bars is None and due:
            from srm_ray.console.bars import Bars

            self.bars = Bars(output.out())
        if self.bars is not None:
            with contextlib.suppress(OSError):  # a terminal that is gone
                self.bars.show(due)

    def _hide(self) -> None:
        if self.bars is not None:
            bars, self.bars = self.bars, None
            with contextlib.suppress(OSError):
                bars.close()


_console = Console()


@contextlib.contextmanager
def phase(what: str, *, remember: bool = False, usual: float = 0.0, **options: Any) -> Iterator[Phase]:
    """While the block runs, `what` is under way: see `Phase`. What took more than a few seconds is reported at its end.

    remember: it takes about as long as a phase of this name took the last time (usual: the first time).
    """
    took = seconds_of(what) if remember else 0.0
    one = Phase(what, usual=took or usual, **options)
    _console.begin(one)
    whole = False
    try:
        yield one
        whole = True
    finally:
        _console.end(one, whole=whole)
    if remember:
        remember_seconds(what, one.took)


def seconds_of(what: str) -> float:
    """What a phase took the last time; 0 where that is not known."""
    return _durations().get(what, 0.0)


def remember_seconds(what: str, seconds: float) -> None:
    with contextlib.suppress(OSError, WriteFailed):  # a cache that cannot be written: estimates stay the usual ones
        path = cache_root() / DURATIONS
        path.parent.mkdir(parents=True, exist_ok=True)
        others = {name: known for name, known in _durations().items() if name != what}
        kept = dict([*others.items(), (what, round(seconds, 1))][-REMEMBERED:])
        write_atomically(path, json.dumps(kept, indent=1) + "\n", shared=True)


def _durations() -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        found = json.loads((cache_root() / DURATIONS).read_text())
        return {str(name): float(seconds) for name, seconds in found.items()}
    return {}


class Progress:
    """Prints steps with the time left, from the mean of recent ones."""

    def __init__(self, steps: int):
        self.steps = steps
        self.last = time.perf_counter()
        self.mean: float | None = None

    def step(self, metrics: dict[str, Any]) -> None:
        now = time.perf_counter()
        took, self.last = now - self.last, now
        self.mean = took if self.mean is None else 0.8 * self.mean + 0.2 * took
        number = int(metrics["step"])
        drawn = metrics["groups/kept"] + metrics["groups/dropped_uniform"]
        echo(
            f"step {number:>{len(str(self.steps))}}/{self.steps}"
            f"  right {metrics['reward/accuracy']:6.1%}"
            f"  groups {metrics['groups/kept']:.0f} of {drawn:.0f}"
            f"  length {metrics['completion/length_mean']:.1f}"
            f"  mismatch {metrics['policy/mismatch_abs']:.1e}"
            f"  entropy {metrics['policy/entropy']:.2f}"
            f"  {metrics['throughput/rollout_tokens_per_s']:,.0f} tok/s"
            f"  {metrics['time/step']:.1f}s"
            f" (rollout {metrics['time/rollout']:.1f} learn {metrics['time/learn']:.1f}"
            f" sync {metrics['time/sync']:.2f})"
            f"  {duration(self.mean * (self.steps - number))} left"
        )
