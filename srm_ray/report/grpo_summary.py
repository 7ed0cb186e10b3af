"""How a GRPO run ends for a person: summary.json, what was learned in words and numbers, graded completions."""

from collections.abc import Sequence
from typing import Any

from srm_ray.console.progress import duration, echo
from srm_ray.console.text_table import aligned
from srm_ray.evaluation import in_training
from srm_ray.evaluation.accuracy import Evaluation
from srm_ray.report.page import write_report
from srm_ray.rl import endings
from srm_ray.rl.state import State
from srm_ray.rl.step_metrics import SOURCES_SHOWN
from srm_ray.rl.types import Group
from srm_ray.runs import checkpoints
from srm_ray.runs import metrics as metrics_log
from srm_ray.runs.clock import APART
from srm_ray.runs.folder import RunFolder

PARTS = ("rollout", "reward", "learn", "sync")


def finish(folder: RunFolder, state: State, evaluation: Evaluation | None, seconds: float, *, ended: str) -> None:
    """summary.json, the report, and the same on the terminal. ended: "done" (all steps asked for) or "solved"."""
    newest = checkpoints.newest(folder.checkpoints)
    before, after = state.before, evaluation.to_plain() if evaluation else None
    times = totals(metrics_log.read(folder.metrics) if folder.metrics.is_file() else [])
    folder.write_summary(
        {
            "steps": state.step,
            "ended": ended,
            "updates": state.version,
            "wall_seconds": seconds,
            "train_seconds": state.seconds,
            "seconds": times,
            "accuracy_before": before["accuracy"] if before else None,
            "accuracy_after": after["accuracy"] if after else None,
            "before": before,
            "after": after,
            "suites": state.suites or None,
            "final_step": in_training.final_step(state.suites, state.step),
            "checkpoint": str(newest[1]) if newest else None,
            "final": str(folder.final),
            "restarts": folder.count_events("continued") + folder.count_events("restarted"),
        }
    )
    echo("")
    if after and evaluation:
        show_evaluation(before, after, evaluation)
    for line in in_training.summary(state.suites, state.step, measured_after=bool(after)):
        echo(line)
    if ended == "solved":
        echo(f"\nthe problems are solved, and the run ends: {endings.shown(state.recent)}")
    echo(f"\n{state.step} steps in {duration(seconds)}{shares(times)}")
    echo(f"run folder {folder.path}, model {folder.final}")
    echo(f"report {write_report(folder)}")


def totals(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Seconds of all steps, by part: `step` and what it is made of, `other` among it, and what stands apart from it."""
    found = {name: sum(line.get(f"time/{name}", 0.0) for line in lines) for name in ("step", *PARTS, *APART)}
    return found | {"other": found["step"] - sum(found[name] for name in PARTS)}


def shares(times: dict[str, float]) -> str:
    """`; of its 4m10s in the loop rollout 52 %, learn 40 %, ...`"""
    whole = times["step"] + sum(times[name] for name in APART)
    if not whole:
        return ""
    parts = {name: seconds / whole for name, seconds in times.items() if name != "step"}
    listed = ", ".join(
        f"{name} {share:.0%}" for name, share in sorted(parts.items(), key=lambda item: -item[1]) if share
    )
    return f"; in the loop {duration(whole)}: {listed}"


def show_evaluation(before: dict[str, Any] | None, after: dict[str, Any], evaluation: Evaluation) -> None:
    if before:
        echo(f"held-out greedy accuracy   before GRPO {show(before)}   after {show(after)}")
        gain = after["accuracy"]["value"] - before["accuracy"]["value"]
        apart = after["accuracy"]["low"] > before["accuracy"]["high"]
        echo(
            f"gain                       {100 * gain:+.1f} points, "
            f"95 % intervals {'do not touch' if apart else 'touch'}"
        )
        echo(
            f"completions that think     before {before['thinks']['value']:.1%}   after {after['thinks']['value']:.1%}"
        )
        echo(
            f"mean length of thinking    before {before['thinking_characters']:.1f}   "
            f"after {after['thinking_characters']:.1f} characters"
        )
        show_sources(before.get("by_source", {}), after["by_source"])
    else:
        echo(f"held-out greedy accuracy   after GRPO {show(after)}")
    for group in evaluation.samples:
        show_sample(group)


def show(summary: dict[str, Any]) -> str:
    a = summary["accuracy"]
    return f"{a['value']:.1%} [{a['low']:.1%}, {a['high']:.1%}] of {a['n']}"


def show_sources(before: dict[str, Any], after: dict[str, Any]) -> None:
    """A line for each source of held-out problems, where there are several."""
    if not 2 <= len(after) <= SOURCES_SHOWN:
        return
    rows = [["source", "before GRPO (95 %)", "after GRPO (95 %)", "gain", ""]]
    for source, share in after.items():
        earlier = before.get(source)
        gain = f"{100 * (share['value'] - earlier['value']):+.1f}" if earlier else ""
        apart = "*" if earlier and share["low"] > earlier["high"] else ""
        rows.append([source, show({"accuracy": earlier}) if earlier else "-", show({"accuracy": share}), gain, apart])
    echo("")
    echo("\n".join(aligned(rows)))
    echo("* intervals do not touch")


def show_sample(group: Group, sample: int = 0) -> None:
    completion, reward = group.completions[sample], group.rewards[sample]
    echo(f"\n--- {group.prompt.source} problem, gold answer {group.prompt.answer}")
    echo(group.prompt.text + completion.text)
    echo(f"--- graded: {reward.reason}, reward {reward.value:g}")


def show_starved(folder: RunFolder, groups: Sequence[Group]) -> None:
    """A completion for each reason of what a run sampled in vain; all of them are stored."""
    firsts: dict[str, tuple[Group, int]] = {}
    for group in groups:
        for sample, reward in enumerate(group.rewards):
            firsts.setdefault(reward.reason, (group, sample))
    for group, sample in firsts.values():
        show_sample(group, sample)
    echo(f"\nall completions are in {folder.rollouts}, report {write_report(folder)}")
