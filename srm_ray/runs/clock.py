"""One clock for a step and its named parts.

    |--rollout--|-reward-|---learn---|-sync-|...|--eval--|-log-| line |-log-|--checkpoint--|--rollout--| ...
    |------------------------- time/step of the line, less eval and log ---|

A step lasts from one line of the log to the next, so that nothing of a run falls between two steps; what is not one of
its parts is what `time/step` has more than their sum.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

APART = ("eval", "log", "checkpoint")  # not the step's own


class StepClock:
    """before: seconds of the steps that an earlier start of the run did."""

    def __init__(self, before: float = 0.0) -> None:
        self.began = time.perf_counter()
        self.parts: defaultdict[str, float] = defaultdict(float)
        self.done = before

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure a block as part of the step."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.parts[name] += time.perf_counter() - began

    @property
    def total(self) -> float:
        """Seconds of all steps so far, this one's until now."""
        return self.done + time.perf_counter() - self.began

    def lap(self) -> dict[str, float]:
        """`time/step` and `time/<part>` of the step that ends now; the next one begins."""
        now = time.perf_counter()
        whole, self.began = now - self.began, now
        self.done += whole
        parts, self.parts = self.parts, defaultdict(float)
        apart = sum(parts.get(name, 0.0) for name in APART)
        return {"time/step": whole - apart, **{f"time/{name}": seconds for name, seconds in parts.items()}}
