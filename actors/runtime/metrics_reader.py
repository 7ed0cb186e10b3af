"""Reads the metrics of a cluster that this process started, as a Prometheus would.

Ray's agent keeps every gauge that a task of a new name made until somebody reads its metrics, and forgets the old ones
then. Calls are named by weight version (actors/runtime/labels.py), so an agent that nobody reads grows for as long as a
run lasts. On a cluster of several machines this is Prometheus's work.
"""

import contextlib
import threading
import urllib.request

EVERY = 15.0  # seconds


class MetricsReader:
    """A thread that reads and forgets. `close` ends it."""

    def __init__(self) -> None:
        import ray

        [node] = [node for node in ray.nodes() if node["Alive"]]
        self.url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        self._ended = threading.Event()
        threading.Thread(target=self._read, name="metrics-reader", daemon=True).start()

    def _read(self) -> None:
        while not self._ended.wait(EVERY):
            # The agent may be busy or, without the dashboard's packages, not there at all.
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=EVERY) as answer:
                while answer.read(1 << 16):
                    continue

    def close(self) -> None:
        self._ended.set()
