"""What `srm_ray.bench.against_trl` makes of two runs' numbers."""

import json
from pathlib import Path

import pytest

from srm_ray.bench.against_trl import Side, compared, curve_of, described, steps_of

TRL = Side([(0.0, 0.1), (20.0, 0.5), (40.0, 0.7), (60.0, 0.6)], {"step": 4.0, "sampling": 3.0, "learning": 1.0})


def test_time_counts_from_when_each_first_had_the_last_accuracy() -> None:
    pair = compared(TRL, Side([(10.0, 0.55), (18.0, 0.6), (30.0, 0.9)], {"step": 2.0, "sampling": 1.5}))
    assert pair["final"] == 0.6, "TRL's last, not its best"
    assert pair["trl_seconds"] == 40.0, "it had 0.6 and more there already"
    assert pair["seconds"] == 18.0
    assert pair["ratio"] == pytest.approx(0.45)
    assert "a step of TRL: 4.00 s (sampling 3.00, learning 1.00); a step of ours: 2.00 s (sampling 1.50)" in described(
        pair
    )


def test_who_never_had_it_has_no_ratio() -> None:
    pair = compared(TRL, Side([(10.0, 0.2), (90.0, 0.59)], {"step": 2.0}))
    assert pair["seconds"] is None and pair["ratio"] is None
    assert "never had it, 59.0% at best" in described(pair)


def test_seconds_are_those_of_steps(tmp_path: Path) -> None:
    assert steps_of(tmp_path) == [], "a run that has not begun"
    lines = [{"step": 1, "time/step": 2.0}, {"step": 2, "time/step": 3.0, "eval/accuracy": 0.4, "time/eval": 50.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curve_of(steps_of(tmp_path)) == [(5.0, 0.4)]
