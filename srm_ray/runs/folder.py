"""The run folder: where everything a run leaves behind lies, and what may be continued.

config.yaml  metrics.jsonl  events.jsonl  rollouts/  checkpoints/step_<n>/  tensorboard/  final/
summary.json  report.html  logs/ (what libraries and workers print)
"""

import contextlib
import difflib
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

from srm_ray.config.base import flatten, to_plain
from srm_ray.config.optim import current_options
from srm_ray.config.precision import AUTO, current_name
from srm_ray.console import interrupts
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.files import lock, yaml_file
from srm_ray.files.atomic import append, discard, write_atomically
from srm_ray.files.roots import runs_root

ConfigT = TypeVar("ConfigT", bound=BaseModel)

# Options that may change between a run and its continuation: they say how far, where and how often,
# not what is computed.
MAY_CHANGE = {
    "steps", "run_dir", "resume", "workers", "checkpoint", "eval", "rollout.workers", "reward.workers", "alarms", "log",
    "placement", "recovery", "stop", "rollout.start_timeout", "weights.push_timeout", "learner.step_timeout",
    "teacher.workers", "teacher.start_timeout", "learner.lora.push", "learner.lora.final",
}  # fmt: skip
# Options that a run settles once, with the machine and the model before it, and the value that leaves them open: its
# saved config holds what they became.
DTYPES = ("learner.precision", "optim.precision", "rollout.dtype", "engine.dtype", "measure.dtype", "teacher.dtype")
SETTLED: dict[str, Any] = dict.fromkeys(DTYPES, AUTO) | {"rollout.max_model_len": 0, "rollout.max_new_tokens": 0}


