"""The capability tax: what a model gained and lost against its parent, suite by suite.

    Results of the model, of the parent --same settings, same problems--> Delta a suite

The interval of a delta is a paired bootstrap over problems: both models answered the same ones, so what is hard for
both does not widen it. A loss is real where the whole 95 % interval lies below zero.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from srm_ray.config.base import flatten
from srm_ray.errors import UserError
from srm_ray.evaluation.results import Results, SuiteResult
from srm_ray.evaluation.statistics import bootstrap
from srm_ray.files.atomic import write_atomically
from srm_ray.intervals import Share

FILE = "tax.json"


@dataclass(frozen=True, slots=True)
class Delta:
    """One suite: parent and model as shares, delta = model - parent with its 95 % interval, in 0..1."""

    suite: str
    metric: str
    parent: Share
    model: Share
    delta: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "loss" or "gain" where the interval leaves zero out, else ""."""
        return "loss" if self.high < 0 else "gain" if self.low > 0 else ""


@dataclass(frozen=True, slots=True)
class Tax:
    """model, parent: names or folders."""

    model: str
    parent: str
    deltas: list[Delta]

    @property
    def losses(self) -> list[str]:
        return [delta.suite for delta in self.deltas if delta.verdict == "loss"]

    def save(self, folder: Path) -> None:
        suites = [asdict(delta) | {"verdict": delta.verdict} for delta in self.deltas]
        plain = {"model": self.model, "parent": self.parent, "suites": suites, "real_losses": self.losses}
        write_atomically(folder / FILE, json.dumps(plain, indent=1) + "\n")


def compare(model: Results, parent: Results, *, seed: int) -> Tax:
    """Raises `UserError` where a suite is missing on one side or was measured with other settings."""
    check_measured(parent, model.suites)
    return Tax(
        model.model, parent.model, [difference(one, parent.suites[name], seed) for name, one in model.suites.items()]
    )


def difference(model: SuiteResult, parent: SuiteResult, seed: int) -> Delta:
    check_same_settings(model.suite, model.metric, model.settings, parent)
    pairs = [new - old for new, old in zip(model.values, parent.values, strict=True)]
    low, high = bootstrap(pairs, seed=seed)
    return Delta(model.suite, model.metric, parent.score, model.score, sum(pairs) / len(pairs), low, high)


def check_measured(parent: Results, suites: Collection[str]) -> None:
    """Raises `UserError` where the parent lacks one of `suites`."""
    if missing := [name for name in suites if name not in parent.suites]:
        raise UserError(f"{parent.model} was not measured on {', '.join(missing)}: nothing to compare with")


def check_same_settings(suite: str, metric: str, settings: dict[str, Any], parent: SuiteResult) -> None:
    """Raises `UserError` naming the first setting that differs, with both values."""
    ours: dict[str, Any] = flatten({"metric": metric} | settings)
    theirs: dict[str, Any] = flatten({"metric": parent.metric} | parent.settings)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"suite {suite} cannot be compared: {key} is {ours.get(key)!r} here and {theirs.get(key)!r} "
                "there; evaluate both with the same settings"
            )
