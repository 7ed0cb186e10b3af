"""The Grafana dashboard asks for metrics that exist: by name, and of a real Prometheus that scrapes a running job."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from srm_ray.runs.metrics import COUNTERS, NAMES
from tests.watching import prometheus

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PROGRAM = prometheus.find()
OWN = (
    {f"ray_srm_ray_{name.replace('/', '_')}" for name in NAMES}
    | {f"ray_srm_ray_{name}_total" for name in COUNTERS}
    | {"ray_srm_ray_step"}
)


def test_every_metric_has_its_place_on_the_dashboard_and_none_is_invented() -> None:
    asked = {name for _, expression in prometheus.expressions() for name in prometheus.metrics_in(expression)}
    assert {name for name in asked if name.startswith("ray_srm_ray_")} == OWN
    assert asked - OWN == {"ray_actors", "ray_component_rss_mb", "ray_component_cpu_percentage"}


def test_panels_lie_beside_each_other() -> None:
    dashboard = json.loads(prometheus.DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(covered)) == len(covered)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "run"}
    for title, expression in prometheus.expressions():
        assert "ray_srm_ray" not in expression or 'run=~".*"' in expression, title


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Path]:
    """The folder of a running Ray, in which a scripted run logs; ended by closing the job's standard input."""
    folder = tempfile.mkdtemp(prefix="srm")  # short: Ray's sockets lie in it
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.watching.scraped_job", folder, str(tmp_path / "scraped")],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield Path(folder)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        status = process.wait(300)
        shutil.rmtree(folder, ignore_errors=True)
    assert status == 0


@pytest.mark.skipif(
    PROGRAM is None,
    reason="NOT TESTED: the dashboard needs Prometheus (apt-get install prometheus), and there is none",
)
def test_a_real_prometheus_finds_data_for_every_expression(job: Path) -> None:
    assert PROGRAM is not None
    with prometheus.start(PROGRAM, job / "prom_metrics_service_discovery.json") as server:
        assert prometheus.without_data(server, 120) == []
        alarms = server.query('ray_srm_ray_alarms_total{run="scraped"}')
        assert [(one["metric"]["alarm"], one["value"][1]) for one in alarms] == [("entropy", "1")]
        step = server.query('ray_srm_ray_step{run="scraped"}')
        assert [one["value"][1] for one in step] == ["10"]
