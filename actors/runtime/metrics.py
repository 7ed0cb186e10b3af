"""A run's numbers as Ray's metrics: Prometheus, and from there the dashboard."""

from ray.util.metrics import Counter, Gauge

from srm_ray.runs.metrics import COUNTERS, NAMES


class RayMetrics:
    """Gauges and counters of this process's Ray node, with `tags` as labels."""

    def __init__(self, tags: dict[str, str]):
        self.tags = tags
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in {"step": float(step), **values}.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(
                    "srm_ray_" + name.replace("/", "_"),
                    description=NAMES.get(name, name),
                    tag_keys=tuple(self.tags),
                )
            self._gauges[name].set(value, tags=self.tags)

    def count(self, name: str, tags: dict[str, str]) -> None:
        tags = self.tags | tags
        if name not in self._counters:
            self._counters[name] = Counter("srm_ray_" + name, description=COUNTERS[name], tag_keys=tuple(tags))
        self._counters[name].inc(1, tags=tags)

    def flush(self) -> None:
        """Ray's agent collects by itself."""

    def close(self) -> None:
        """What was set is collected until the process ends."""
