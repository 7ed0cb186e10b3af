"""What is measured while a model trains: held-out problems, and suites, to choose the checkpoint that is kept.

    every eval.every steps and after the last: Evaluator.score of each suite -> decide -> best so far?
        -> keep (exports the weights)

Best is the highest mean over the suites. With a guard, a checkpoint that has lost more than that on any suite since the
start is not kept, however good its mean. What a run was not measured on before its first step has no "before".
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srm_ray.console.progress import echo, phase
from srm_ray.console.text_table import aligned
from srm_ray.errors import UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.accuracy import Evaluation, summarise
from srm_ray.evaluation.evaluator import Evaluator, each
from srm_ray.evaluation.hacks import HackProbe
from srm_ray.evaluation.suites import Item
from srm_ray.inference.completers import ChatCompleter
from srm_ray.rl.state import State
from srm_ray.rl.types import Group, Prompt

# {"start": {suite: score}, "last": {"step": n, "mean": x, "scores": {suite: score}}, "best": the same, or None}
Record = dict[str, Any]  # goes into checkpoints


@dataclass(frozen=True, slots=True)
class Decision:
    """best: higher than all before, and within the guard. lost: suites beyond the guard, with points lost (0..1)."""

    mean: float
    best: bool
    lost: dict[str, float]


def decide(record: Record, scores: Mapping[str, float], guard: float | None) -> Decision:
    """Whether a checkpoint with these scores is to be kept. record: of the run so far; not changed."""
    mean = sum(scores.values()) / len(scores)
    start = record["start"]
    lost = {name: start[name] - score for name, score in scores.items() if name in start}
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
    """items: problems by suite. evaluator: how they are asked and graded. keep: exports the weights of now as the
    best of a step. guard: None for none."""

    def __init__(
        self,
        items: Mapping[str, list[Item]],
        completer: ChatCompleter,
        evaluator: Evaluator,
        keep: Callable[[int], Awaitable[None]],
        *,
        guard: float | None,
    ) -> None:
        self.items, self.completer, self.evaluator, self.keep, self.guard = items, completer, evaluator, keep, guard

    async def scores(self) -> dict[str, float]:
        found = {}
        for name, items in self.items.items():
            with phase(f"answering {name}", total=len(items)) as counted:
                result = await self.evaluator.score(suites.SUITES[name], items, self.completer, counted.advance)
            found[name] = result.score.value
        return found

    async def start(self, record: Record, step: int) -> None:
        """Scores before training, once a run. step: steps done; what is first asked for after some has no before."""
        if step == 0:
            if "start" not in record:
                record |= {"start": await self.scores(), "best": None}
                echo(f"suites before GRPO: {show(record['start'])}")
            return
        for name in self.items.keys() - record.setdefault("start", {}).keys():
            echo(f"{name} was not measured before GRPO: it has no change to show, and eval.guard does not hold on it")
        best = record.setdefault("best", None)
        if best and best["scores"].keys() != self.items.keys():
            echo(f"step {best['step']} was the best by the mean of {', '.join(best['scores'])}: forgotten, as other")
            echo("suites are measured now, and the best of them is looked for from here on")
            record["best"] = None

    def measured(self, record: Record, step: int) -> bool:
        """Whether the suites of now have been measured after `step`."""
        last = record.get("last")
        return last is not None and last["step"] == step and last["scores"].keys() == self.items.keys()

    async def evaluate(self, step: int, record: Record) -> dict[str, float]:
        """Measure, keep what is best so far, and return the metrics of the step."""
        scores = await self.scores()
        decision = decide(record, scores, self.guard)
        record["last"] = {"step": step, "mean": decision.mean, "scores": scores}
        before = record["best"]
        if decision.best:
            await self.keep(step)
            record["best"] = record["last"]
        echo(f"  after step {step}: suites {show(scores, record['start'])}: {self.verdict(decision, before)}")
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
    """start: scores before training, from which differences are shown."""
    return "  ".join(
        f"{name} {score:.1%}" + (f" ({100 * (score - start[name]):+.1f})" if start and name in start else "")
        for name, score in scores.items()
    )


def final_step(record: Record, last: int) -> int:
    """The step whose weights `final/` has. last: the run's last step."""
    best = record.get("best")
    return best["step"] if best else last


