"""Another place for a step's numbers, served from a thread of its own: it may be slow or away, the run goes on.

MetricsLog --write--> Background --queue--> thread --> tracker
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from srm_ray.console.progress import echo
from srm_ray.runs.metrics import Mirror

MAX_WAITING = 10_000  # steps that wait for a tracker that is away; the oldest go first
LONGEST_WAIT = 60.0  # seconds between two tries


class Background:
    """Steps in their order, each tried until it is taken. What happens is reported once for each outage.

    name: for messages. patience: seconds that `close` waits for what has not been taken. first_wait: seconds before
    the second try, doubled for each further one.
    """

    def __init__(
        self,
        mirror: Mirror,
        name: str,
        *,
        patience: float = 30.0,
        first_wait: float = 1.0,
        report: Callable[[str], None] = echo,
    ) -> None:
        self.mirror, self.name, self.patience, self.first_wait, self.report = mirror, name, patience, first_wait, report
        self.dropped = 0
        self._waiting: deque[tuple[int, dict[str, float]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._away = False
        self._thread = threading.Thread(target=self._serve, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def write(self, step: int, values: dict[str, float]) -> None:
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((step, values))
            self._changed.notify_all()

    def flush(self) -> None:
        """A tracker is no part of a checkpoint: nothing waits for it."""

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(self.patience)
        if missing := len(self._waiting) + self.dropped:
            self.report(f"{self.name}: {missing} steps were not taken; they are in metrics.jsonl")

    def _serve(self) -> None:
        wait, ends = self.first_wait, 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    ends = ends or time.monotonic() + self.patience
                if not self._waiting or (ends and time.monotonic() > ends):
                    break
                step, values = self._waiting[0]
            try:
                self.mirror.write(step, values)
            except Exception as error:  # whatever a tracker's client raises: it is no part of the run
                self._report_failure(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, min(wait, LONGEST_WAIT))
                if self._closing:
                    time.sleep(min(wait, 1.0))
                wait *= 2
                continue
            wait = self.first_wait
            with self._changed:
                if self._waiting and self._waiting[0][0] == step:
                    self._waiting.popleft()
            if self._away:
                self._away = False
                self.report(f"{self.name} takes steps again")
        try:
            self.mirror.close()
        except Exception as error:  # as above
            self._report_failure(error)

    def _report_failure(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            message = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self.report(f"warning: {self.name} does not take steps ({message}); the run goes on, they are tried again")
