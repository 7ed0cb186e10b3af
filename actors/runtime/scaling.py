"""Ask a run that is going on for other numbers of workers (`srm_ray.scale`), and wait until they are there."""

import time
from pathlib import Path

import ray
from ray.actor import ActorHandle

from actors.runtime import cluster as clusters
from actors.runtime.control import find_control
from actors.runtime.replies import ScaleRequest, ScaleStatus
from srm_ray.console.progress import duration, echo
from srm_ray.errors import RunError


def scale_run(run: Path, wanted: ScaleRequest, *, cluster: str, timeout: float) -> None:
    """cluster: address that the run recorded. timeout: seconds. RunError where it could not be scaled, or has ended."""
    clusters.join(cluster)
    try:
        scale(find_control(run), wanted, timeout)
    except ray.exceptions.RayActorError:
        raise RunError(f"{run} ended") from None
    finally:
        ray.shutdown()


def scale(control: ActorHandle, wanted: ScaleRequest, timeout: float) -> None:
    """Ask, then wait until as many workers serve as were asked for."""
    began = time.monotonic()
    before: ScaleStatus = ray.get(control.status.remote())
    ticket: int = ray.get(control.ask.remote(wanted))
    for role, count in wanted.asked().items():
        echo(f"{role}: {getattr(before.workers, role, '?')} -> {count}")
    while time.monotonic() - began < timeout:
        status: ScaleStatus = ray.get(control.status.remote())
        if why := status.refused.get(ticket):
            raise RunError(f"the run could not be scaled, and goes on as it was: {why}")
        if status.workers is not None and wanted.met_by(status.workers):
            echo(f"done after {duration(time.monotonic() - began)}")
            return
        time.sleep(0.25)
    raise RunError(f"not there after {duration(timeout)}; the run goes on and will have them when it can")
