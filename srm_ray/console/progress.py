"""What a person sees while a run goes on: one line a step."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def heartbeat(what: str, every: float = 15.0) -> Iterator[None]:
    """Say every so often that `what` still goes on, while the block runs."""
    done, began = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(every):
            say(f"{what}: {duration(time.monotonic() - began)} so far")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def duration(seconds: float) -> str:
    """`48s`, `3m05s`, `2h10m`."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


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
        say(
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
