"""`final/`, a run's product, and `best/`, the weights that eval.suite found best so far: each replaced as a whole."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from srm_ray.console.progress import phase
from srm_ray.files.atomic import discard, replacing
from srm_ray.runs.folder import RunFolder

Export = Callable[[Path, int], Awaitable[None]]  # the weights of now, as those of a step, into an empty folder


async def write_final(folder: RunFolder, export: Export, step: int, best: dict[str, Any] | None) -> None:
    """A Hugging Face folder that any later stage takes as its model: the best step's, where suites were measured and
    one was kept, else the last step's."""
    with replacing(folder.final) as partial:
        if best:
            shutil.copytree(best_folder(folder, best["step"]), partial)
        else:
            partial.mkdir(parents=True)
            with phase(f"writing {folder.final}"):
                await export(partial, step)


async def keep_best(folder: RunFolder, export: Export, step: int) -> None:
    """The weights of now as `best/step_<n>`."""
    with replacing(best_folder(folder, step)) as partial:
        partial.mkdir(parents=True)
        await export(partial, step)


def best_folder(folder: RunFolder, step: int) -> Path:
    return folder.best / f"step_{step:06d}"


def discard_best(folder: RunFolder, best: dict[str, Any] | None) -> None:
    """Remove the weights kept that no checkpoint names, once a new checkpoint names `best`."""
    for other in (folder.best).glob("*"):
        if not best or other != best_folder(folder, best["step"]):
            shutil.rmtree(other, ignore_errors=True)


def discard_product(folder: RunFolder) -> bool:
    """Remove what an earlier end of the run left: it is not this run's result any more. Whether there was any."""
    found = folder.final.exists() or folder.summary.exists()
    folder.summary.unlink(missing_ok=True)
    discard(folder.final)
    return found


def complete(folder: RunFolder, steps: int, *, solved_ends: bool) -> str:
    """The message where the run has ended well already, else "". steps: asked for. solved_ends: see config.stop."""
    done = folder.read_summary()
    if not done or not folder.final.is_dir():
        return ""
    if done["steps"] >= steps:
        ways = "--resume never starts it over, --run_dir starts another"
        return f"{folder.path} is complete ({done['steps']} steps); {ways}"
    if done.get("ended") == "solved" and solved_ends:
        ways = "--stop.solved null goes on all the same, --resume never starts it over"
        return f"{folder.path} is complete: its problems were solved after {done['steps']} of {steps} steps; {ways}"
    return ""
