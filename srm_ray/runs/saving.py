"""A GRPO run's checkpoints: model, optimizer and random state, and the driver's own state, committed as one.

restore -> State -> ... steps ... -> save every so often -> ... -> save_last, whatever ends the run
"""

import asyncio
import math
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol, TypeVar

from srm_ray.console.progress import duration, echo, phase
from srm_ray.rl import state as driver
from srm_ray.rl.state import State
from srm_ray.runs import checkpoints, rollout_log
from srm_ray.runs.final import Export, discard_best
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog

T = TypeVar("T")


class Learner(Protocol):
    async def save(self, folder: Path) -> None: ...

    async def load(self, folder: Path) -> None: ...


class Saver:
    """keep: newest checkpoints kept. limit: seconds that the last one may take. model: writes what a checkpoint has in
    `model/` beside the training state.

    version: of the weights in the newest checkpoint. settled: False while the learner may be in the middle of a step,
    so that its weights would not be those of the driver's state. broken: why they are no numbers any more, or "".
    """

    def __init__(
        self,
        folder: RunFolder,
        learner: Learner,
        log: MetricsLog,
        *,
        keep: int,
        limit: float,
        model: Export | None = None,
    ):
        self.folder, self.learner, self.log, self.keep, self.limit = folder, learner, log, keep, limit
        self.model = model
        self.version = 0
        self.settled = True
        self.broken = ""

    def moved(self, metrics: dict[str, float]) -> None:
        """The learner has made a step. metrics: the step's, by which weights that are none are known."""
        wrong = [name for name in ("policy/loss", "policy/grad_norm") if not math.isfinite(metrics[name])]
        self.broken = " and ".join(f"{name} was {metrics[name]}" for name in wrong)

    async def save(self, state: State) -> None:
        """Commit a checkpoint of `state` and the learner's weights. Raises RunError where the disk is full."""
        self.log.flush()
        with (
            phase(f"writing the checkpoint of step {state.step}"),
            checkpoints.writing(self.folder.checkpoints, state.step, keep=self.keep) as path,
        ):
            await self.learner.save(path.absolute())
            if self.model:
                (path / "model").mkdir()
                await self.model(path / "model", state.step)
            await asyncio.to_thread(driver.write, path, state)
        self.version = state.version
        discard_best(self.folder, state.suites.get("best"))

    async def restore(self) -> State | None:
        """State of the newest complete checkpoint, loaded into the learner; None where there is none.

        What the log and the rollouts hold of later steps is removed: they are done again.
        """
        found = checkpoints.newest(self.folder.checkpoints)
        step, path = found or (0, None)
        checkpoints.discard_partial(self.folder.checkpoints)
        rollout_log.discard_after(self.folder.rollouts, step)
        self.log.after(step)
        self.version, self.settled, self.broken = 0, True, ""
        if path is None:
            return None
        state = driver.read(path)
        self.version = state.version
        self.folder.record_event("continued", step=step)
        echo(f"continuing from {path}")
        with phase(f"loading {path}"):
            await self.learner.load(path.absolute())
        return state

    async def finished(self, work: Awaitable[T]) -> T:
        """A step of the learner, done even where this task is cancelled meanwhile.

        Then it has `limit` seconds more, and the cancellation comes with the next await. A second cancellation is
        obeyed at once.
        """
        self.settled = False
        try:
            result = await self._despite_cancellation(asyncio.ensure_future(work))
        except Exception:
            self.settled = True  # it refused the step, and is ready for the next call
            raise
        self.settled = True
        return result

    async def _despite_cancellation(self, working: asyncio.Future[T]) -> T:
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError as cancelled:
            if working.cancelled():
                raise
            echo(f"  ending: waits up to {duration(self.limit)} for the learner to finish its step")
            done, _ = await asyncio.wait((working,), timeout=self.limit)
            if not done:
                raise cancelled from None
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        task.cancel()
        return working.result()

    async def save_last(self, state: State) -> None:
        """Save the weights that have moved since the newest checkpoint, for whatever ends the run.

        Never raises but for a cancellation: what ends the run is to be reported, and a save that fails is a warning.
        """
        if not self.settled:
            echo(f"  the learner did not finish its step: its weights are not saved, {self._usable()}")
            return
        if state.version == self.version:
            return
        if self.broken:
            echo(f"  the weights of step {state.step} are not saved, since {self.broken}: {self._usable()}")
            return
        began = time.monotonic()
        echo(f"  saving the weights of step {state.step}, up to {duration(self.limit)}")
        try:
            await asyncio.wait_for(self.save(state), self.limit)
        except TimeoutError:
            echo(f"  the weights of step {state.step} were not saved within {duration(self.limit)}; {self._usable()}")
        except Exception as error:
            echo(f"  the weights of step {state.step} could not be saved ({error}); {self._usable()}")
        else:
            path = checkpoints.folder_of(self.folder.checkpoints, state.step)
            self.folder.record_event("saved", step=state.step, text=f"weights saved in {path} before the run ended")
            echo(f"  saved in {path} after {duration(time.monotonic() - began)}; the same command goes on from there")

    def _usable(self) -> str:
        newest = checkpoints.newest(self.folder.checkpoints)
        return f"{newest[1]} is the newest checkpoint" if newest else "there is no checkpoint yet"


def check(folder: RunFolder) -> None:
    """Raises UserError where the newest checkpoint cannot be read by this version; starts nothing."""
    if found := checkpoints.newest(folder.checkpoints):
        driver.read(found[1])
