"""Which cluster a command joins: none that is gone, whatever address it left behind."""

import socket

import pytest
import ray

from actors.runtime import cluster
from srm_ray.errors import UserError

pytestmark = pytest.mark.integration


@pytest.fixture
def left_behind(tmp_path, monkeypatch):
    """The address of a cluster that has ended, where `ray start` wrote it."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    address = f"{ray.util.get_node_ip_address()}:{free_port()}"
    (tmp_path / "ray" / "ray_current_cluster").write_text(address)
    return address


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_cluster_that_is_gone_is_not_waited_for(left_behind):
    assert cluster.running() == ""
    with pytest.raises(UserError, match=f"{left_behind} has ended"):
        cluster.join(left_behind)


def test_a_cluster_that_answers_is_joined(left_behind):
    host, port = left_behind.split(":")
    with socket.create_server((host, int(port))):
        assert cluster.running() == left_behind


def test_a_cluster_asked_for_is_never_replaced_by_another(left_behind, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", left_behind)
    with pytest.raises(UserError, match="unset RAY_ADDRESS"):
        cluster.running()
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(UserError, match="not host:port"):
        cluster.running()


def test_local_is_a_cluster_of_its_own(left_behind, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster.running() == ""
    with pytest.raises(UserError, match="no Ray cluster runs here"):
        cluster.join()
