"""Change the number of workers of a GRPO run that is going on.

    python -m srm_ray.scale --run grpo --rollouts 4
    python -m srm_ray.scale --run runs/x --rewards 2

Returns when the workers are there (new ones load the current weights before they serve) or gone (they hand
back their work first).
"""

import sys
import time
from pathlib import Path

from pydantic import Field

from srm_ray.config.base import Section
from srm_ray.config.command_line import parse
from srm_ray.console.command import command
from srm_ray.console.progress import duration, say
from srm_ray.errors import RunError, UserError
from srm_ray.runs.folder import RunFolder


class ScaleConfig(Section):
    """Options of `python -m srm_ray.scale`."""

    run: str = Field("", description="name or folder of the run")
    rollouts: int = Field(0, ge=0, description="rollout workers wanted; 0: as they are")
    rewards: int = Field(0, ge=0, description="reward workers wanted; 0: as they are")
    timeout: float = Field(600, gt=0, description="seconds to wait until they are there")


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(ScaleConfig, sys.argv[1:] if argv is None else argv, stage="scale", about=__doc__ or "")
    if not config.run or not (config.rollouts or config.rewards):
        raise UserError("--run and one of --rollouts and --rewards are needed")
    wanted = {name: n for name, n in (("rollouts", config.rollouts), ("rewards", config.rewards)) if n}
    folder = RunFolder(config.run if Path(config.run).is_dir() else "", stage=config.run)
    if not folder.path.is_dir():
        raise UserError(f"--run {config.run}: no such run; {folder.path} does not exist")
    import ray

    from actors.runtime import cluster, control

    starts = [event for event in folder.read_events() if event["event"] == "started"]
    cluster.join(starts[-1].get("cluster", "auto") if starts else "auto")
    try:
        return scale(control.find_control(folder.path), wanted, config.timeout)
    except ray.exceptions.RayActorError:
        raise RunError(f"{folder.path} ended") from None
    finally:
        ray.shutdown()


def scale(control: object, wanted: dict[str, int], timeout: float) -> int:
    """Ask, then wait until as many workers serve as were asked for."""
    import ray

    began = time.monotonic()
    before = ray.get(control.status.remote())  # type: ignore[attr-defined]
    ticket = ray.get(control.ask.remote(wanted))  # type: ignore[attr-defined]
    for role, count in wanted.items():
        say(f"{role}: {before.get(role, '?')} -> {count}")
    while time.monotonic() - began < timeout:
        status = ray.get(control.status.remote())  # type: ignore[attr-defined]
        if why := status["refused"].get(ticket):
            raise RunError(f"the run could not be scaled, and goes on as it was: {why}")
        if all(status.get(role) == count for role, count in wanted.items()):
            say(f"done after {duration(time.monotonic() - began)}")
            return 0
        time.sleep(0.25)
    raise RunError(f"not there after {duration(timeout)}; the run goes on and will have them when it can")


if __name__ == "__main__":
    sys.exit(main())
