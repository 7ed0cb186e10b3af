"""The metrics of a cluster of our own are read as long as it lasts."""

import http.server
import threading
import time

import pytest
import ray

from actors.runtime import metrics_reader

pytestmark = pytest.mark.integration


@pytest.fixture
def agent(monkeypatch):
    """Times at which something that answers like Ray's agent was read."""
    times = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.path == "/metrics"
            times.append(time.monotonic())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 200_000)

        def log_message(self, *args):
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        node = {"Alive": True, "NodeManagerAddress": "127.0.0.1", "MetricsExportPort": port}
        monkeypatch.setattr(ray, "nodes", lambda: [node, {"Alive": False}])
        monkeypatch.setattr(metrics_reader, "EVERY", 0.05)
        yield times
        server.shutdown()


def test_read_again_and_again_until_closed(agent):
    reader = metrics_reader.MetricsReader()
    deadline = time.monotonic() + 60
    while len(agent) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    reader.close()
    time.sleep(0.2)
    read = len(agent)
    time.sleep(0.3)
    assert len(agent) == read


def test_an_agent_that_is_not_there_ends_nothing(agent):
    reader = metrics_reader.MetricsReader()
    there, reader.url = reader.url, "http://127.0.0.1:9/metrics"
    time.sleep(0.3)
    agent.clear()
    reader.url = there
    deadline = time.monotonic() + 60
    while not agent:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    reader.close()
