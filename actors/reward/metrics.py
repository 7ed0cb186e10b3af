"""What a reward worker publishes of its grading."""

import sys
from collections import deque

from rewards.verdict import Verdict


def summary(values: deque[float]) -> dict[str, float]:
    """Count, median, 99th percentile and largest of the latest latencies, in seconds."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"count": len(ordered), "p50": ordered[last // 2], "p99": ordered[round(last * 0.99)], "max": ordered[-1]}


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
