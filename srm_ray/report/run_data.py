"""What the page shows of a run as a whole: metrics as columns, summary, config, events, steps with rollouts."""

import json
import time
from typing import Any

from srm_ray.config.base import flatten
from srm_ray.errors import UserError, one_line
from srm_ray.files import yaml_file
from srm_ray.intervals import wilson
from srm_ray.report import evaluation_data, events
from srm_ray.runs import checkpoints
from srm_ray.runs import metrics as metrics_log
from srm_ray.runs.folder import RunFolder

# What reading files raises that hold other things than a run writes into them.
MALFORMED = (UserError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def why(folder: RunFolder, error: Exception) -> str:
    """What of a run's files cannot be shown, in one line."""
    if isinstance(error, UserError):
        return one_line(error)
    if isinstance(error, OSError):
        return f"{error.filename or folder.path} cannot be read ({error.strerror or type(error).__name__})"
    return f"{folder.path} holds what no run writes, and is not shown ({type(error).__name__}: {one_line(error)[:200]})"


def load(folder: RunFolder) -> dict[str, Any]:
    """A JSON object; the page's script names its fields. Parts that the run has not written yet are empty."""
    lines = metrics_log.read(folder.metrics) if folder.metrics.is_file() else []
    config = read_config(folder)
    summary, saved = folder.read_summary(), driver_state(folder)
    group_size = int(config.get("rollout.group_size") or 1)
    return {
        "name": folder.path.resolve().name,
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "changed": _changed(folder),
        "asked_steps": config.get("steps"),
        "metrics": columns([line | _training_interval(line, group_size) for line in lines]),
        "summary": summary,
        "before": (summary or {}).get("before") or saved.get("before"),
        "suites_before": ((summary or {}).get("suites") or saved.get("suites") or {}).get("start"),
        "config": config,
        "events": [event.to_plain() for event in events.find(lines, summary, folder.read_events())],
        "steps": rollout_steps(folder),
        "step_names": evaluation_data.suite_names(folder),
        "evaluation": evaluation_data.load(folder),
    }


def read_config(folder: RunFolder) -> dict[str, Any]:
    """The resolved config by dotted key."""
    return flatten(yaml_file.read(folder.config)) if folder.config.is_file() else {}


def columns(lines: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Lines of metrics.jsonl to one list a name, None where a step has no such metric."""
    names = {name: None for line in lines for name in line}
    return {name: [line.get(name) for line in lines] for name in names}


def rollout_steps(folder: RunFolder) -> list[int]:
    """Steps whose completions are on disk, in order."""
    numbers = (path.stem.removeprefix("step_") for path in folder.rollouts.glob("step_*.jsonl"))
    return sorted(int(number) for number in numbers if number.isdecimal() and len(number) < 16)


def stamp(folder: RunFolder) -> str:
    """Changes when anything that the page shows does."""
    parts = []
    for path in (folder.metrics, folder.summary, folder.config, folder.events, folder.rollouts):
        try:
            stat = path.stat()
        except OSError:
            continue
        parts.append(f"{stat.st_mtime_ns:x}.{stat.st_size:x}")
    return "-".join(parts) or "empty"


def _training_interval(line: dict[str, Any], group_size: int) -> dict[str, float]:
    """95 % interval of `reward/accuracy`, of all the completions that the step sampled."""
    accuracy, n = line.get("reward/accuracy"), events.drawn(line) * group_size
    if not isinstance(accuracy, int | float) or accuracy != accuracy or not n:
        return {}
    share = wilson(round(accuracy * n), n)
    return {"reward/accuracy_low": share.low, "reward/accuracy_high": share.high}


def _changed(folder: RunFolder) -> float | None:
    """When the run last wrote a step, in seconds since 1970."""
    return folder.metrics.stat().st_mtime if folder.metrics.is_file() else None


def driver_state(folder: RunFolder) -> dict[str, Any]:
    """What the newest checkpoint holds of the run so far: accuracy before it, how often it was continued."""
    found = checkpoints.newest(folder.checkpoints) if folder.checkpoints.is_dir() else None
    if found is None:
        return {}
    path = (found[1] / "driver.json").resolve()
    if not path.is_relative_to(folder.path.resolve()):
        return {}
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):  # removed meanwhile by a newer one
        return {}
    return state if isinstance(state, dict) else {}
