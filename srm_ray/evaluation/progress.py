"""What a person sees while a suite runs: a line every few seconds, with the time left."""

import time

from srm_ray.console.progress import duration, say

EVERY = 5.0  # seconds between lines


class SuiteProgress:
    """total: problems (or requests) of the suite, `done` of them answered before this command. position: e.g. "2/5".

    what: name of the score, "" where there is none before the end.
    """

    def __init__(self, suite: str, position: str, total: int, done: int, what: str = "right") -> None:
        self.suite, self.position, self.total, self.what = suite, position, total, what
        self.done = self.before = done
        self.score = 0.0
        self.tokens = 0
        self.began = self.said = time.perf_counter()
        if done:
            say(f"  {suite} ({position}): {done} of {total} were answered before")

    def add(self, score: float, tokens: int) -> None:
        """A problem is done: its score 0..1, and the tokens sampled for it."""
        self.done += 1
        self.score += score
        self.tokens += tokens
        now = time.perf_counter()
        if now - self.said < EVERY and self.done < self.total:
            return
        self.said = now
        took, new = now - self.began, self.done - self.before
        shown = f"  {self.what} {self.score / new:6.1%}" if self.what else ""
        say(
            f"  {self.suite} ({self.position})  {self.done:>{len(str(self.total))}}/{self.total}{shown}"
            f"  {self.tokens / took:,.0f} tok/s"
            f"  {duration(took / new * (self.total - self.done))} left"
        )
