"""Every silent failure is provoked in the real loop, and is heard: an event, a line on the terminal, a count."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from srm_ray.config.alarms import AlarmName, AlarmsConfig
from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import RunError, UserError
from srm_ray.runs.alarms import RULES, Alarms
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from srm_ray.runs.watch import Watch
from tests.watching.scripted import Step, config_of, events, lines, run

WELL = Step(seconds=0.02)
# Alarm, what goes wrong from step 7 on, and the first step of which the mean of three is past the limit.
TROUBLES = {
    "no_signal": (Step(signal_every=8), {"no_signal": 0.6}, 7),
    "no_gradient": (Step(grad_norm=0.0), {}, 7),
    "not_finite": (Step(grad_norm=math.nan), {"stop": ()}, 7),
    "entropy": (Step(entropy=0.001), {"entropy": 0.25}, 7),
    "truncated": (Step(truncated=4), {}, 8),
    "undecided": (Step(undecided=1), {"undecided": 0.2}, 9),
    "undecided_prompt": (Step(undecided=2), {"undecided": None}, 7),
    "mismatch": (Step(mismatch=0.06), {}, 8),
    "slow": (Step(learner_rate=100.0), {"slow": 0.5}, 8),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_is_heard(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trouble, options, first = TROUBLES[name]
    trouble = replace(trouble, seconds=WELL.seconds)
    run(tmp_path, lambda step: trouble if step >= 7 else WELL, config_of(**options))
    found = [event for event in events(tmp_path) if event["event"] == "alarm"]
    assert [(event["alarm"], event["step"]) for event in found] == [(name, first)]
    printed = [line for line in capsys.readouterr().out.splitlines() if "ALARM" in line]
    assert [line.strip() for line in printed] == [f"ALARM {name}: {event['text']}" for event in found]
    counts = [line["alarms/fired"] for line in lines(tmp_path)]
    assert counts[0] == 0
    assert counts[-1] == len(found) == 1


def test_a_healthy_run_is_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, lambda step: WELL, config_of())
    assert events(tmp_path) == []
    assert "ALARM" not in capsys.readouterr().out
    assert {line["alarms/fired"] for line in lines(tmp_path)} == {0}


def test_rollouts_that_slow_down_are_heard(tmp_path: Path) -> None:
    run(tmp_path, lambda step: Step(seconds=0.4 if step >= 7 else 0.02), config_of(slow=0.5))
    found = [event for event in events(tmp_path) if event["event"] == "alarm"]
    assert [(event["alarm"], event["about"]) for event in found] == [("slow", "rollout")]
    assert found[0]["value"] < 0.5


def test_an_alarm_ends_and_can_be_raised_again(tmp_path: Path) -> None:
    run(tmp_path, lambda step: Step(truncated=4 if step in (3, 4, 5, 10, 11, 12) else 0), config_of())
    told = [(event["event"], event["step"]) for event in events(tmp_path)]
    assert told == [("alarm", 4), ("alarm_over", 7), ("alarm", 11)]


def test_an_alarm_that_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"alarm entropy, which alarms\.stop lists: policy entropy fell to 0\.001"):
        run(tmp_path, lambda step: Step(entropy=0.001), config_of(stop=["entropy"]))
    assert len(lines(tmp_path)) == 3  # the step that raised it is in the log
    assert [event["event"] for event in events(tmp_path)] == ["alarm", "saved"]  # its weights are not lost
    assert events(tmp_path)[0]["alarm"] == "entropy"


def test_nan_ends_the_run_by_default(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="NaN or infinite"):
        run(tmp_path, lambda step: Step(grad_norm=math.nan), config_of())


def test_a_stalled_stage_is_heard_while_it_stalls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, lambda step: Step(seconds=1.5 if step == 3 else 0.0), config_of(stalled=0.3))
    found = [event for event in events(tmp_path) if event["event"] == "alarm"]
    about_rollout = [event for event in found if event["about"] == "rollout"]  # a busy machine may lose others
    assert [(event["alarm"], event["step"]) for event in about_rollout] == [("stalled", 3)]
    assert "rollout has finished nothing for" in capsys.readouterr().out
    assert lines(tmp_path)[-1]["alarms/fired"] >= 1
    assert len(lines(tmp_path)) == 12  # told, and gone on


def test_a_stall_can_end_the_run(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match=r"alarm stalled, which alarms\.stop lists: rollout has finished nothing"):
        run(tmp_path, lambda step: Step(seconds=3600.0 if step == 3 else 0.0), config_of(stalled=0.3, stop=["stalled"]))
    assert time.monotonic() - began < 60  # that it ends at all, an hour early
    assert len(lines(tmp_path)) == 2


def test_a_stage_that_hangs_the_whole_driver_is_heard(tmp_path: Path) -> None:
    """A call that never yields holds the event loop itself; the clock is in another thread."""

    def script(step: int) -> Step:
        if step == 3 and not heard:
            heard.append(step)
            time.sleep(1.5)
        return Step()

    heard: list[int] = []
    run(tmp_path, script, config_of(stalled=0.3))
    assert [event["alarm"] for event in events(tmp_path)] == ["stalled"]


def test_a_continued_run_remembers(tmp_path: Path) -> None:
    """What stood before the kill stands after it, is not told twice, and is counted on."""

    def script(step: int) -> Step:
        return Step(truncated=4 if step >= 3 else 0, entropy=0.001 if step >= 9 else 0.3)

    run(tmp_path, script, config_of().model_copy(update={"steps": 6}))
    run(tmp_path, script, config_of(), first=6)
    assert [(event["alarm"], event["step"]) for event in events(tmp_path)] == [("truncated", 4), ("entropy", 11)]
    assert lines(tmp_path)[-1]["alarms/fired"] == 2


def test_steps_that_a_dead_learner_took_with_it_do_not_count_twice() -> None:
    alarms = Alarms(AlarmsConfig(window=2, truncated=0.5), group_size=8)
    for step in (1, 2, 3):
        assert alarms.check({"step": step, "completion/truncated_fraction": 0.0}) == ([], [])
    for step, cut in ((2, 0.9), (3, 0.9)):
        raised, _ = alarms.check({"step": step, "completion/truncated_fraction": cut})
    assert [(alarm.name, alarm.step) for alarm in raised] == [("truncated", 3)]
    assert [line["step"] for line in alarms.lines] == [1, 2, 3]


def test_every_alarm_can_be_switched_off(tmp_path: Path) -> None:
    off = {name: False if name == "not_finite" else None for name in get_args(AlarmName)}
    run(tmp_path, lambda step: Step(grad_norm=0.0, entropy=0.0, truncated=4, mismatch=9.0), config_of(**off, stop=()))
    assert events(tmp_path) == []


def test_an_alarm_from_outside_the_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for stop, ends in (((), False), (("hackable",), True)):
        watch = Watch(AlarmsConfig(stop=stop), RunFolder(tmp_path / "run", stage="grpo"), log, group_size=4)
        try:
            watch.raise_alarm("hackable", "empty", 0.5, 0.05, "half of nothing is right")
        except RunError as error:
            assert ends and "half of nothing is right" in str(error)
        assert watch.alarms.fired == 1
    assert "ALARM hackable: half of nothing is right" in capsys.readouterr().out


def test_stale_groups_are_heard(tmp_path: Path) -> None:
    """Asynchronous: from step 7 on every prompt's first draw comes three versions late, where one is allowed."""
    config = config_of(stale=0.3).model_copy(update={"max_staleness": 1})
    run(tmp_path, lambda step: Step(seconds=0.01, late=3 if step >= 7 else 0), config)
    found = [event for event in events(tmp_path) if event["event"] == "alarm"]
    assert {event["alarm"] for event in found} == {"stale"}
    assert 7 <= found[0]["step"] <= 10
    assert sum(line["groups/dropped_stale"] for line in lines(tmp_path)) > 0


