"""Suites while a model trains: which checkpoint is kept."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.grpo_run import Inputs, exporter, suites_in_training
from rewards.dispatch import Graders
from srm_ray.config.command_line import parse
from srm_ray.config.evaluate import PromptConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import UserError
from srm_ray.evaluation import in_training
from srm_ray.evaluation.evaluator import Evaluator
from srm_ray.evaluation.in_training import InTraining, decide
from srm_ray.inference.completers import Sampling
from srm_ray.model.lineage import read_lineage
from srm_ray.model.loading import open_model
from srm_ray.rl.state import State
from srm_ray.runs.final import write_final
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from srm_ray.runs.saving import Saver

START = {"gsm8k": 0.5, "svamp": 0.4}


def record(mean: float | None = None) -> dict:
    return {"start": START, "best": None if mean is None else {"step": 1, "mean": mean}}


@pytest.mark.parametrize(
    ("scores", "before", "guard", "best"),
    [
        ({"gsm8k": 0.6, "svamp": 0.4}, None, None, True),
        ({"gsm8k": 0.6, "svamp": 0.4}, 0.49, None, True),
        ({"gsm8k": 0.6, "svamp": 0.4}, 0.5, None, False),  # as good as before is not better
        ({"gsm8k": 0.9, "svamp": 0.3}, None, 0.05, False),  # the mean rose, one suite lost too much
        ({"gsm8k": 0.9, "svamp": 0.35}, None, 0.05, True),  # exactly the guard is within it
        ({"gsm8k": 0.9, "svamp": 0.3}, None, None, True),
    ],
)
def test_best_is_the_highest_mean_within_the_guard(
    scores: dict, before: float | None, guard: float | None, best: bool
) -> None:
    assert decide(record(before), scores, guard).best is best


def test_what_was_lost_is_named() -> None:
    decision = decide(record(), {"gsm8k": 0.9, "svamp": 0.1}, 0.05)
    assert decision.lost == {"svamp": pytest.approx(0.3)}


@pytest.mark.integration
def test_a_model_is_measured_and_kept(asked, capsys) -> None:
    kept = []

    async def keep(step: int) -> None:
        kept.append(step)

    graders = Graders(1)
    try:
        suites = InTraining(
            in_training.load(["arithmetic"], "", 8),
            asked.completer,
            Evaluator(graders, Sampling(max_new_tokens=16), seed=1, prompt=PromptConfig(instruction="")),
            keep,
            guard=0.0,
        )
        state: dict = {}
        asked.run(suites.start(state, 0))
        start = dict(state["start"])
        asked.run(suites.start(state, 0))  # once a run
        assert state["start"] == start
        metrics = asked.run(suites.evaluate(2, state))
        score = start["arithmetic"]  # greedy: the same model has the same score
        assert metrics == {"suite/arithmetic": score, "suite/mean": score, "suite/kept": 1}
        assert kept == [2]
        assert state["best"] == {"step": 2, "mean": score, "scores": {"arithmetic": score}}
        assert asked.run(suites.evaluate(4, state))["suite/kept"] == 0
        assert f"is not above the {score:.1%} of step 2" in capsys.readouterr().out
        assert kept == [2]
        assert (state["best"]["step"], state["last"]["step"]) == (2, 4)
        state["start"] = {"arithmetic": 1.0}
        state["best"] = None
        asked.run(suites.evaluate(6, state))
        assert "not kept, arithmetic lost" in capsys.readouterr().out
        assert kept == [2]
    finally:
        graders.close()


def test_what_cannot_be_measured_in_training_is_refused() -> None:
    with pytest.raises(UserError, match="bbh runs through lm-evaluation-harness, after training"):
        in_training.load(["bbh"], "", 1)
    with pytest.raises(UserError, match=r"--eval.suite: unknown suite 'gsm'; did you mean gsm8k\?"):
        in_training.load(["gsm"], "", 1)


def test_options() -> None:
    config = parse(GRPOConfig, ["--eval.suite", "gsm8k,svamp", "--eval.guard", "0.02"], stage="grpo")
    assert (config.eval.suite, config.eval.guard) == (["gsm8k", "svamp"], 0.02)
    with pytest.raises(UserError, match=r"eval.guard holds on the suites of eval.suite \(got 0.02 and none\)"):
        parse(GRPOConfig, ["--eval.guard", "0.02"], stage="grpo")


def test_the_summary_tells_start_best_and_last() -> None:
    def at(step: int, gsm8k: float) -> dict:
        return {"step": step, "mean": gsm8k / 2, "scores": {"gsm8k": gsm8k, "svamp": 0.0}}

    def told(best: dict | None, last: dict) -> list[str]:
        record = {"start": {"gsm8k": 0.5, "svamp": 0.4}, "best": best, "last": last}
        return in_training.summary(record, last["step"], measured_after=True)[2:]

    header, _, gsm8k, _, final, after = told(at(4, 0.75), at(6, 0.25))
    assert header.split("  ")[-3:] == ["before GRPO", "step 4, kept", "step 6"]
    assert gsm8k.split() == ["gsm8k", "50.0", "75.0", "25.0"]
    assert final.startswith("final/ is step 4")
    assert "that of the last step, 6" in after
    header, *_, final = told(at(6, 0.75), at(6, 0.75))
    assert header.endswith("GRPO  step 6, kept") and final.startswith("final/ is step 6")
    header, *_, final = told(None, at(6, 0.75))
    assert header.endswith("GRPO  step 6") and "no step measured was within eval.guard" in final
    assert in_training.summary({}, 6, measured_after=True) == []


@pytest.mark.integration
def test_best_weights_stay_until_a_checkpoint_names_better_ones(tiny_model, tmp_path) -> None:
    class Learner:
        async def export(self, path: Path, *, plain: bool) -> None:
            assert plain
            (path / "model.safetensors").write_text(f"{state.step}")

        async def save(self, path: Path) -> None:
            """Nothing to save."""

    config, folder = GRPOConfig(), RunFolder(tmp_path, stage="grpo")
    folder.create()
    workers, log = SimpleNamespace(learner=Learner(), rollouts=None, rewards=None), MetricsLog(folder.metrics)
    inputs = Inputs(config, open_model(str(tiny_model)), 64, None, [], {})
    export = exporter(config, workers, inputs.info)
    made = suites_in_training(config, folder, workers, inputs, export)
    state, saver = State(), Saver(folder, workers.learner, log, keep=2, limit=60.0)

    def there() -> list[str]:
        return sorted(path.name for path in (folder.path / "best").iterdir())

    async def reach(step: int, *, best: bool = False, checkpoint: bool = False) -> None:
        state.step = step
        if best:
            await made.keep(step)
            state.suites = {"best": {"step": step}}
        if checkpoint:
            await saver.save(state)

    async def scenario() -> None:
        await reach(1, best=True)
        await reach(2, checkpoint=True)
        await reach(3, best=True)
        await reach(4, best=True)
        assert there() == ["step_000001", "step_000003", "step_000004"]  # a kill here goes on from step 2's record
        await reach(5, checkpoint=True)
        assert there() == ["step_000004"]
        await reach(6)
        await write_final(folder, export, state.step, state.suites["best"])

    asyncio.run(scenario())
    assert (folder.final / "model.safetensors").read_text() == "4"
    assert read_lineage(folder.final)["steps"] == 4


class Scripted(InTraining):
    """Suites whose scores are made up."""

    def __init__(self, scores: dict[str, float], guard: float | None = None) -> None:
        self.items = {name: [] for name in scores}
        self.made_up, self.guard = scores, guard
        self.kept: list[int] = []

    async def scores(self) -> dict[str, float]:
        return dict(self.made_up)

    async def keep(self, step: int) -> None:
        self.kept.append(step)


def test_a_run_extended_with_other_suites_has_no_before_of_them(capsys) -> None:
    """What is first measured in the middle is no "before", holds no guard, and starts the search for the best anew."""
    record: dict = {}

    async def scenario() -> Scripted:
        first = Scripted({"gsm8k": 0.9})
        await first.start(record, 0)
        await first.evaluate(4, record)
        assert record["best"]["step"] == 4
        other = Scripted({"svamp": 0.5, "math500": 0.1}, guard=0.0)
        await other.start(record, 4)
        assert record["start"] == {"gsm8k": 0.9} and record["best"] is None
        assert not other.measured(record, 4)
        await other.evaluate(8, record)
        assert other.measured(record, 8)
        return other

    assert asyncio.run(scenario()).kept == [8], "though the mean is below that of the other suite"
    said = capsys.readouterr().out
    assert "svamp was not measured before GRPO" in said and "math500 was not measured before GRPO" in said
    assert "step 4 was the best by the mean of gsm8k: forgotten" in said
    assert "after step 8: suites svamp 50.0%  math500 10.0%: kept, the best so far" in said
    _header, _, svamp, math500, *_ = in_training.summary(record, 8, measured_after=False)[2:]
    assert (svamp.split(), math500.split()) == (["svamp", "-", "50.0"], ["math500", "-", "10.0"])


def test_a_suite_added_beside_another_keeps_that_ones_before(capsys) -> None:
    record: dict = {}

    async def scenario() -> None:
        await Scripted({"gsm8k": 0.5}).start(record, 0)
        both = Scripted({"gsm8k": 0.4, "svamp": 0.9}, guard=0.05)
        await both.start(record, 4)
        await both.evaluate(8, record)

    asyncio.run(scenario())
    assert record["start"] == {"gsm8k": 0.5} and record["best"] is None, "gsm8k lost more than the guard allows"
    assert "gsm8k 40.0% (-10.0)  svamp 90.0%: not kept, gsm8k lost 10.0 points" in capsys.readouterr().out
    assert "- " in "\n".join(in_training.table(record))


def test_a_run_extended_without_suites_ends_with_its_last_weights(capsys) -> None:
    state = State(step=4, suites={"start": {"gsm8k": 0.5}, "best": {"step": 2, "mean": 0.6, "scores": {}}})
    asyncio.run(in_training.Evaluations().before(state))
    assert state.suites == {}
    assert "final/ will be the last step's weights" in capsys.readouterr().out


def test_suites_asked_for_after_the_last_step_are_measured_at_the_end() -> None:
    state, suites = State(step=4), Scripted({"gsm8k": 0.5})
    evaluations = in_training.Evaluations(0, None, suites)

    async def scenario() -> None:
        await evaluations.before(state)
        assert await evaluations.after(state) is None

    asyncio.run(scenario())
    assert state.suites["last"]["step"] == 4 and suites.kept == [4]
