"""Change the number of workers of a GRPO run that is going on.

    python -m srm_ray.scale --run grpo --rollouts 4
    python -m srm_ray.scale --run runs/x --rewards 2

Returns when the workers are there (new ones load the current weights before they serve) or gone (they hand
back their work first).
"""

import sys
from pathlib import Path

from pydantic import Field

from srm_ray.config.base import Section
from srm_ray.config.command_line import parse
from srm_ray.console.command import command
from srm_ray.errors import UserError
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
    folder = RunFolder(config.run if Path(config.run).is_dir() else "", stage=config.run)
    if not folder.path.is_dir():
        raise UserError(f"--run {config.run}: no such run; {folder.path} does not exist")
    from actors.runtime import scaling
    from actors.runtime.replies import ScaleRequest

    wanted = ScaleRequest(rollouts=config.rollouts or None, rewards=config.rewards or None)
    starts = [event for event in folder.read_events() if event["event"] == "started"]
    cluster = starts[-1].get("cluster", "auto") if starts else "auto"
    scaling.scale_run(folder.path, wanted, cluster=cluster, timeout=config.timeout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
