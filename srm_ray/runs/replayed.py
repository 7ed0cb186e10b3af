"""The record of another run, where `--replay` trains on one: checked before anything starts."""

from pathlib import Path

from srm_ray.errors import UserError
from srm_ray.runs import rollout_log
from srm_ray.runs.folder import RunFolder, find_run


def check(name: str, own: RunFolder, steps: int) -> None:
    """Raises `UserError` where the run `name` cannot be replayed into `own`; "" is no replay."""
    if not name:
        return
    if find_run(name, option="--replay").path.resolve() == own.path.resolve():
        raise UserError(f"--replay {name}: a run cannot replay itself, give another --run_dir")
    record_of(name, steps)


def record_of(name: str, steps: int) -> Path:
    """The folder with the groups of the run `name`. Raises `UserError` where it lacks some of the first `steps`."""
    folder = find_run(name, option="--replay").rollouts
    for step in range(1, steps + 1):
        if not rollout_log.path_of(folder, step).is_file():
            raise UserError(
                f"--replay {name}: {folder} lacks the groups of step {step} of {steps}; "
                "give --steps of as many as it has"
            )
    return folder
