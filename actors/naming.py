"""Who an actor is and what it does, where Ray shows it.

`ray list actors` and the dashboard show an actor's name, and its repr as it was when the actor was made: Ray
does not ask again. What changes (weight version, state) is in the process title, in `ps` and in the
dashboard's table of workers, and in the answer to `ping`.
"""

import uuid
from typing import Any


def identity(name: str) -> dict[str, str]:
    """Ray options that name an actor. The namespace is its own, so that runs on one cluster do not clash."""
    return {"name": name, "namespace": f"srm_ray-{uuid.uuid4().hex[:8]}"}


def show_status(actor: Any, status: str) -> None:
    """Title the process "ray::<status>", e.g. "ray::rollout-0 version 3 ready". Nothing outside a Ray actor."""
    import ray

    if ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        from ray._raylet import setproctitle

        setproctitle(f"ray::{status}")
        # After a call Ray titles the process by the name of the actor's class, which this process alone has.
        type(actor).__name__ = status
