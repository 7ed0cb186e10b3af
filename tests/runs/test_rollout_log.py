"""What a step's learner reads is written so that it comes back bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srm_ray.rl.types import Group
from srm_ray.runs import rollout_log
from tests.rl.random_groups import uneven_groups


def written(path: Path) -> tuple[tuple[Group, ...], list[dict]]:
    """Groups 0 to 4, of which 1 and 3 are trained on, and the lines that they became."""
    rng = np.random.default_rng(0)
    groups = uneven_groups()
    own = [
        [rng.normal(size=len(c.token_ids)).astype(np.float32) for c in group.completions]
        for group in (groups[1], groups[3])
    ]
    rollout_log.write(
        path, 7, groups, {(n, groups[n].draw) for n in (1, 3)}, learner=zip((groups[1], groups[3]), own, strict=True)
    )
    return groups, [json.loads(line) for line in rollout_log.path_of(path, 7).read_text().splitlines()]


def test_the_groups_trained_on_come_back_bit_for_bit(tmp_path: Path) -> None:
    groups, _ = written(tmp_path)
    found = rollout_log.read(tmp_path, 7)
    assert [group.prompt for group in found] == [groups[1].prompt, groups[3].prompt]
    for group, original in zip(found, (groups[1], groups[3]), strict=True):
        assert group.rewards == original.rewards
        assert group.advantages is not None
        assert original.advantages is not None
        assert group.advantages.tobytes() == original.advantages.tobytes()
        for completion, wanted in zip(group.completions, original.completions, strict=True):
            for name in ("token_ids", "logprobs", "versions"):
                assert getattr(completion, name).dtype == getattr(wanted, name).dtype
                assert getattr(completion, name).tobytes() == getattr(wanted, name).tobytes()
            assert (completion.finish_reason, completion.seed) == (wanted.finish_reason, wanted.seed)


def test_versions_that_change_within_a_completion_come_back(tmp_path: Path) -> None:
    group = uneven_groups()[1]
    mixed = replace(group.completions[0], versions=np.array([3, 3, 4, 4, 4, 6, 6], np.int32))
    rollout_log.write(
        tmp_path, 1, [replace(group, completions=(mixed, *group.completions[1:]))], {(group.prompt.index, group.draw)}
    )
    assert rollout_log.read(tmp_path, 1)[0].completions[0].versions.tolist() == [3, 3, 4, 4, 4, 6, 6]


def test_the_learners_log_probabilities_are_beside_the_samplers(tmp_path: Path) -> None:
    _, lines = written(tmp_path)
    for line in lines:
        assert ("learner_logprobs" in line) == line["kept"]
        if line["kept"]:
            assert len(line["learner_logprobs"]) == len(line["token_ids"])
            assert all(round(value, 6) == value for value in line["learner_logprobs"])


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    written(tmp_path)
    path = rollout_log.path_of(tmp_path, 7)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match=r"step_000007\.jsonl, line 16"):
        rollout_log.read(tmp_path, 7)