def summary(record: Record, last: int, *, measured_after: bool) -> list[str]:
    """What a run prints at its end; nothing where no suite was measured. measured_after: held-out accuracy was."""
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
    last = record["last"]
    shown = [("before GRPO", record["start"])]
    if best := record["best"]:
        shown.append((f"step {best['step']}, kept", best["scores"]))
    if last != best:
        shown.append((f"step {last['step']}", last["scores"]))
    rows = [["suite", *(title for title, _ in shown)]]
    for name in last["scores"]:
        rows.append([name, *(f"{100 * scores[name]:.1f}" if name in scores else "-" for _, scores in shown)])
    return aligned(rows)


class HeldOut:
    """Greedy accuracy on problems that training never sees.

    answer: one greedy completion of a problem, graded. samples: completions of a measurement that are shown.
    """

    def __init__(self, prompts: Sequence[Prompt], answer: Callable[[Prompt], Awaitable[Group]], *, samples: int):
        self.prompts, self.answer, self.samples = prompts, answer, samples

    async def measure(self) -> Evaluation:
        found: dict[int, Group] = {}
        with phase("answering held-out problems", total=len(self.prompts)) as counted:

            async def one(prompt: Prompt) -> None:
                found[prompt.index] = await self.answer(prompt)
                counted.advance()

            await each(self.prompts, one)
        return summarise([found[prompt.index] for prompt in self.prompts], samples=self.samples)


@dataclass
class Evaluations:
    """All that is measured of a run, and when. every: steps in between; 0: before and after the run alone."""

    every: int = 0
    held_out: HeldOut | None = None
    suites: InTraining | None = None
    probe: HackProbe | None = None

    async def before(self, state: State) -> None:
        """Into `state` what is measured before the first step; once a run."""
        if self.probe:
            await self.probe.metrics()
        if self.held_out and state.before is None:
            if state.step == 0:
                found = await self.held_out.measure()
                state.before = found.to_plain()
                echo(f"held-out greedy accuracy before GRPO: {found.accuracy} of {found.accuracy.n}")
            else:
                echo(f"held-out accuracy before GRPO is not known: it is first asked for after step {state.step}")
        if self.suites:
            await self.suites.start(state.suites, state.step)
        elif state.suites:
            echo("no suites are measured any more: final/ will be the last step's weights")
            state.suites = {}

    def due(self, step: int, *, last: bool) -> bool:
        """Whether something is measured after a step."""
        if last:
            return self.suites is not None
        return bool(self.every) and step % self.every == 0 and (self.held_out or self.suites) is not None

    async def after_step(self, state: State, *, last: bool) -> dict[str, float]:
        """Metrics of a step that is `due`; held-out accuracy after the last one is `after`'s."""
        found = await self.probe.metrics() if self.probe else {}
        if self.held_out and not last:
            accuracy = (await self.held_out.measure()).accuracy
            echo(f"  after step {state.step}: held-out greedy accuracy {accuracy}")
            found |= {"eval/accuracy": accuracy.value}
            found |= {"eval/accuracy_low": accuracy.low, "eval/accuracy_high": accuracy.high}
        if self.suites:
            found |= await self.suites.evaluate(state.step, state.suites)
        return found

    async def after(self, state: State) -> Evaluation | None:
        """Held-out accuracy of the weights that the run ended with, and the suites where no step has measured them."""
        if self.suites and not self.suites.measured(state.suites, state.step):
            await self.suites.evaluate(state.step, state.suites)
        return await self.held_out.measure() if self.held_out else None
