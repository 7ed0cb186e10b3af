"""Suites measured while a model trains, to choose the checkpoint that is kept.

    every eval.every steps and after the last: Measurement.score of each suite -> judge -> best so far?
        -> keep (exports the weights)

Best is the highest mean over the suites. With a guard, a checkpoint that has lost more than that on any suite since the
start is not kept, however good its mean.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srm_ray.console.progress import say
from srm_ray.console.text_table import aligned
from srm_ray.errors import UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.grading import Graders
from srm_ray.evaluation.measure import Measurement
from srm_ray.evaluation.suites import Item
from srm_ray.inference.completers import Decoding, Speaker

# {"start": {suite: score}, "last": {"step": n, "mean": x, "scores": {suite: score}}, "best": the same, or None}
Record = dict[str, Any]  # goes into checkpoints


@dataclass(frozen=True, slots=True)
class Decision:
    """best: higher than all before, and within the guard. lost: suites beyond the guard, with points lost (0..1)."""

    mean: float
    best: bool
    lost: dict[str, float]


def judge(record: Record, scores: Mapping[str, float], guard: float | None) -> Decision:
    """Whether a checkpoint with these scores is to be kept. record: of the run so far; not changed."""
    mean = sum(scores.values()) / len(scores)
    lost = {name: record["start"][name] - score for name, score in scores.items()}
    beyond = {name: loss for name, loss in lost.items() if guard is not None and loss > guard + 1e-9}
    before = record.get("best")
    return Decision(mean, not beyond and (before is None or mean > before["mean"]), beyond)


def load(names: Sequence[str], path: str, limit: int) -> dict[str, list[Item]]:
    """The problems of suites that can be measured in training. Raises `UserError`."""
    chosen = suites.named(names, "--eval.suite")
    for suite in chosen:
        if suite.kind == "harness":
            raise UserError(
                f"--eval.suite: {suite.name} runs through lm-evaluation-harness, after training: "
                "python -m srm_ray.evaluate"
            )
    return {suite.name: suites.load(suite, path, limit) for suite in chosen}


class InTraining:
    """items: problems by suite. keep: exports the weights of now as the best of a step. guard: None for none."""

    def __init__(
        self,
        items: Mapping[str, list[Item]],
        speaker: Speaker,
        keep: Callable[[int], Awaitable[None]],
        *,
        guard: float | None,
        seed: int,
        max_new_tokens: int,
        instruction: str,
        system: str,
        graders: Graders,
    ) -> None:
        self.items, self.speaker, self.keep, self.guard = items, speaker, keep, guard
        self.measurement = Measurement(
            graders, Decoding(max_new_tokens=max_new_tokens), seed=seed, system=system, instruction=instruction
        )

    async def scores(self) -> dict[str, float]:
        found = {}
        for name, items in self.items.items():
            result = await self.measurement.score(suites.SUITES[name], items, self.speaker)
            found[name] = result.score.value
        return found

    async def start(self, record: Record) -> None:
        """Scores before training, once a run."""
        if "start" not in record:
            record["start"] = await self.scores()
            record["best"] = None
            say(f"suites before GRPO: {show(record['start'])}")

    async def look(self, step: int, record: Record) -> dict[str, float]:
        """Measure, keep what is best so far, and return the metrics of the step."""
        scores = await self.scores()
        decision = judge(record, scores, self.guard)
        record["last"] = {"step": step, "mean": decision.mean, "scores": scores}
        before = record["best"]
        if decision.best:
            await self.keep(step)
            record["best"] = record["last"]
        say(f"  after step {step}: suites {show(scores, record['start'])}: {self.verdict(decision, before)}")
        found = {f"suite/{name}": score for name, score in scores.items()}
        return found | {"suite/mean": decision.mean, "suite/kept": int(decision.best)}

    def verdict(self, decision: Decision, before: Record | None) -> str:
        """What is done with the weights, and why. before: the best of earlier steps."""
        if decision.best:
            return "kept, the best so far"
        if decision.lost:
            lost = " and ".join(f"{name} lost {100 * loss:.1f} points" for name, loss in decision.lost.items())
            return f"not kept, {lost} and eval.guard allows {100 * (self.guard or 0):g}"
        assert before is not None, "what is within the guard and has nothing before it is the best"
        return f"not kept, the mean {decision.mean:.1%} is not above the {before['mean']:.1%} of step {before['step']}"


def show(scores: Mapping[str, float], start: Mapping[str, float] | None = None) -> str:
    """start: scores before training, to which the difference is told."""
    return "  ".join(
        f"{name} {score:.1%}" + (f" ({100 * (score - start[name]):+.1f})" if start else "")
        for name, score in scores.items()
    )


def final_step(record: Record, last: int) -> int:
    """The step whose weights `final/` has. last: the run's last step."""
    best = record.get("best")
    return best["step"] if best else last


def summary(record: Record, last: int, *, measured_after: bool) -> list[str]:
    """What a run says at its end; nothing where no suite was measured. measured_after: held-out accuracy was."""
    if not record:
        return []
    lines = ["", "suites of eval.suite, greedy, %", *table(record)]
    if not record["best"]:
        return [*lines, f"final/ is step {last}, the last: no step measured was within eval.guard of the start"]
    step = final_step(record, last)
    lines.append(f"final/ is step {step}, the highest mean of the steps measured")
    if measured_after and step != last:
        lines.append(f"(the held-out accuracy after GRPO is that of the last step, {last})")
    return lines


def table(record: Record) -> list[str]:
    """Scores in percent before training, of the best step, and of the last where it is another."""
    shown = [("before GRPO", record["start"])]
    if best := record["best"]:
        shown.append((f"step {best['step']}, kept", best["scores"]))
    if (last := record["last"]) != best:
        shown.append((f"step {last['step']}", last["scores"]))
    rows = [["suite", *(title for title, _ in shown)]]
    rows += [[name, *(f"{100 * scores[name]:.1f}" for _, scores in shown)] for name in record["start"]]
    return aligned(rows)
