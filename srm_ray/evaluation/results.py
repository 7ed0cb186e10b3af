"""`results.json` of one model, and the samples that it is made of.

    samples/<suite>.jsonl   one line a completion, in the form of a run's rollouts (`srm_ray.view` shows them)
    results.json            settings and, by suite, SuiteResult

Settings are what must be equal for two results to be compared: problems, prompts, sampling, grading, versions.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError
from srm_ray.evaluation import statistics
from srm_ray.files.atomic import write_atomically
from srm_ray.files.json_file import read_object
from srm_ray.intervals import Share, wilson

FILE = "results.json"


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """One suite of one model.

    metric: name of the headline number. score: that number, with its 95 % interval. values: one for each problem (the
    chance that a sample is right), in order; score is their mean. more: other metrics by name, as shares.
    finished, boxed, truncated: share of the completions; None where the suite does not generate.
    undecided: completions that no grader could decide (counted as wrong). settings: see the module.
    means: numbers of episodes by name, where an environment took part; Share's fields, though no shares.
    """

    suite: str
    metric: str
    score: Share
    values: list[float]
    settings: dict[str, Any]
    more: dict[str, Share] = field(default_factory=dict)
    finished: Share | None = None
    boxed: Share | None = None
    truncated: Share | None = None
    tokens_mean: float | None = None
    undecided: int = 0
    means: dict[str, Share] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_plain(plain: dict[str, Any]) -> "SuiteResult":
        def share(value: dict[str, Any] | None) -> Share | None:
            return Share(**value) if value else None

        shares = {name: share(plain[name]) for name in ("finished", "boxed", "truncated")}
        more, means = (
            {name: Share(**value) for name, value in plain.get(part, {}).items()} for part in ("more", "means")
        )
        return SuiteResult(**{**plain, **shares, "score": Share(**plain["score"]), "more": more, "means": means})


@dataclass(frozen=True, slots=True)
class Results:
    """What one model did. fingerprint: of its weights, "" where they are not local."""

    model: str
    fingerprint: str
    suites: dict[str, SuiteResult]

    def save(self, folder: Path) -> None:
        plain = {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "suites": {name: suite.to_plain() for name, suite in self.suites.items()},
        }
        write_atomically(folder / FILE, json.dumps(plain, indent=1) + "\n")


def read(folder: Path) -> Results:
    """Raises `UserError` where the folder holds no finished evaluation."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no finished evaluation (no {FILE})")
    try:
        plain = read_object(path)
        suites = {name: SuiteResult.from_plain(suite) for name, suite in plain["suites"].items()}
        return Results(plain["model"], plain["fingerprint"], suites)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not the results of an evaluation: {error}") from None


# Samples to a result


def summarise(
    suite: str, metric: str, problems: Sequence[Sequence[dict[str, Any]]], settings: dict[str, Any], *, seed: int
) -> SuiteResult:
    """The result of a suite with our own graders. problems: the lines of each problem's samples, in order."""
    n = len(problems[0])
    correct = [[line["correct"] is True for line in lines] for lines in problems]
    values = [sum(right) / n for right in correct]
    more: dict[str, Share] = {}
    for k in statistics.powers_up_to(n)[1:]:
        passed = [statistics.pass_at_k(n, sum(right), k) for right in correct]
        more[f"pass@{k}"] = statistics.mean_share(passed, seed=seed)
    if any(line["group"] is not None for lines in problems for line in lines):
        for k in statistics.powers_up_to(n)[1:]:
            voted = [
                statistics.maj_at_k([line["group"] for line in lines], right, k)
                for lines, right in zip(problems, correct, strict=True)
            ]
            more[f"maj@{k}"] = statistics.mean_share(voted, seed=seed)
    lines = [line for each in problems for line in each]
    return SuiteResult(
        suite,
        metric,
        statistics.mean_share(values, seed=seed),
        values,
        settings,
        more,
        finished=wilson(sum(line["finished"] for line in lines), len(lines)),
        boxed=wilson(sum(line["boxed"] for line in lines), len(lines)),
        truncated=wilson(sum(line["finish_reason"] == "length" for line in lines), len(lines)),
        tokens_mean=sum(line["tokens"] for line in lines) / len(lines),
        undecided=sum(line["correct"] is None for line in lines),
        means=means_of(problems, seed=seed),
    )


def means_of(problems: Sequence[Sequence[dict[str, Any]]], *, seed: int) -> dict[str, Share]:
    """Means of an episode, with the intervals that problems give; nothing where there are no episodes."""
    if not any("episode" in line for lines in problems for line in lines):
        return {}
    measures: dict[str, Callable[[dict[str, Any]], float]] = {
        "turns": lambda line: len(line["episode"]["turns"]),
        "tool calls": lambda line: len(calls_of(line)),
        "tool errors": lambda line: sum(call["error"] for call in calls_of(line)),
        "episodes with tools": lambda line: bool(calls_of(line)),
        "environments failed": lambda line: bool(line["episode"]["failure"]),
        "reward": lambda line: line["reward"],
    }
    found = {}
    for name, measure in measures.items():
        values = [sum(map(measure, lines)) / len(lines) for lines in problems]
        found[name] = statistics.mean_of(values, seed=seed)
    return found


def calls_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of a sample's episode."""
    return [call for turn in line["episode"]["turns"] for call in turn["calls"]]
