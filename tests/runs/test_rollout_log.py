"""What a step's learner reads is written so that it comes back bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srm_ray.errors import UserError
from srm_ray.rl.types import Group, TeacherScores
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
    with pytest.raises(UserError, match=r"step_000007\.jsonl, line 16"):
        rollout_log.read(tmp_path, 7)


@pytest.mark.parametrize("top", [0, 3])
def test_what_a_teacher_made_of_them_comes_back_bit_for_bit(tmp_path: Path, top: int) -> None:
    """So that a step is done again, and a run replayed, without a teacher."""
    group, rng = uneven_groups()[1], np.random.default_rng(1)
    scores = []
    for completion in group.completions:
        length = len(completion.token_ids)
        ids = rng.integers(0, 2**17, (length, top)).astype(np.int32)
        likeliest = (ids, rng.normal(-3, 2, (length, top)).astype(np.float32)) if top else (None, None)
        scores.append(TeacherScores(rng.normal(-3, 2, length).astype(np.float32), *likeliest))
    scored = tuple(replace(one, teacher=made) for one, made in zip(group.completions, scores, strict=True))
    rollout_log.write(tmp_path, 1, [replace(group, completions=scored)], {(group.prompt.index, group.draw)})
    for completion, wanted in zip(rollout_log.read(tmp_path, 1)[0].completions, scores, strict=True):
        assert completion.teacher is not None
        for name in ("logprobs", "top_ids", "top_logprobs"):
            found, there = getattr(completion.teacher, name), getattr(wanted, name)
            assert (found is None) == (there is None)
            if there is not None:
                assert (found.dtype, found.shape, found.tobytes()) == (there.dtype, there.shape, there.tobytes())


@pytest.mark.parametrize(
    "changed",
    [
        {"versions": [[1, 10**13]]},
        {"versions": [[1, -1]]},
        {"versions": 7},
        {"token_ids": ["x"]},
        {"token_ids": [10**30], "versions": [[1, 1]]},
        {"logprobs": {}},
        {"prompt_index": []},
        {"sample": None},
        {"episode": [1]},
        {"advantage": "x"},
    ],
    ids=str,
)
def test_a_record_that_no_run_writes_is_told_in_one_line(tmp_path: Path, changed: dict) -> None:
    _, lines = written(tmp_path)
    path = rollout_log.path_of(tmp_path, 7)
    path.write_text("".join(json.dumps(line | changed) + "\n" for line in lines))
    with pytest.raises(UserError, match=r"step_000007\.jsonl") as raised:
        rollout_log.read(tmp_path, 7)
    assert "\n" not in str(raised.value)
