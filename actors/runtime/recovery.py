"""How many deaths of a role's workers a run puts up with, and how long it waits before each replacement."""

import time
from collections import deque
from collections.abc import Callable

from srm_ray.config.recovery import RecoveryConfig
from srm_ray.errors import RunError

LONGEST_WAIT = 60.0  # seconds


class Budget:
    """Counts the deaths of one role within a window of time; the first cause is what the last error names."""

    def __init__(self, role: str, options: RecoveryConfig, clock: Callable[[], float] = time.monotonic):
        self.role, self.options, self.clock = role, options, clock
        self.recent: deque[tuple[float, str]] = deque()
        self.total = 0

    def spend(self, cause: str) -> float:
        """Count a death. Returns the seconds to wait before the replacement: 0, then backoff, doubled each time.

        Raises RunError, naming the first cause, when more than `restarts` fall into one window.
        """
        now = self.clock()
        self.total += 1
        self.recent.append((now, cause))
        while self.recent[0][0] < now - self.options.window:
            self.recent.popleft()
        count = len(self.recent)
        if count > self.options.restarts:
            raise RunError(
                f"{self.role} workers died {count} times within {self.options.window:g} s "
                f"(recovery.restarts {self.options.restarts}); the first: {self.recent[0][1]}"
            )
        return 0.0 if count == 1 else min(LONGEST_WAIT, self.options.backoff * 2 ** (count - 2))
