"""What a run writes and prints of each step: its completions, its line of metrics, its alarms.

begin(metrics) -> add(more of them) -> write()     an end in between is written with what was known: `write_begun`
"""

import asyncio
from typing import Any

from srm_ray.console.progress import Progress, echo
from srm_ray.files.faults import WriteFailed
from srm_ray.process import memory
from srm_ray.rl.sources import Collected
from srm_ray.rl.types import Learned
from srm_ray.runs import rollout_log
from srm_ray.runs.clock import StepClock
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from srm_ray.runs.watch import Watch


class StepLog:
    """steps: that the run is to have."""

    def __init__(self, folder: RunFolder, log: MetricsLog, watch: Watch, clock: StepClock, steps: int):
        self.folder, self.log, self.watch, self.clock = folder, log, watch, clock
        self.steps, self.progress = steps, Progress(steps)
        self.metrics: dict[str, Any] | None = None
        self.writing: asyncio.Future[None] | None = None

    def begin(self, step: int, collected: Collected, learned: Learned | None, metrics: dict[str, Any]) -> None:
        """A step is done; learned: None where it was skipped."""
        self.collected, self.learned = collected, learned
        self.metrics = {"step": step, **metrics, **(learned.metrics if learned else {})}

    def add(self, metrics: dict[str, Any]) -> None:
        assert self.metrics is not None, "begin comes first"
        self.metrics |= metrics

    async def write(self, shortage: str = "") -> None:
        """The step's completions and its line, then its messages. Raises RunError for an alarm that ends the run.

        shortage: the message where the step has too few groups, see `srm_ray.rl.endings.shortage`.
        """
        metrics = await self._write()
        if self.learned:
            self.progress.step(metrics)
        if shortage:
            echo(f"step {metrics['step']}/{self.steps} {shortage}")
        self.watch.report()
        memory.give_back(metrics["step"])

    async def write_begun(self) -> None:
        """The line of a step whose end was interrupted. What cannot be written is reported, and hides nothing else."""
        if self.metrics is not None:
            try:
                await self._write()
            except (OSError, WriteFailed) as error:
                echo(f"  the line of the step that was interrupted could not be written: {error}")

    async def _write(self) -> dict[str, Any]:
        metrics, collected, learned = self.metrics, self.collected, self.learned
        assert metrics is not None, "begin comes first"
        with self.clock.part("log"):
            if self.writing is None:
                groups, kept = (*collected.graded, *collected.stale), collected.kept
                proofs = list(zip(collected.groups, learned.logprobs, strict=True)) if learned else ()
                work = asyncio.to_thread(
                    rollout_log.write, self.folder.rollouts, metrics["step"], groups, kept, learner=proofs
                )
                self.writing = asyncio.ensure_future(work)
            await asyncio.shield(self.writing)  # a thread cannot be stopped, so an end waits for the same one
        metrics |= self.clock.lap()
        metrics |= self.watch.check(metrics)
        self.metrics = self.writing = None
        with self.clock.part("log"):
            self.log.write(metrics)
        return metrics
