"""Supervised and preference training on Ray Train V2: one DeepSpeed rank in each Ray Train worker.

    driver: run(jobs) -> TorchTrainer -> train(jobs) on every rank
    rank:   rows named by (seed, step) -> its share -> micro-batches -> loss sum / N -> DeepSpeed -> step

What a rank does is in `srm_ray.training.rank`.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.rollout.engine_spec import cores_each
from actors.runtime import env
from actors.runtime.compute import trains_on_gpus
from actors.runtime.low_memory import want_of_memory
from actors.runtime.placement import WAIT, Resources, Strategy, resources
from actors.train.follow import Follow
from srm_ray.console import interrupts, output
from srm_ray.console.progress import phase
from srm_ray.errors import RunError
from srm_ray.model.folder import LINEAGE
from srm_ray.training.job import TrainSpec
from srm_ray.training.rank import Rank, barrier

Progress = Callable[[str], None]
RESTARTS = 3


def needs_of_each(workers: int) -> Resources:
    """What Ray Train reserves for each of so many workers, a GPU where all can have one. Ray must be initialised."""
    return resources(1.0, 1.0 if trains_on_gpus(workers) else 0.0)


def run(
    jobs: Sequence[TrainSpec],
    *,
    workers: int,
    storage: Path,
    progress: Progress = print,
    placement: Strategy = "pack",
) -> Path:
    """Run `jobs` one after the other on `workers` Ray Train workers of an initialised Ray, each from
    what the one before left; returns the last one's destination.

    placement: "pack" them on as few nodes as hold them, or "spread" them over as many as there are.

    Workers are restarted when one dies: by Ray Train where they train, here where one dies before that, which Ray Train
    takes for the controller's error and does not try again. Raises `RunError` naming the cause when they die again and
    again.
    """
    import ray
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    each = needs_of_each(workers)
    gpus = "GPU" in each
    # One CPU is reserved for a worker; others may hold the rest of a shared cluster.
    threads = cores_each(workers)
    # How long its placement group may wait, twice: another run may have taken what `placement.require` saw free.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(WAIT))
    # Its actor would tell a training function, which does not ask, that a node is about to be taken away.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    storage = storage.absolute()  # Ray Train's workers have a working directory of their own
    log = storage / "progress.log"
    storage.mkdir(parents=True, exist_ok=True)

    def trainer() -> TorchTrainer:
        """Of a name of its own: Ray Train takes a run that it knows for one to go on with."""
        return TorchTrainer(
            train,
            train_loop_config={"jobs": list(jobs), "log": str(log)},
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers, use_gpu=gpus, resources_per_worker=each, placement_strategy=placement.upper()
            ),
            run_config=RunConfig(  # type: ignore[arg-type]  # Ray annotates V1's class, and wants V2's
                name=f"{jobs[0].name.replace(' ', '-').replace(':', '')}-{os.getpid()}-{time.time_ns()}",
                storage_path=str(storage),
                failure_config=FailureConfig(max_failures=RESTARTS, controller_failure_limit=1),
                logging_config=LoggingConfig(log_level="ERROR"),
                worker_runtime_env={"env_vars": worker_environment(gpus, threads)},
            ),
        )

    with (
        phase(f"{jobs[0].name}: starting {workers} Ray Train worker(s)", kind="talking") as bar,
        Follow(log, bar, progress),
    ):
        for start in range(1 + RESTARTS):
            try:
                # In the main thread Ray would take Ctrl-C over, and end with status 0.
                interrupts.in_thread(trainer().fit)
                break
            except TrainingFailedError as error:
                if start == RESTARTS or not died_at_start(error):
                    raise RunError(f"{jobs[0].name}: {last_line(error)}") from error
                progress(f"{jobs[0].name}: a worker died while it started, starting again: {last_line(error)}")
    return Path(jobs[-1].destination)


ENDED_BY_RAY = (  # (Ray Train's words, what they mean)
    (
        "worker group startup timed out",
        "the cluster has no free resources for its workers; lower workers, or end what holds them",
    ),
    (
        "health check has been hanging",
        "a worker that did not answer for minutes was ended (RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S raises it)",
    ),
)


def died_at_start(error: BaseException) -> bool:
    """Whether a worker died before it trained."""
    from ray.exceptions import RayActorError
    from ray.train.v2.api.exceptions import ControllerError

    return isinstance(error, ControllerError) and isinstance(error.controller_failure, RayActorError)


def last_line(error: BaseException) -> str:
    """The cause in a training error, whose text is a traceback."""
    if short := want_of_memory(str(error)):
        return short
    for sign, meaning in ENDED_BY_RAY:
        if sign in str(error):
            return meaning
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def worker_environment(gpus: bool, cpus: int) -> dict[str, str]:
    common = {
        "OMP_NUM_THREADS": str(cpus),
        "TOKENIZERS_PARALLELISM": "false",
        output.FOLDER: str(output.log_folder() or ""),
    }
    return common if gpus else {**common, "DS_ACCELERATOR": "cpu"}


def train(settings: dict[str, Any]) -> None:
    """The training function of every rank. After a restart, jobs that are done stay done."""
    import ray.train

    context = ray.train.get_context()
    env.keep_log(f"train-{context.get_world_rank()}")
    for job in settings["jobs"]:
        if not (Path(job.destination) / LINEAGE).is_file():
            Rank(job, context.get_world_rank(), context.get_world_size(), Path(settings["log"])).train()
        barrier()
