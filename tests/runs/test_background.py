"""A tracker that is slow, away for a while, or gone: the run does not wait for it, and hears of it once."""

import threading
import time

from srm_ray.runs.background import Background


class Tracker:
    """Fails the first `failures` writes, and waits for `gate` before each."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.taken, self.closed = failures, [], False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, step: int, values: dict[str, float]) -> None:
        self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no route\nto host")
        self.taken.append((step, values["x"]))

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def wait_for(condition, seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_steps_arrive_in_order_and_nobody_waits() -> None:
    tracker, told = Tracker(), []
    tracker.gate.clear()
    behind = Background(tracker, "MLflow", report=told.append)
    for step in range(50):
        behind.write(step, {"x": step / 2})  # returns while the tracker stands still
    assert tracker.taken == []
    tracker.gate.set()
    behind.close()
    assert tracker.taken == [(step, step / 2) for step in range(50)]
    assert tracker.closed and told == []


def test_an_outage_is_reported_once_and_nothing_is_lost() -> None:
    tracker, told = Tracker(failures=3), []
    behind = Background(tracker, "MLflow", first_wait=0.001, report=told.append)
    behind.write(1, {"x": 1.0})
    wait_for(lambda: len(tracker.taken) == 1)
    behind.write(2, {"x": 2.0})
    behind.close()
    assert tracker.taken == [(1, 1.0), (2, 2.0)]
    assert len(told) == 2
    assert told[0].startswith(
        "warning: MLflow does not take steps (ConnectionError: no route to host); the run goes on"
    )
    assert told[1] == "MLflow takes steps again"


def test_a_tracker_that_stays_away_is_not_waited_for() -> None:
    tracker, told = Tracker(failures=10**6), []
    behind = Background(tracker, "MLflow", first_wait=0.001, patience=0.2, report=told.append)
    for step in range(3):
        behind.write(step, {"x": 0.0})
    behind.close()
    assert told[0].startswith("warning: MLflow does not take steps")
    assert told[-1] == "MLflow: 3 steps were not taken; they are in metrics.jsonl"
