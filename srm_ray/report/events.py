"""What happened in a run besides steps: continuations, restarts, drops, floods, evaluations.

Read from the metrics and the summary; consecutive steps with the same kind of event are told as one.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

TRUNCATION_FLOOD = 0.25  # share of completions cut at the token limit
UNDECIDED_FLOOD = 0.05  # share of completions that no grader could decide


@dataclass(frozen=True, slots=True)
class Event:
    """first, last: steps it covers, both 0 when it belongs to the run as a whole. kind: one word, e.g. "restart".
    text: for a person, plain text. warning: whether it deserves attention."""

    first: int
    last: int
    kind: str
    text: str
    warning: bool = False

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)


def find(metrics: list[dict[str, Any]], summary: dict[str, Any] | None, continued: int, group_size: int) -> list[Event]:
    """metrics: lines of metrics.jsonl. continued: how often the run was continued from a checkpoint."""
    events = _whole_run(metrics, summary, continued)
    names = sorted({name for line in metrics for name in line})
    for name in names:
        if "restart" in name:
            events += _restarts(metrics, name)
    events += _stale(metrics) + _floods(metrics, group_size) + _evaluations(metrics)
    return sorted(events, key=lambda event: (event.first, event.kind))


def _whole_run(metrics: list[dict[str, Any]], summary: dict[str, Any] | None, continued: int) -> list[Event]:
    events = []
    times = max(continued, int((summary or {}).get("restarts") or 0))
    if times:
        text = f"continued from a checkpoint {'once' if times == 1 else f'{times} times'}"
        events.append(Event(0, 0, "continued", text, warning=True))
    kept, uniform = (int(_sum(metrics, f"groups/{name}")) for name in ("kept", "dropped_uniform"))
    if uniform:
        drawn_in_all = kept + uniform
        text = (
            f"{uniform:,} of {drawn_in_all:,} groups had no signal (all right or all wrong); others were drawn instead"
        )
        events.append(Event(0, 0, "no signal", text))
    return events


def _restarts(metrics: list[dict[str, Any]], name: str) -> list[Event]:
    """`name` counts restarts so far in this run: an event where it rises."""
    events, seen = [], 0
    for line in metrics:
        count = int(_number(line, name))
        if count > seen:
            text = f"{count - seen} × {name.replace('/', ' ').replace('_', ' ')}"
            events.append(Event(line["step"], line["step"], "restart", text, warning=True))
        seen = max(seen, count)
    return events


def _stale(metrics: list[dict[str, Any]]) -> list[Event]:
    events = []
    for span in _spans(metrics, lambda line: _number(line, "groups/dropped_stale") > 0):
        count = int(_sum(span, "groups/dropped_stale"))
        text = f"{count:,} group{'s' if count > 1 else ''} dropped: sampled too many weight versions ago"
        events.append(Event(span[0]["step"], span[-1]["step"], "stale", text))
    return events


def _floods(metrics: list[dict[str, Any]], group_size: int) -> list[Event]:
    events = []
    for span in _spans(metrics, lambda line: _number(line, "completion/truncated_fraction") > TRUNCATION_FLOOD):
        worst = max(_number(line, "completion/truncated_fraction") for line in span)
        text = f"up to {worst:.0%} of the completions were cut at the token limit"
        events.append(Event(span[0]["step"], span[-1]["step"], "truncated", text, warning=True))

    def undecided(line: dict[str, Any]) -> float:
        return _number(line, "reward/undecided") / max(1, drawn(line) * group_size)

    for span in _spans(metrics, lambda line: undecided(line) > UNDECIDED_FLOOD):
        worst = max(undecided(line) for line in span)
        text = f"up to {worst:.0%} of the completions could not be graded and were masked out of the loss"
        events.append(Event(span[0]["step"], span[-1]["step"], "undecided", text, warning=True))
    return events


def _evaluations(metrics: list[dict[str, Any]]) -> list[Event]:
    events = []
    for line in metrics:
        if isinstance(line.get("eval/accuracy"), float | int):
            low, high = _number(line, "eval/accuracy_low"), _number(line, "eval/accuracy_high")
            text = f"held-out accuracy {line['eval/accuracy']:.1%} [{low:.1%}, {high:.1%}]"
            events.append(Event(line["step"], line["step"], "evaluation", text))
    return events


def drawn(line: dict[str, Any]) -> int:
    """Groups judged in a step, with and without signal."""
    return int(_number(line, "groups/kept") + _number(line, "groups/dropped_uniform"))


def _number(line: dict[str, Any], name: str) -> float:
    value = line.get(name)
    return float(value) if isinstance(value, int | float) and value == value else 0.0


def _sum(lines: Iterable[dict[str, Any]], name: str) -> float:
    return sum(_number(line, name) for line in lines)


def _spans(metrics: list[dict[str, Any]], holds: Any) -> list[list[dict[str, Any]]]:
    """Runs of neighbouring lines for which `holds` is true."""
    spans: list[list[dict[str, Any]]] = []
    joins = False
    for line in metrics:
        if holds(line):
            if joins:
                spans[-1].append(line)
            else:
                spans.append([line])
        joins = holds(line)
    return spans
