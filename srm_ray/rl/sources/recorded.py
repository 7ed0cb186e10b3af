"""The groups of a run that was recorded, in the batches and the order in which it trained on them.

An asynchronous run cannot be repeated by sampling: which group arrived first, and at which token new weights
came, is a matter of timing. Its record can be trained on again, and gives the same losses and weights.
"""

from collections.abc import Callable

from srm_ray.errors import UserError
from srm_ray.rl.sources.common import Choice, Collected, KeepRate, SourceState, by_prompt, with_signal
from srm_ray.rl.types import Group

ReadStep = Callable[[int], tuple[tuple[Group, ...], tuple[Group, ...]]]


class ReplaySource:
    """read: the groups of a step (1, 2, ...) that were trained on, and those that were not."""

    def __init__(self, read: ReadStep, *, step: int, keep_rate: KeepRate, choice: Choice = with_signal):
        self.choice = choice
        self.read, self.step, self.keep_rate = read, step, keep_rate

    async def take(self) -> Collected:
        """The batch of the next step, none where it was skipped; UserError past the end of the record."""
        try:
            groups, others = self.read(self.step + 1)
        except FileNotFoundError as error:
            raise UserError(f"the record ends before step {self.step + 1}: {error.filename} does not exist") from None
        self.step += 1
        no_signal = tuple(group for group in others if not self.choice(group))
        stale = tuple(group for group in others if self.choice(group))
        graded = tuple(sorted((*groups, *no_signal), key=by_prompt))
        return Collected(groups, graded, 0.0, 0.0, 0.0, stale)

    def advance(self, version: int) -> None:
        """A record knows its own order."""

    def state(self) -> SourceState:
        return SourceState()

    def describe(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        """Nothing is in flight."""
