"""Which cluster a command joins: none that is gone, whatever address it left behind."""

import os
import socket
import subprocess
import sys

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


@pytest.mark.parametrize("address", ["192.0.2.7:6379", "evil.example:6379", "x\x1b[2J:1"])
def test_a_cluster_that_only_a_run_folder_names_is_not_joined(left_behind, monkeypatch, address):
    """Who joins a cluster runs what it sends."""
    reached = []
    monkeypatch.setattr(cluster, "_answers", reached.append)
    with pytest.raises(UserError, match="if that is yours, set RAY_ADDRESS") as refused:
        cluster.join(address)
    assert not reached and str(refused.value).isprintable()


@pytest.mark.parametrize("address", [5, None, ["a"], {}, ""])
def test_an_address_that_is_none_is_one_line(left_behind, address):
    with pytest.raises(UserError, match=r"no Ray cluster runs here|has ended"):
        cluster.join(address)


def test_what_the_user_names_is(left_behind, monkeypatch):
    assert cluster.is_known(left_behind) and cluster.is_known("127.0.0.1:5") and not cluster.is_known("192.0.2.7:6379")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.7:6379")
    assert cluster.is_known("192.0.2.7:6379")


def test_a_session_of_our_own_is_its_user_s_alone():
    """Its logs and its sockets: Ray lets everybody in."""
    code = (
        "import os, ray; from actors.runtime import cluster; cluster.connect(); "
        "print(oct(os.stat(ray._private.worker._global_node.get_session_dir_path()).st_mode)); cluster.disconnect()"
    )
    environment = os.environ | {"RAY_ADDRESS": "local"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "0o40700"
