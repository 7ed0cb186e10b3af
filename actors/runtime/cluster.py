"""The Ray cluster that a command works on: joined where one runs, else started here and ended with the command."""

import contextlib
import tempfile
from collections.abc import Iterator

from actors.runtime import env
from actors.runtime.metrics_reader import MetricsReader
from actors.runtime.node_watch import NodeWatch, watch
from actors.runtime.ray_start import start
from srm_ray.console import interrupts, output
from srm_ray.console.progress import phase
from srm_ray.errors import UserError, printable
from srm_ray.process import scratch

GONE = "the Ray cluster at {} has ended, or cannot be reached from here"
_sessions = 0  # blocks of `session` that are open
_connected = False  # by `connect`; a connection of the caller's own is not ours to end
_reader: MetricsReader | None = None  # of the cluster that this process started
_watch: NodeWatch | None = None


def connect() -> None:
    """Join the running cluster (RAY_ADDRESS, or one that `ray start` made here), else start a local one."""
    import os

    import ray

    global _connected, _reader, _watch
    if ray.is_initialized():
        return
    env.set_for_cluster()
    env.set_log_folder()
    # A local cluster's processes end with this one, and so do their temporary files; Ray's logs stay where they are.
    os.environ.setdefault("RAY_TMPDIR", tempfile.gettempdir())
    scratch.own()
    found = running()
    options = {"runtime_env": {"env_vars": {output.FOLDER: os.environ[output.FOLDER]}}} if found else {}
    with phase("joining the Ray cluster" if found else "starting Ray", remember=True):
        start(found or "local", **options)
    _connected = True
    _watch = watch(own=not found)
    if not found:
        # Ray opens its session's folder, with logs and sockets, to everybody.
        os.chmod(ray._private.worker._global_node.get_session_dir_path(), 0o700)
        _reader = MetricsReader()


def running() -> str:
    """host:port of the cluster to join: RAY_ADDRESS, else the one that `ray start` made here; "" where there is none.

    Ray itself would try for a quarter of an hour to reach one that is gone and left its address behind.
    """
    import os

    from ray._private.services import canonicalize_bootstrap_address

    given = os.environ.get("RAY_ADDRESS", "")
    if "://" in given:  # Ray's own to understand
        return given
    try:
        found = canonicalize_bootstrap_address(None) or ""
    except ValueError:
        raise UserError(f"RAY_ADDRESS: {given!r} is not host:port") from None
    if found and not _answers(found):
        if given:
            raise UserError(f"{GONE.format(found)}: unset RAY_ADDRESS to start a cluster here")
        return ""
    return found


def _answers(address: str) -> bool:
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def address() -> str:
    """Of the cluster that this process is connected to."""
    import ray

    return ray.get_runtime_context().gcs_address


def join(address: str = "auto") -> None:
    """Join a cluster that runs already; UserError where there is none.

    address: as a run folder names it. One on another machine is joined where RAY_ADDRESS names it too: a cluster may
    run anything in who joins it, and a run folder is data.
    """
    found = canonical(address)
    if not found:
        raise UserError("no Ray cluster runs here: set RAY_ADDRESS, or run this on one of its machines")
    if not is_known(found):
        where = printable(found)[:80]
        raise UserError(f"the run says that its Ray cluster is at {where}: if that is yours, set RAY_ADDRESS to it")
    if not _answers(found):
        raise UserError(GONE.format(found))
    start(found)


def canonical(address: object) -> str:
    """host:port of an address, "" for none."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address(address) or "" if isinstance(address, str) else ""
    except (ConnectionError, ValueError):
        return ""


def is_known(address: str) -> bool:
    """Whether an address is the user's own word (RAY_ADDRESS, `ray start` here), or one of this machine."""
    import psutil

    host = address.rpartition(":")[0].strip("[]")
    here = {one.address for family in psutil.net_if_addrs().values() for one in family}
    return host in here | {"localhost"} or host.startswith("127.") or address == canonical("auto")


@contextlib.contextmanager
def session() -> Iterator[None]:
    """One connection for all commands that the block calls: what they disconnect stays connected until it ends.

    A connection that was there before is left as it was.
    """
    global _sessions
    connect()
    _sessions += 1
    try:
        yield
    finally:
        _sessions -= 1
        disconnect()


def disconnect() -> None:
    """Leave the cluster that `connect` joined; one that it started ends with all of its processes.

    Ray's agents notice the end of their cluster a minute late; they are ended by their process ids.
    """
    import psutil
    import ray

    global _connected, _reader, _watch
    if _sessions or not _connected:
        return
    _connected = False
    if _watch:
        _watch.close()
        _watch = None
    if _reader:
        _reader.close()
        _reader = None
    if interrupts.work_goes_on():  # in Ray: the command's last step ends the process and what it has started
        interrupts.at_the_end(scratch.release)
        return
    started = psutil.Process().children(recursive=True)
    ray.shutdown()
    _, left = psutil.wait_procs(started, timeout=5)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    scratch.release()
