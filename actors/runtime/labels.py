"""Who an actor is and what it does, where Ray shows it.

`ray list actors` and the dashboard show an actor's name, and its repr as it was when the actor was made: Ray
takes it once, with the reply to the call that makes the actor. That one says where to look. What changes
(weight version, state) is in the names of its calls (`ray list tasks --filter state=RUNNING`, the
dashboard's tables of tasks), the state in the process title (`ps`, the dashboard's tables of workers), the version in
the gauge `srm_ray_worker_version`, and both in the answer to `ping`. Ray's agent keeps some metrics of every process
title that it ever saw, so titles must be few: no version in them.
"""

import sys
import uuid
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.util.metrics import Gauge

STARTING = "starting"


@cache
def version_gauge() -> "Gauge":
    from ray.util.metrics import Gauge

    return Gauge("srm_ray_worker_version", description="weight version of a worker", tag_keys=("worker",))


def identity(name: str) -> dict[str, str]:
    """Ray options that name an actor. The namespace is its own, so that runs on one cluster do not clash."""
    return {"name": name, "namespace": f"srm_ray-{uuid.uuid4().hex[:8]}"}


def node_id() -> str:
    """Of the node that this actor is on; nothing outside Ray."""
    ray = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray is not None and ray.is_initialized() else ""


def describe(role: str, name: str, version: int, state: str) -> str:
    """An actor's repr. The one that Ray keeps is of an actor that has not started yet."""
    if state == STARTING:
        return f"{role}({name}; version and state: see the names of its tasks)"
    return f"{role}({name}, version {version}, {state})"


def task_name(name: str, version: int, what: str) -> str:
    """A call's name in Ray's lists of tasks, e.g. "rollout-0 v12 generate"."""
    return f"{name} v{version} {what}"


def show_status(actor: object, name: str, version: int, state: str) -> None:
    """Title the process, e.g. "ray::rollout-0 ready", and set the gauge. Nothing outside a Ray actor."""
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        from ray._raylet import setproctitle

        status = f"{name} {state}"
        setproctitle(f"ray::{status}")
        version_gauge().set(version, tags={"worker": name})
        # After a call Ray titles the process by the name of the actor's class, which this process alone has.
        type(actor).__name__ = status