class RunFolder:
    """Paths of one run. Creating it makes the folder; `check` says whether its config may continue it."""

    def __init__(self, path: str | Path, *, stage: str):
        self.path = Path(path) if path else runs_root() / stage
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.rollouts = self.path / "rollouts"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.final = self.path / "final"
        self.best = self.path / "best"
        self.events = self.path / "events.jsonl"
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.trackers = self.path / "trackers.json"
        self.logs = self.path / "logs"

    def create(self) -> None:
        """Make the folder, and keep other commands out of it until this process ends. Raises UserError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.hold(self.path, "--run_dir")
        except OSError as error:
            raise UserError(f"--run_dir {self.path}: {error.strerror}") from None
        for path in (self.config, self.metrics, self.events, self.summary, self.report, self.trackers):
            if path.is_symlink() or (path.exists() and not path.is_file()):
                raise UserError(f"{path} is a link, a pipe or a device, where a run writes a file: remove it")

    def check_writable(self) -> None:
        """Raises UserError, as `create`, before work begins; leaves no folder that was not there."""
        self.create()
        self.remove_empty()

    def remove_empty(self) -> None:
        """Take the folder away again where nothing but its lock is in it."""
        with contextlib.suppress(OSError):
            if [path.name for path in self.path.iterdir()] == [lock.NAME]:
                lock.release(self.path / lock.NAME)
                (self.path / lock.NAME).unlink()
                self.path.rmdir()

    def clear(self) -> None:
        """Remove what an earlier run left here (`--resume never`)."""
        for part in (self.rollouts, self.checkpoints, self.tensorboard, self.final, self.best, self.logs):
            discard(part)
        for part in (self.config, self.metrics, self.events, self.summary, self.report, self.trackers):
            part.unlink(missing_ok=True)

    def check_config(self, config: ConfigT, may_change: Collection[str] = MAY_CHANGE) -> ConfigT:
        """The config to go on with: `config`, with dtypes and lengths of the saved one where it leaves them open.

        Raises `UserError` where it differs from the saved one in what the run computes. may_change: options, or whole
        sections, that may differ.
        """
        if not self.config.is_file():
            return config
        saved = current_options(flatten(yaml_file.read(self.config)))
        if foreign := sorted({key.split(".")[0] for key in saved} - type(config).model_fields.keys()):
            raise UserError(
                f"{self.path} is of another command, whose config has {', '.join(foreign[:4])}: give another --run_dir"
            )
        saved |= {key: current_name(saved[key]) for key in DTYPES if key in saved}
        # An option that did not exist yet when the run began had its default's effect.
        # (Not validated: a command may need an option that has no default.)
        saved = flatten(to_plain(type(config).model_construct())) | saved
        for key, still_open in SETTLED.items():
            config = with_value(config, key.split("."), still_open, saved.get(key, still_open))
        asked = flatten(to_plain(config))
        for key in sorted(saved.keys() | asked.keys()):
            if saved.get(key) != asked.get(key) and not _may_change(key, may_change):
                raise UserError(
                    f"{self.path} was run with {key} {saved.get(key)!r}, this command has {asked.get(key)!r}: "
                    "give another --run_dir, or --resume never to start it over"
                )
        if note := schedule_note(saved, asked):
            echo(note)
        return config

    def save_config(self, config: BaseModel) -> None:
        write_atomically(self.config, yaml.safe_dump(to_plain(config), sort_keys=False))

    def how_to_go_on(self) -> str:
        """The advice to whoever interrupts the run."""
        from srm_ray.runs.checkpoints import newest

        found = newest(self.checkpoints)
        return f"the same command goes on after step {found[0]}" if found else interrupts.NOTHING_SAVED

    def record_event(self, event: str, **info: Any) -> None:
        """Append to events.jsonl what is not a step: that a run was continued, and from where."""
        append(self.events, json.dumps({"event": event, "time": time.time(), **info}) + "\n")

    def read_events(self) -> list[dict[str, Any]]:
        """What `record_event` wrote, in order; a last line cut short by a kill is left out."""
        found: list[dict[str, Any]] = []
        for line in self.events.read_text("utf-8", "replace").splitlines() if self.events.is_file() else ():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                break
        return [one for one in found if isinstance(one, dict) and "event" in one]

    def count_events(self, event: str) -> int:
        return sum(one["event"] == event for one in self.read_events())

    def read_summary(self) -> dict[str, Any] | None:
        """Raises UserError where it is none."""
        if not self.summary.is_file():
            return None
        try:
            found = json.loads(self.summary.read_text())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.summary} cannot be read ({error}): remove it, and give the command again") from None
        if not isinstance(found, dict):
            raise UserError(f"{self.summary} is no summary: remove it, and give the command again")
        return found

    def write_summary(self, summary: dict[str, Any]) -> None:
        write_atomically(self.summary, json.dumps(summary, indent=2) + "\n")


def schedule_note(saved: dict[str, Any], asked: dict[str, Any]) -> str:
    """The message where a run is given more steps and its learning rate is made anew for them; "" elsewhere."""
    before, now = saved.get("steps") or 0, asked.get("steps") or 0
    for section in ("learner", "optim"):
        shape, length = asked.get(f"{section}.schedule", "constant"), asked.get(f"{section}.schedule_steps")
        if 0 < before < now and shape != "constant" and not length:
            return (
                f"steps were {before} and are {now}: the {shape} learning rate goes on as in a run planned for {now} "
                f"({section}.schedule_steps plans ahead)"
            )
    return ""


def find_run(name: str, option: str = "--run") -> RunFolder:
    """Raises `UserError` with the runs that there are. option: what gave the name."""
    root = runs_root()
    known = sorted(path.parent.name for path in root.glob("*/config.yaml"))
    if not name:
        raise UserError(f"{option} is needed: the name or the folder of a run{_listed(known)}")
    for path in (Path(name), root / name):
        if (path / "config.yaml").is_file() or (path / "metrics.jsonl").is_file():
            return RunFolder(path, stage="grpo")
    near = difflib.get_close_matches(name, known, n=1)
    raise UserError(f"{option} {name}: no such run{f', did you mean {near[0]}?' if near else ''}{_listed(known)}")


def _listed(known: list[str]) -> str:
    return f" (runs in {runs_root()}: {', '.join(known)})" if known else f" (there are none in {runs_root()})"


def _may_change(key: str, allowed: Collection[str]) -> bool:
    parts = key.split(".")
    return any(".".join(parts[:end]) in allowed for end in range(1, len(parts) + 1))


def with_value(config: ConfigT, path: list[str], old: Any, new: Any) -> ConfigT:
    """A config whose option at `path` is `new` where it was `old`."""
    name, *rest = path
    value = getattr(config, name, None)
    if rest:
        changed: Any = with_value(value, rest, old, new) if isinstance(value, BaseModel) else value
    else:
        changed = new if value == old else value
    return config if changed is value else config.model_copy(update={name: changed})
