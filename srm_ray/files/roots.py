"""Where runs lie, and what is made once for all of them."""

import os
from pathlib import Path


def runs_root() -> Path:
    """`$SRM_RAY_RUNS`, else `runs/` in the current folder.

    A Ray job's current folder is a temporary copy of the working directory, so there it is
    `~/srm_ray/runs`.
    """
    if os.environ.get("SRM_RAY_RUNS"):
        return Path(os.environ["SRM_RAY_RUNS"])
    if "working_dir_files" in Path.cwd().parts:
        return Path.home() / "srm_ray" / "runs"
    return Path("runs")


def lasting(name: str) -> str:
    """A file, or a model, by a name that holds in any working directory, such as a worker's: a hub name, or an absolute
    path."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def cache_root() -> Path:
    """`$SRM_RAY_CACHE`, else `~/.cache/srm_ray`: what is made once and used by every run and job of a machine."""
    return Path(os.environ.get("SRM_RAY_CACHE") or Path.home() / ".cache" / "srm_ray")
