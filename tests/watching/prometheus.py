"""A real Prometheus that scrapes a running Ray, and the dashboard's expressions asked of it.

python -m tests.watching.prometheus /tmp/ray/prom_metrics_service_discovery.json     while a job runs
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parents[2] / "configs" / "grafana" / "srm_ray.json"
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: ray
    file_sd_configs: [{{files: ["{discovery}"], refresh_interval: 1s}}]
"""


def find() -> str | None:
    return shutil.which("prometheus")


def expressions() -> list[tuple[str, str]]:
    """(panel's title, expression as Grafana would send it for all runs) of every target of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    targets = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]
    return [(title, expression.replace("$run", ".*")) for title, expression in targets]


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bray_[a-z_]+", expression))


class Prometheus:
    def __init__(self, url: str):
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of `expression`: [{"metric": labels, "value": [time, text]}]."""
        address = f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(address, timeout=60) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]["result"]


@contextlib.contextmanager
def start(program: str, discovery: Path) -> Iterator[Prometheus]:
    """discovery: Ray's service-discovery file, which may appear later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "prometheus.yml"
        config.write_text(CONFIG.format(discovery=discovery))
        process = subprocess.Popen(
            [
                program, f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}", "--log.level=warn",
            ]
        )  # fmt: skip
        try:
            server = Prometheus(f"http://{address}")
            deadline = time.monotonic() + 120
            while True:
                try:
                    server.query("vector(1)")
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, "Prometheus did not start"
                    time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(120)


def without_data(server: Prometheus, seconds: float) -> list[tuple[str, str]]:
    """Expressions that have no data yet after `seconds`."""
    deadline, left = time.monotonic() + seconds, expressions()
    while left and time.monotonic() < deadline:
        left = [(title, expression) for title, expression in left if not server.query(expression)]
        time.sleep(0.5)
    return left


if __name__ == "__main__":
    program = find()
    assert program, "apt-get install prometheus"
    with start(program, Path(sys.argv[1])) as running:
        missing = without_data(running, float(sys.argv[2]) if len(sys.argv) > 2 else 30)
        for title, expression in expressions():
            series = running.query(expression)
            value = series[0]["value"][1] if series else "NO DATA"
            print(f"{title:40}{expression:75}{len(series):>3} series, first {value}")
    sys.exit(bool(missing))
