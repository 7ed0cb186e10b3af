"""What the driver must remember to go on, saved with every checkpoint as versioned JSON.

Floats are written so that they read back bit for bit: a continued run is the run that was not interrupted.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from rewards.verdict import Reward
from srm_ray.errors import UserError, one_line
from srm_ray.rl.endings import Outcome
from srm_ray.rl.sources import SourceState
from srm_ray.rl.types import Completion, Episode, Group, Prompt, TeacherScores

# 1 had no number, and pickled the source. 2 is read: what it has no fields for was not asked of it. A field more is a
# number more, so that an older version says in one line that it cannot go on.
FORMAT, READ = 3, (2, 3)
FILE, SOURCE = "driver.json", "source.json"  # apart, since an asynchronous run's groups may be large


@dataclass
class State:
    """step: steps done, skipped ones among them. version: of the weights, the optimizer steps done.

    recent: outcomes of the newest steps, oldest first, for the rules that end a run. before: held-out accuracy
    before the run. suites: see srm_ray.evaluation.in_training. seconds: spent in the loop so far. curriculum,
    difficulty: see `srm_ray.data`. entropy_coefficient, entropy: of the bonus and of the step before, see
    `srm_ray.rl.entropy`; None before the first step.
    """

    step: int = 0
    version: int = 0
    keep_rate: float = 0.7
    seconds: float = 0.0
    before: dict[str, Any] | None = None
    suites: dict[str, Any] = field(default_factory=dict)
    curriculum: dict[str, Any] = field(default_factory=dict)
    difficulty: dict[str, Any] = field(default_factory=dict)
    entropy_coefficient: float | None = None
    entropy: float | None = None
    recent: list[Outcome] = field(default_factory=list)
    source: SourceState = field(default_factory=SourceState)


def write(folder: Path, state: State) -> None:
    """Write `FILE` and `SOURCE` into a checkpoint's folder."""
    plain = {"format": FORMAT} | {each.name: getattr(state, each.name) for each in fields(state)}
    del plain["source"]
    (folder / FILE).write_text(json.dumps(plain | {"recent": [asdict(outcome) for outcome in state.recent]}))
    (folder / SOURCE).write_text(json.dumps(_plain_source(state.source)))


def read(folder: Path) -> State:
    """Raises UserError, in one line, where a checkpoint was written in another format."""
    plain = _json(folder / FILE)
    if (found := plain.pop("format", 1)) not in READ:
        raise UserError(
            f"checkpoint {folder} has a driver state of format {found}, and this version of srm_ray reads format "
            f"{' and '.join(map(str, READ))} alone: continue it with the version that began it, or --resume never "
            "starts the run over"
        )
    try:
        plain["recent"] = [Outcome(**outcome) for outcome in plain["recent"]]
        state = State(**plain, source=_source(_json(folder / SOURCE)))
        for name, usual in vars(State()).items():
            kinds = int | float if isinstance(usual, float) else type(usual)
            if usual is not None and not isinstance(getattr(state, name), kinds):
                raise TypeError(f"{name} is {str(getattr(state, name))[:40]!r}")
        return state
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise _unreadable(folder, f"{type(error).__name__}: {one_line(error)[:200]}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path.parent, f"{path.name}: {error}") from None
    if not isinstance(found, dict):
        raise _unreadable(path.parent, f"{path.name} holds no object")
    return found


def _unreadable(folder: Path, why: str) -> UserError:
    return UserError(f"checkpoint {folder} cannot be read ({why}): remove it, and the run goes on from the one before")


def _plain_source(source: SourceState) -> dict[str, Any]:
    groups = {name: [_plain_group(one) for one in getattr(source, name)] for name in ("ready", "no_signal", "stale")}
    return {"cursor": source.cursor, "pending": source.pending, **groups}


def _source(plain: dict[str, Any]) -> SourceState:
    groups = {name: [_group(one) for one in plain[name]] for name in ("ready", "no_signal", "stale")}
    return SourceState(plain["cursor"], [(index, draw) for index, draw in plain["pending"]], **groups)


def _plain_group(group: Group) -> dict[str, Any]:
    """Graded, so without what only a grader needs, which may be anything that a dataset holds."""
    return {
        "prompt": asdict(replace(group.prompt, tests=None, gym=None, row=None, messages=())),
        "draw": group.draw,
        "completions": [_plain_completion(completion) for completion in group.completions],
        "rewards": [asdict(reward) for reward in group.rewards],
        "advantages": None if group.advantages is None else group.advantages.tolist(),
    }


def _plain_completion(completion: Completion) -> dict[str, Any]:
    arrays = {name: getattr(completion, name).tolist() for name in ("token_ids", "logprobs", "versions")}
    plain = {each.name: getattr(completion, each.name) for each in fields(completion)} | arrays
    teacher = completion.teacher and completion.teacher.record()
    return plain | {"episode": completion.episode and asdict(completion.episode), "teacher": teacher}


def _group(plain: dict[str, Any]) -> Group:
    lists = {name: tuple(value) for name, value in plain["prompt"].items() if isinstance(value, list)}
    prompt = plain["prompt"] | lists
    advantages = plain["advantages"]
    return Group(
        Prompt(**prompt),
        tuple(_completion(completion) for completion in plain["completions"]),
        plain["draw"],
        tuple(Reward(**reward) for reward in plain["rewards"]),
        None if advantages is None else np.array(advantages, np.float32),
    )


def _completion(plain: dict[str, Any]) -> Completion:
    types = {"token_ids": np.int32, "logprobs": np.float32, "versions": np.int32}
    arrays = {name: np.array(plain[name], dtype) for name, dtype in types.items()}
    others = {"episode": Episode.of(plain.get("episode")), "teacher": TeacherScores.of(plain.get("teacher"))}
    return Completion(**plain | arrays | others)