@pytest.mark.parametrize(
    ("name", "trouble"),
    [("environment_failed", {"episode/failed": 0.2}), ("environment_slow", {"time/environment": 1.2})],
)
def test_environments_that_fail_or_hold_up_sampling_are_heard(name: str, trouble: dict[str, float]) -> None:
    alarms = Alarms(AlarmsConfig(window=3), group_size=8)
    well = {"time/rollout": 2.0, "time/environment": 0.1, "episode/failed": 0.0}
    heard = {step: alarms.check({"step": step, **well, **(trouble if step > 5 else {})})[0] for step in range(1, 10)}
    [(step, [alarm])] = [(step, found) for step, found in heard.items() if found]
    assert alarm.name == name and step in (6, 8)
    without = Alarms(AlarmsConfig(window=1), group_size=8)
    assert without.check({"step": 1, "time/rollout": 2.0}) == ([], []), "a run without environments"


def test_a_judge_that_drifts_from_the_graders_is_heard() -> None:
    alarms = Alarms(AlarmsConfig(window=2), group_size=8)
    heard = [alarms.check({"step": step, "judge/agreement": 0.95 if step < 5 else 0.6})[0] for step in range(1, 7)]
    assert [[alarm.name for alarm in found] for found in heard] == [[], [], [], [], ["judge_drift"], []]
    assert Alarms(AlarmsConfig(window=1), group_size=8).check({"step": 1}) == ([], []), "a run without a judge"


def test_names_agree() -> None:
    names = set(get_args(AlarmName))
    assert {rule.name for rule in RULES} | {"stalled", "hackable"} == names
    assert set(AlarmsConfig.model_fields) == names | {"window", "stop"}
    # Those that a test of their own provokes; hackable: tests/evaluation/test_hacks.py.
    own = {"stale", "stalled", "hackable", "environment_failed", "environment_slow", "judge_drift"}
    assert set(TROUBLES) | own == names


def test_an_unknown_alarm_is_refused() -> None:
    with pytest.raises(UserError, match=r"--alarms\.stop"):
        parse(GRPOConfig, ["--alarms.stop", "[slowness]"], stage="grpo")
    assert parse(GRPOConfig, ["--alarms.stop", "[entropy, stalled]"], stage="grpo").alarms.stop[0] == "entropy"
    assert parse(GRPOConfig, ["--alarms.slow", "null"], stage="grpo").alarms.slow is None
