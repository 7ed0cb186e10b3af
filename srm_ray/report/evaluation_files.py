"""What `python -m srm_ray.evaluate` left behind, as far as a model card needs it, read leniently.

results.json: {"model", "fingerprint", "suites": {name: {"metric", "score": {value, low, high, n}, ...}}}
tax.json:     {"model", "parent", "suites": [{"suite", "parent": {value, ...}, "model": {value, ...}, "delta", "low",
              "high", "verdict": "loss" | "gain" | ""}]}

All numbers are shares, 0..1. A field that is missing is left out of the card; a file that is not JSON is an error.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError
from srm_ray.files.json_file import read_object

RESULTS, TAX = "results.json", "tax.json"


@dataclass(frozen=True, slots=True)
class EvaluationInfo:
    """scores, tax: lines of text tables, without header; empty where there are none. parent: whom tax compares with."""

    folder: str
    scores: list[list[str]] = field(default_factory=list)
    tax: list[list[str]] = field(default_factory=list)
    parent: str = ""


SCORES_HEADER = ["suite", "metric", "score", "95 % interval", "n"]
TAX_HEADER = ["suite", "parent", "this model", "delta", "95 % interval", ""]


def read_evaluation(path: Path) -> EvaluationInfo:
    """Of an evaluation's folder, or of one of its two files. Raises `UserError` where neither is there."""
    folder = path if path.is_dir() else path.parent
    results, tax = read_json(folder / RESULTS), read_json(folder / TAX)
    if not results and not tax:
        raise UserError(f"--evaluation {path}: no {RESULTS} and no {TAX} in it")
    return EvaluationInfo(
        str(folder),
        [score_line(name, suite) for name, suite in named(results.get("suites"))],
        [tax_line(name, suite) for name, suite in named(tax.get("suites"))],
        str(tax.get("parent", "")),
    )


def find_evaluation(roots: Iterable[Path], *, model: Path, fingerprint: str) -> Path | None:
    """The newest evaluation of these weights among the folders of `roots`, one with the capability tax before others.

    fingerprint: of the weights; where either side has none (a hub name), the model's name decides.
    """
    found = []
    for root in dict.fromkeys(root.absolute() for root in roots):
        for path in root.glob(f"*/{RESULTS}"):
            try:
                known = read_object(path)
            except UserError:  # another run's business, perhaps being written
                continue
            if fingerprint and known.get("fingerprint"):
                same = known["fingerprint"] == fingerprint
            else:
                same = Path(str(known.get("model", ""))).absolute() == model.absolute()
            if same:
                found.append(path)
    best = max(found, key=lambda path: ((path.parent / TAX).is_file(), path.stat().st_mtime), default=None)
    return best.parent if best else None


def read_json(path: Path) -> dict[str, Any]:
    """{} where there is no file."""
    if not path.is_file():
        return {}
    return read_object(path)


def named(suites: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Suites by name, whether they are a mapping or a list whose entries carry their name."""
    if isinstance(suites, Mapping):
        return [(str(name), suite) for name, suite in suites.items() if isinstance(suite, Mapping)]
    listed = suites if isinstance(suites, list) else []
    return [(str(suite.get("suite", "?")), suite) for suite in listed if isinstance(suite, Mapping)]


def score_line(name: str, suite: Mapping[str, Any]) -> list[str]:
    score = suite.get("score")
    count = str(score.get("n", "")) if isinstance(score, Mapping) else ""
    return [name, str(suite.get("metric", "")), percent(score), between(score), count]


def tax_line(name: str, suite: Mapping[str, Any]) -> list[str]:
    mark = {"loss": "**loss**", "gain": "gain"}.get(str(suite.get("verdict", "")), "within noise")
    delta = number(suite.get("delta"))
    shown = "–" if delta is None else f"{100 * delta:+.1f}"
    return [name, percent(suite.get("parent")), percent(suite.get("model")), shown, between(suite, signed=True), mark]


def number(value: Any) -> float | None:
    """A share or a difference of shares; None for anything else, inf, nan and numbers of any length among it."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e6
    return float(value) if known and math.isfinite(value) else None


def percent(share: Any) -> str:
    value = number(share.get("value") if isinstance(share, Mapping) else share)
    return "–" if value is None else f"{100 * value:.1f} %"


def between(share: Any, *, signed: bool = False) -> str:
    known = [number(share.get("low")), number(share.get("high"))] if isinstance(share, Mapping) else []
    ends = [end for end in known if end is not None]
    if len(ends) < 2:
        return "–"
    sign = "+" if signed else ""
    return f"[{', '.join(f'{100 * end:{sign}.1f}' for end in ends)}]"
