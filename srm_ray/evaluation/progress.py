"""What a person sees while a suite runs: how many problems are answered, how well, and how long the rest takes."""

import contextlib
from collections.abc import Iterator

from srm_ray.console.progress import Phase, echo, phase


class SuiteProgress:
    """what: name of the score, "" where there is none before the end."""

    def __init__(self, bar: Phase, what: str = "right") -> None:
        self.bar, self.what = bar, what
        self.score = 0.0
        self.tokens = 0

    def add(self, score: float, tokens: int) -> None:
        """A problem is done: its score 0..1, and the tokens sampled for it."""
        self.score += score
        self.tokens += tokens
        new = self.bar.done + 1 - self.bar.before
        shown = f"{self.what} {self.score / new:.1%}, " if self.what else ""
        self.bar.advance(note=f"{shown}{self.tokens / max(1e-3, self.bar.took):,.0f} tok/s")


@contextlib.contextmanager
def suite_progress(suite: str, position: str, total: int, done: int, what: str = "right") -> Iterator[SuiteProgress]:
    """total: problems (or requests) of the suite, `done` of them answered before this command. position: e.g. "2/5"."""
    if done:
        echo(f"  {suite} ({position}): {done} of {total} were answered before")
    with phase(f"  {suite} ({position})", total=total, done=done) as bar:
        yield SuiteProgress(bar, what)
