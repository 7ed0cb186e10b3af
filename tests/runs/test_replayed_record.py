"""A record that cannot be replayed is refused before anything starts."""

import pytest

from srm_ray import grpo
from srm_ray.runs.rollout_log import path_of


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Where runs lie; `old` recorded two steps."""
    monkeypatch.setenv("SRM_RAY_RUNS", str(tmp_path))
    monkeypatch.setattr(grpo, "run", None)  # nothing may start
    for step in (1, 2):
        path = path_of(tmp_path / "old" / "rollouts", step)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "old" / "config.yaml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--replay", "olt"], "--replay olt: no such run, did you mean old?"),
        (["--replay", "old", "--steps", "3"], "lacks the groups of step 3 of 3"),
        (["--replay", "old", "--steps", "2", "--run_dir", "{runs}/old"], "a run cannot replay itself"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(runs, capsys, options, said):
    assert grpo.main([option.format(runs=runs) for option in options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(path.name for path in runs.iterdir()) == ["old"], "no run folder is left behind"
