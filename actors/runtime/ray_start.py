"""Ray's own start: patient on a slow machine, and one line that says what to do where it cannot be."""

import contextlib
import logging
import os
import re
import resource
import tempfile
from collections.abc import Iterator
from typing import Any

from srm_ray.console import interrupts
from srm_ray.console.progress import echo
from srm_ray.errors import RunError

TRIES = 4  # of half a minute each, which is what Ray itself gives its processes
DESCRIPTORS = 1024  # open files that Ray's servers need, at least
SLOW = re.compile(r"timed out|failed to (start|connect to) gcs|not have started successfully|deadline", re.IGNORECASE)
LOGS = "the logs of Ray's processes are in {folder}/ray/session_latest/logs"
ADVICE = (  # (Ray's words, what to do), the first that fits
    (r"no space left", "free some space in {folder}, or set RAY_TMPDIR to a folder on a larger disk"),
    (r"too many open files", "raise the limit of open files (ulimit -n 65536)"),
    (r"resource temporarily unavailable|can't start new thread", "raise the limit of processes (ulimit -u)"),
    (r"/dev/shm|shared memory", "free some of /dev/shm, or make it larger (docker run --shm-size 2g)"),
    (r"cannot allocate memory|out of memory", "end what else needs memory on this machine"),
    (r"address already in use|\bport\b", "end what holds the port, or unset the RAY_* variable that names it"),
    (r"no such file or directory: '{folder}", "set RAY_TMPDIR to a folder that there is (now {folder})"),
    (r"permission denied|read-only", "set RAY_TMPDIR to a folder that you may write to (now {folder})"),
    (r"af_unix path length|path.*too long", "set RAY_TMPDIR to a folder with a shorter name (now {folder})"),
    (r"version mismatch", "run the cluster and this command with the same versions of Ray and Python"),
    (SLOW.pattern, "run it again with less beside it; " + LOGS),
    (r"", LOGS),
)


def start(address: str, **options: Any) -> None:
    """`ray.init` at host:port, or "local" for a cluster of its own. Raises RunError, saying what to do.

    A start that misses Ray's own time limit is tried again: the second finds its files in memory, a busy head its time.
    """
    import ray

    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    local = address == "local"
    if local:
        check_descriptors()
    for last in (*[False] * (TRIES - 1), True):
        with contextlib.suppress(Retry), clean_when_failed():
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **options)
            except Exception as error:  # Ray raises bare ones
                if not last and SLOW.search(str(error)):
                    echo("Ray did not start in time on this machine; trying again")
                    raise Retry from error
                raise RunError(explain(error, address, folder)) from error
            if local:
                end_log_monitor()
            interrupts.hold()
            return


class Retry(Exception):
    """The start missed Ray's time limit."""


@contextlib.contextmanager
def clean_when_failed() -> Iterator[None]:
    """Ends the processes that a failed start leaves behind."""
    import psutil
    import ray

    this = psutil.Process()
    before = {child.pid for child in this.children(recursive=True)}
    try:
        yield
    except BaseException:
        ray.shutdown()
        left = [child for child in this.children(recursive=True) if child.pid not in before]
        for child in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=5)
        raise


def end_log_monitor() -> None:
    """Ends the process of this Ray that sends on what workers write: with `log_to_driver=False` to nobody, and it looks
    at all of their files ten times a second for that. The files stay as they are."""
    from ray._private import worker

    if worker._global_node is not None:
        worker._global_node.kill_log_monitor(check_alive=False)


def check_descriptors() -> None:
    """Raises RunError where this process may not open as many files as Ray's servers need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        raise RunError(
            f"Ray cannot start here: a process may open {hard} files, it needs {DESCRIPTORS}; "
            f"raise the limit (ulimit -n {DESCRIPTORS}, or nofile in /etc/security/limits.conf)"
        )


def explain(error: BaseException, address: str, folder: str) -> str:
    """What went wrong, in Ray's words, and what to do."""
    message = f"{type(error).__name__}: {error}"
    signs = ((sign.replace("{folder}", re.escape(folder)), advice) for sign, advice in ADVICE)
    advice = next(advice for sign, advice in signs if re.search(sign, message, re.IGNORECASE))
    where = "start here" if address == "local" else f"be reached at {address}"
    first = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return f"Ray cannot {where}: {first[:300]}; {advice.format(folder=folder)}"
