"""What happened in a run besides steps: alarms, restarts, scaling, continuations, drops, evaluations.

    events.jsonl (what the run recorded) + metrics.jsonl + summary.json -> a list of `Event` by step

Consecutive steps with the same kind of event are shown as one; an alarm spans the steps that it stood in.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

NOT_SHOWN = (
    "started",
    "continued",
    "alarm_over",
)  # of every run; of the run as a whole; see _alarm
# What the workers report (actors.runtime.pool): event -> kind, its text with the event's info, whether it is a warning.
WORKERS = {
    "restarted": ("restart", "{worker} replaced: {cause}", True),
    "gave_up": ("gave up", "no more replacements of {role} workers, the last was {worker}: {cause}", True),
    "scaled": ("scaling", "{workers} {role} workers wanted{because}", False),
    "joined": ("scaling", "{worker} joined after {seconds:.0f} s", False),
    "first_group": ("scaling", "{worker} had its first group {seconds:.1f} s after it had started", False),
    "left": ("scaling", "{worker} left", False),
}


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


def find(metrics: list[dict[str, Any]], summary: dict[str, Any] | None, recorded: list[dict[str, Any]]) -> list[Event]:
    """metrics: lines of metrics.jsonl. recorded: lines of events.jsonl."""
    events = _whole_run(metrics, summary, sum(one["event"] == "continued" for one in recorded))
    events += _recorded(recorded, newest=int(metrics[-1]["step"]) if metrics else 0)
    if not any(one["event"] == "restarted" for one in recorded):
        for name in sorted({name for line in metrics for name in line if "restart" in name}):
            events += _restarts(metrics, name)
    events += _stale(metrics) + _skipped(metrics) + _evaluations(metrics)
    return sorted(events, key=lambda event: (event.first, event.kind))


def _recorded(recorded: list[dict[str, Any]], newest: int) -> list[Event]:
    events = []
    for index, one in enumerate(recorded):
        if one["event"] == "alarm":
            events.append(_alarm(one, recorded[index + 1 :], newest))
        elif one["event"] in WORKERS:
            kind, text, warning = WORKERS[one["event"]]
            info = defaultdict(str, one, because=f": {one['cause']}" if one.get("cause") else "")
            step = int(one.get("step") or 0)
            events.append(Event(step, step, kind, text.format_map(info), warning))
        elif one["event"] not in NOT_SHOWN:
            step = int(one.get("step") or 0)
            events.append(Event(step, step, one["event"].replace("_", " "), str(one.get("text") or "")))
    return events


def _alarm(one: dict[str, Any], later: list[dict[str, Any]], newest: int) -> Event:
    """Until the step before the one that ended it, the newest step while it stands; a stall is over in its step."""
    last = one["step"] if one["alarm"] in ("stalled", "hackable") else max(one["step"], newest)
    for other in later:
        if other["event"] == "alarm_over" and (other["alarm"], other["about"]) == (one["alarm"], one["about"]):
            last = max(one["step"], other["step"] - 1)
            break
    return Event(one["step"], last, f"alarm: {one['alarm'].replace('_', ' ')}", one["text"], warning=True)


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
            f"{uniform:,} of {drawn_in_all:,} groups had no signal (all right or all wrong); others were drawn "
            "instead, up to max_refill"
        )
        events.append(Event(0, 0, "no signal", text))
    return events


def _restarts(metrics: list[dict[str, Any]], name: str) -> list[Event]:
    """`name` counts restarts so far in this run: an event where it rises."""
    events, seen = [], 0
    for line in metrics:
        count = int(_number(line, name))
        if count > seen:
            text = f"{count - seen} × {name.replace('restarts', '').strip('/')} restarted"
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


def _skipped(metrics: list[dict[str, Any]]) -> list[Event]:
    events = []
    for span in _spans(metrics, lambda line: line.get("groups/kept") == 0):
        text = f"skipped: none of {sum(map(drawn, span)):,} groups drawn had both right and wrong completions"
        events.append(Event(span[0]["step"], span[-1]["step"], "no signal", text, warning=True))
    return events


def _evaluations(metrics: list[dict[str, Any]]) -> list[Event]:
    events = []
    for line in metrics:
        if isinstance(line.get("eval/accuracy"), float | int):
            low, high = _number(line, "eval/accuracy_low"), _number(line, "eval/accuracy_high")
            text = f"held-out accuracy {line['eval/accuracy']:.1%} [{low:.1%}, {high:.1%}]"
            events.append(Event(line["step"], line["step"], "evaluation", text))
        if "suite/mean" in line:
            scores = [
                f"{name.removeprefix('suite/')} {value:.1%}"
                for name, value in line.items()
                if name.startswith("suite/") and name not in ("suite/mean", "suite/kept")
            ]
            text = f"suites {', '.join(scores)}{': kept, the best so far' if line.get('suite/kept') else ''}"
            events.append(Event(line["step"], line["step"], "evaluation", text))
    return events


def drawn(line: dict[str, Any]) -> int:
    """Groups graded in a step, with and without signal."""
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
