"""What is said where Ray cannot start, and that a slow machine is given more than one try."""

import resource

import pytest
import ray

from actors.runtime import ray_start
from srm_ray.errors import RunError, one_line

pytestmark = pytest.mark.integration
TIMED_OUT = (
    "The current node timed out during startup. This could happen because some of the raylet failed to startup or the "
    "GCS has become overloaded."
)


@pytest.fixture
def init(monkeypatch):
    """`ray.init` that fails as told, once for each error; then it works."""
    calls, errors = [], []

    def fake(**options):
        calls.append(options["address"])
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr(ray, "init", fake)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setenv("RAY_TMPDIR", "/scratch")
    return calls, errors


def test_a_start_that_misses_rays_time_limit_is_tried_again(init):
    calls, errors = init
    errors += [Exception(TIMED_OUT), RuntimeError("Failed to start GCS. Last connection error: x")]
    ray_start.start("local")
    assert calls == ["local"] * 3


def test_what_never_comes_up_says_what_to_do(init):
    calls, errors = init
    errors += [Exception(TIMED_OUT)] * 9
    with pytest.raises(RunError) as failed:
        ray_start.start("local")
    assert len(calls) == ray_start.TRIES
    assert one_line(failed.value) == (
        "Ray cannot start here: The current node timed out during startup; run it again with less beside it; the "
        "logs of Ray's processes are in /scratch/ray/session_latest/logs"
    )


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device"), "free some space in /scratch"),
        (OSError(24, "Too many open files"), "ulimit -n 65536"),
        (ValueError("The configured object store size (20 GB) exceeds /dev/shm size (0.06 GB)."), "--shm-size"),
        (PermissionError(13, "Permission denied: '/tmp/ray'"), "set RAY_TMPDIR to a folder that you may write to"),
        (
            ValueError("Ray component dashboard is trying to use a port number 1 that is used"),
            "end what holds the port",
        ),
        (FileNotFoundError(2, "No such file or directory", "/scratch"), "set RAY_TMPDIR to a folder that there is"),
        (OSError("AF_UNIX path length cannot exceed 107 bytes"), "shorter name"),
        (KeyError("?"), "the logs of Ray's processes are in /scratch/ray/session_latest/logs"),
    ],
)
def test_each_cause_has_its_advice(init, error, advice):
    calls, errors = init
    errors.append(error)
    with pytest.raises(RunError, match=advice) as failed:
        ray_start.start("local")
    assert calls == ["local"]
    assert len(str(failed.value).splitlines()) == 1


def test_what_time_cannot_mend_is_tried_once(init):
    calls, errors = init
    errors.append(RuntimeError("Version mismatch: The cluster was started with: Ray: 2.9.0"))
    with pytest.raises(RunError, match=r"cannot be reached at there:6379: .*same versions of Ray and Python"):
        ray_start.start("there:6379")
    assert calls == ["there:6379"]


def test_too_few_descriptors_are_said_before_anything_starts(init, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(RunError, match="may open 256 files, it needs 1024; raise the limit"):
        ray_start.start("local")
    assert init[0] == []


def test_nothing_reads_what_workers_write(ray_session):
    import psutil

    titles = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert any("gcs_server" in title for title in titles) and not any("log_monitor" in title for title in titles)


def test_a_connection_that_was_there_before_outlives_a_command(ray_session):
    from actors.runtime import cluster

    before = cluster.address()
    cluster.connect()
    cluster.disconnect()
    assert ray_session.is_initialized() and cluster.address() == before
