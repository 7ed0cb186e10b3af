"""What rank 0 reports of each step: a line for the driver, metrics for the run folder."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.console.progress import duration
from srm_ray.files.atomic import append
from srm_ray.training.flops import peak_flops, utilisation
from srm_ray.training.job import TrainSpec

if TYPE_CHECKING:
    from torch import nn

REPORT_EVERY = 2.0  # seconds between two records of a rank that is within a step
LINE_EVERY = 20.0  # seconds between two lines, at most, where steps are short enough


@dataclass(frozen=True, slots=True)
class StepResult:
    """An optimizer step. loss: the mean over its tokens or pairs. norm: of the gradient, before clipping. tokens:
    positions computed, over all ranks. extra: other metrics of it, by name."""

    loss: float
    norm: float
    tokens: int
    seconds: float
    extra: dict[str, float]


class TrainLogger:
    """Rank 0's progress line and metrics of each step.

    Names: train/loss (nats a token, or a pair), train/grad_norm (before clipping), train/lr,
    train/tokens (positions computed), eval/loss, pairs/accuracy, pairs/margin, time/step (seconds),
    throughput/learner_tokens_per_s, throughput/mfu (share of the peak: the GPUs' BF16 peak as published,
    or what a CPU reaches in a large matrix product).
    """

    def __init__(self, job: TrainSpec, progress_file: Path, world: int) -> None:
        from srm_ray.runs.metrics import MetricsLog

        self.job, self.file = job, progress_file
        self.peak = world * peak_flops(job.optim.precision != "float32")
        folder = Path(job.run_dir)
        self.metrics = MetricsLog(folder / "metrics.jsonl", folder / "tensorboard") if job.run_dir else None
        self.spent, self.steps = 0.0, 0
        self.done = 0  # steps
        self.last_line = self.reported = time.monotonic()

    def begin(self, done: int) -> None:
        if self.metrics:
            self.metrics.after(done)
        self.done = done
        self.report(f"{self.job.name}: continuing after step {done}" if done else "")

    def report(self, line: str = "", status: str = "") -> None:
        """To the driver: where this is, and a line to print."""
        record = {"job": self.job.name, "step": self.done, "steps": self.job.schedule.steps}
        append(self.file, json.dumps({**record, "status": status, "line": line}) + "\n")
        self.reported = time.monotonic()
        self.last_line = self.reported if line else self.last_line

    def status(self, status: str, step: int | None = None) -> None:
        """What goes on within a step; reported every few seconds."""
        self.done = self.done if step is None else step
        if time.monotonic() - self.reported > REPORT_EVERY:
            self.report(status=status)

    def step(self, step: int, made: StepResult, module: "nn.Module") -> None:
        """A step is done. module: that computes it, for its size."""
        lr, seconds, extra = self.job.schedule.at(step - 1), made.seconds, made.extra
        self.spent += seconds
        self.steps += 1
        self.done = step
        rate = made.tokens / seconds
        late = time.monotonic() - self.last_line > LINE_EVERY
        if late or step % self.job.log_every == 0 or step == self.job.schedule.steps or extra:
            left = self.spent / self.steps * (self.job.schedule.steps - step)
            measured = "".join(f"  {name} {value:.4f}" for name, value in extra.items())
            self.report(
                f"{self.job.name} {step}/{self.job.schedule.steps}  loss {made.loss:.4f}{measured}  "
                f"grad_norm {made.norm:.2f}  lr {lr:.2e}  {rate:,.0f} tokens/s  {duration(left)} left"
            )
        if self.metrics:
            record = {"step": step, "train/loss": made.loss, "train/grad_norm": made.norm, "train/lr": lr}
            record |= {"train/tokens": made.tokens}
            speed = {
                "time/step": seconds,
                "throughput/learner_tokens_per_s": rate,
                **utilisation(module, rate, self.peak),
            }
            self.metrics.write({**record, **extra, **speed})

    def flush(self) -> None:
        if self.metrics:
            self.metrics.flush()

    def close(self) -> None:
        if self.metrics:
            self.metrics.flush()
            self.metrics.close()
