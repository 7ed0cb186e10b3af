"""What a reward worker publishes of its grading."""

import sys
from collections.abc import Collection
from dataclasses import dataclass

from rewards.verdict import Verdict

UNAVAILABLE = "unavailable"  # the tier where no sandbox holds


@dataclass(frozen=True, slots=True)
class Latency:
    """Count, median, 99th percentile and largest of the latest latencies, in seconds."""

    count: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, values: Collection[float]) -> "Latency":
        ordered = sorted(values)
        last = len(ordered) - 1
        return cls(len(ordered), ordered[last // 2], ordered[round(last * 0.99)], ordered[-1])


@dataclass(frozen=True, slots=True)
class GradingStats:
    """What a worker has graded so far: counts and latencies by reason, counts by kind, depths of its queues.

    sandbox: the tier of the code sandbox, or `UNAVAILABLE`; sandbox_gaps: what that does not stop; sandbox_why: why
    better tiers do not hold here. replaced: processes.
    """

    scored: int
    reasons: dict[str, int]
    kinds: dict[str, int]
    seconds: dict[str, Latency]
    queued: dict[str, int]
    sandbox: str
    sandbox_gaps: tuple[str, ...]
    sandbox_why: dict[str, str]
    replaced: int


class Published:
    """The same numbers for Prometheus, through `ray.util.metrics`."""

    def __init__(self, index: int) -> None:
        from ray.util.metrics import Counter as RayCounter
        from ray.util.metrics import Gauge, Histogram

        self.worker = f"reward-{index}"
        tags = ("worker", "kind", "reason")
        self.verdicts = RayCounter("srm_reward_verdicts", "graded completions", tag_keys=tags)
        bounds = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0]
        self.seconds = Histogram(
            "srm_reward_seconds", "seconds to grade a completion", boundaries=bounds, tag_keys=tags
        )
        self.queued = Gauge("srm_reward_queued", "completions waiting or being graded", tag_keys=("worker", "kind"))

    @staticmethod
    def when_in_ray(index: int) -> "Published | None":
        """None outside a Ray worker (tests, tools)."""
        ray = sys.modules.get("ray")
        return Published(index) if ray is not None and ray.is_initialized() else None

    def count(self, kind: str, verdict: Verdict, seconds: float, depths: dict[str, int]) -> None:
        tags = {"worker": self.worker, "kind": kind, "reason": verdict.reason}
        self.verdicts.inc(1, tags=tags)
        self.seconds.observe(seconds, tags=tags)
        for name, depth in depths.items():
            self.queued.set(depth, tags={"worker": self.worker, "kind": name})
