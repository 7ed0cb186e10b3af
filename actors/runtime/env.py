"""Environment variables that the processes of a run read when they start: Ray's own, and those that compute."""

import os
import sys
from pathlib import Path

from srm_ray.console import output
from srm_ray.files.roots import cache_root

# Compute threads that spin while they wait starve each other where engine and learner share cores; some microseconds
# of it are less than it takes to fall asleep and be woken.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}

CLUSTER = {
    **WAITING,
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A local cluster's workers are the job itself: Ray's default (15) would starve them behind anything else.
    "RAY_worker_niceness": "0",
    # Calls are named by weight version: as a label of Ray's metrics, and as the records of 100,000 calls, these names
    # would make its agent and its control service grow for as long as a run lasts.
    "RAY_metric_cardinality_level": "low",
    "RAY_task_events_max_num_task_in_gcs": "2000",
    # Ray's own servers allocate with jemalloc, whose arenas and caches of each thread fill for tens of minutes, also
    # where nothing happens. With one arena and no caches they stay as they are after the first minute.
    "RAY_JEMALLOC_PROFILE": "raylet,gcs_server",
    "RAY_JEMALLOC_CONF": "narenas:1,tcache:false,dirty_decay_ms:1000,muzzy_decay_ms:0",
    # Slow is not dead: a worker process may take minutes to start where cores or disk are slow, a raylet to answer.
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_failure_threshold": "20",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
}

# A reward worker's threads wait, for the most part: with one arena of glibc's for all of them it grows no more after
# the first 2,000 groups.
REWARD_WORKER = {"MALLOC_ARENA_MAX": "1"}


def set_for_cluster() -> None:
    """For the processes of a cluster that this one is about to start. What the user has set stays."""
    for name, value in CLUSTER.items():
        os.environ.setdefault(name, value)


def of_learner(gpus: float) -> dict[str, str]:
    """Of a learner rank. On a CPU it allocates with the jemalloc that Ray brings: batches of ever other shapes leave
    holes in glibc's memory, a tenth of what the rank holds, and it would grow for hundreds of steps."""
    import ray

    library = Path(ray.__file__).parent / "core" / "libjemalloc.so"
    if gpus or "LD_PRELOAD" in os.environ or not library.exists():
        return {}
    # Ranks inherit the raylet's environment, its allocator's thrift included.
    return {"LD_PRELOAD": str(library), "MALLOC_CONF": "tcache:true"}


def set_log_folder() -> None:
    """Tell the workers of a local cluster, and of this job on another, where their logs go."""
    folder = output.log_folder()
    if folder is None:
        output.log_to(folder := cache_root() / "logs")
    os.environ[output.FOLDER] = str(folder)


def keep_log(name: str) -> None:
    """What this worker prints goes to its file in the run's log folder. Nothing outside a Ray actor."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        output.keep_log(name)
