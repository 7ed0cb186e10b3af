"""One object a step: to `metrics.jsonl`, TensorBoard, and Ray's metrics (Prometheus, the dashboard).

Names and units:

    reward/mean               mean reward of the completions sampled in this step, dropped groups included
    reward/accuracy           share that is correct; correctness only
    reward/accuracy/<source>  the same by source of prompts, where there are several
    curriculum/level/<source> level that the source is drawn at, from 0, where it has any
    reward/undecided          completions that a grader could not decide (masked out of the loss)
    groups/kept               groups trained on
    groups/dropped_uniform    groups drawn whose completions were all right or all wrong
    groups/dropped_stale      groups dropped for being too many versions old
    completion/length_mean    tokens
    completion/truncated_fraction
    policy/loss, policy/entropy (nats a token), policy/grad_norm (before clipping), policy/lr
    policy/clip_fraction_high, policy/clip_fraction_low   share of tokens held by the upper, lower clip
    policy/mismatch_kl        KL of rollout against learner, nats a token (k3)
    policy/mismatch_abs       mean absolute log-probability difference, nats; mismatch_max the largest
    weights/version           version that the next step samples with
    staleness/mean, staleness/max   versions between sampling and training
    time/step                 seconds; of these time/rollout (until the last completion), time/reward
                              (waiting for grades after it), time/learn, time/sync (weight push)
    time/eval                 seconds, in steps that have it; not part of time/step
    throughput/rollout_tokens_per_s   completion tokens sampled, over time/rollout
    throughput/learner_tokens_per_s   completion tokens trained on, over time/learn
    eval/accuracy, eval/accuracy_low, eval/accuracy_high   greedy, held out, with its 95 % interval
"""

import json
import os
import re
from pathlib import Path
from typing import Any

TIMED = ("time/", "throughput/")


class MetricsLog:
    """Appends steps to metrics.jsonl and mirrors them. `after` drops what a continued run does again."""

    def __init__(
        self,
        path: Path,
        tensorboard: Path | None = None,
        *,
        ray_metrics: bool = False,
        tags: dict[str, str] | None = None,
    ):
        self.path = path
        self.tensorboard_folder = tensorboard
        self._writer: Any = None
        self._ray_metrics = ray_metrics
        self._gauges: dict[str, Any] = {}
        self._tags = tags or {}

    def after(self, step: int) -> None:
        """Keep lines up to `step` alone (a killed run may have logged more, or half a line)."""
        if not self.path.is_file():
            return
        kept = [line for line in read(self.path) if line["step"] <= step]
        partial = self.path.with_name(".metrics.partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        partial.replace(self.path)

    def write(self, metrics: dict[str, Any]) -> None:
        """`metrics` holds "step" and numbers by name."""
        with self.path.open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        step = int(metrics["step"])
        for name, value in metrics.items():
            if name != "step" and isinstance(value, int | float):
                self._mirror(name, float(value), step)

    def flush(self) -> None:
        """To disk: a checkpoint must not be newer than the log beside it."""
        if self.path.is_file():
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _mirror(self, name: str, value: float, step: int) -> None:
        if self.tensorboard_folder is not None:
            if self._writer is None:
                from tensorboard.summary import Writer

                self._writer = Writer(str(self.tensorboard_folder))
            self._writer.add_scalar(name, value, step=step)
        if self._ray_metrics:
            if name not in self._gauges:
                from ray.util.metrics import Gauge

                self._gauges[name] = Gauge(
                    "srm_ray_" + name.replace("/", "_"), description=name, tag_keys=tuple(self._tags)
                )
            self._gauges[name].set(value, tags=self._tags)


def metric_name(text: str) -> str:
    """`text` as part of a metric's name: Prometheus takes letters, digits and underscores."""
    return re.sub(r"\W", "_", text, flags=re.ASCII) or "none"


def read(path: Path) -> list[dict[str, Any]]:
    """Steps of a metrics.jsonl, in order; a last line cut short by a kill is left out."""
    steps = []
    for line in path.read_text().splitlines():
        try:
            steps.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return steps


def without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    """What must be equal in two deterministic runs."""
    return {name: value for name, value in metrics.items() if not name.startswith(TIMED)}
