"""The real command on an environment: engines, environment processes, learner; the record replayed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from srm_ray import replay
from srm_ray.rl.types import Episode
from srm_ray.runs import rollout_log
from tests.loop.command_run import completions, run_here, small_run, steps_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


def test_episodes_from_engines_to_weights(
    ray_session: object, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sampled tokens prove the weights, an environment's are no part of anything, and a step replays bit for bit."""
    folder = tmp_path / "run"
    options = {
        "environment": "tests.environments.samples:Parity",
        "environment.max_turn_tokens": "24",
        "environment.cpus": "0.1",
        "rollout.max_new_tokens": "120",
        "rollout.max_model_len": "240",
        "steps": "2",
        "learner.precision": "float32",
        "rollout.dtype": "float32",
        "weights.mismatch_limit": "0.01",
    }
    command = small_run(tiny_model, tmp_path / "prompts.jsonl", **options)
    at = command.index("--reward")
    run_here([*command[:at], *command[at + 2 :]], folder)
    lines = list(completions(folder))
    episodes = [episode for line in lines if (episode := Episode.of(line["episode"])) is not None]
    assert len(episodes) == len(lines) and {len(one.turns) for one in episodes} == {1, 2}
    for line, episode in zip(lines, episodes, strict=True):
        logprobs, sampled = np.array(line["logprobs"]), np.zeros(len(line["token_ids"]), bool)
        for turn in episode.turns:
            sampled[turn.start : turn.end] = True
        assert (logprobs[sampled] < 0).all() and (logprobs[~sampled] == 0).all() and sampled[-1]
        if len(episode.turns) == 2:
            assert f"You said {len(episode.turns[0].text)} characters." in line["completion"]
            assert not episode.failure
    logged = steps_of(folder)
    assert all(1 < line["episode/turns"] <= 2 and line["episode/failed"] == 0 for line in logged)
    assert all(line["policy/mismatch_max"] < 1e-2 for line in logged)
    trained = [one for group in rollout_log.read(folder / "rollouts", 2) for one in group.completions]
    assert trained and all(one.sampled_tokens < len(one.token_ids) for one in trained if len(one.episode.turns) == 2)  # type: ignore[union-attr]
    assert replay.main(["--run", str(folder), "--step", "2"]) == 0
    assert "the same bits" in re.sub("not the same bits", "", capsys.readouterr().out)
    assert json.loads((folder / "summary.json").read_text())["steps"] == 2
