"""Episodes in a batch: what an environment said is attended to, and neither predicted nor counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from srm_ray.rl.batching import bundles, lay_back, micro_batches, pack, spread
from srm_ray.rl.sources import SourceState
from srm_ray.rl.state import State, read, write
from srm_ray.rl.step_metrics import staleness
from srm_ray.rl.types import Completion, Episode, Group, ToolCall, Turn
from srm_ray.runs import rollout_log
from tests.rl.random_groups import random_group, uneven_groups


def as_episode(completion: Completion, spans: list[tuple[int, int]]) -> Completion:
    """The same tokens, of which only those in `spans` were sampled."""
    calls = (ToolCall("add", {"a": 1}, "2"), ToolCall("", {}, "Error", error=True))
    turns = tuple(Turn(start, end, 7 + start, "said", "rollout-0", calls, reward=0.5) for start, end in spans)
    made = replace(completion, episode=Episode(turns, 1.0, True))
    mask = made.sampled_T
    assert mask is not None
    return replace(made, logprobs=np.where(mask, completion.logprobs, 0).astype(np.float32))


def episodes() -> tuple[Group, Group]:
    """A group, and the same tokens as episodes."""
    plain = random_group(np.random.default_rng(0), 0, 5, (12, 9, 4))
    spans = [[(0, 4), (7, 12)], [(0, 2), (3, 5), (8, 9)], [(0, 4)]]
    made = tuple(as_episode(one, where) for one, where in zip(plain.completions, spans, strict=True))
    return plain, replace(plain, completions=made)


def packed(group: Group):
    return pack(bundles([group], filter_overlong=False, budget=10_000))


def test_the_same_forward_pass_and_fewer_predictions() -> None:
    plain, group = episodes()
    whole, part = packed(plain), packed(group)
    masks = [one.sampled_T for one in group.completions]
    sampled = np.concatenate([mask for mask in masks if mask is not None])
    for name in ("tokens_T", "positions_T", "output_T", "order_S"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))
    for ours, theirs in zip(part.buckets, whole.buckets, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("predict_C", "targets_C", "sequence_C", "advantages_C", "rollout_logprobs_C", "mask_C", "proof_C"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[sampled])
    assert sum(one.sampled_tokens for one in group.completions) == len(part.targets_C)


def test_values_are_laid_back_at_their_tokens() -> None:
    _, group = episodes()
    batches = [part for rank in micro_batches([group], budget=12, ranks=1) for part in rank]
    found = lay_back(batches, [batch.targets_C.astype(np.float32) for batch in batches])
    for order, completion in enumerate(group.completions):
        mask = completion.sampled_T
        assert mask is not None
        values = spread(found[order], completion)
        np.testing.assert_array_equal(values[mask], completion.token_ids[mask])
        assert (values[~mask] == 0).all()


def test_an_episode_that_never_began_is_left_out() -> None:
    _, group = episodes()
    nothing = Completion(
        np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32), "stop", 0, "", "",
        Episode((), failure="timeout"),
    )  # fmt: skip
    assert group.advantages is not None
    completions = (group.completions[0], nothing, *group.completions[1:])
    rewards = (*group.rewards[:1], replace(group.rewards[0], correct=None), *group.rewards[1:])
    advantages = np.insert(group.advantages, 1, 0)
    padded = replace(group, completions=completions, rewards=rewards, advantages=advantages)
    assert padded.oldest_version == group.oldest_version
    ours, theirs = packed(padded), packed(group)
    np.testing.assert_array_equal(ours.targets_C, theirs.targets_C)
    np.testing.assert_array_equal(ours.order_S, [0, 2, 3])


def test_staleness_counts_sampled_tokens() -> None:
    _, group = episodes()
    first = group.completions[0]
    old = replace(first, versions=np.where(first.sampled_T, 3, 0).astype(np.int32))
    assert staleness([replace(group, completions=(old,))], 4) == {"staleness/mean": 1.0, "staleness/max": 1}


def test_a_record_and_a_checkpoint_hold_the_episode(tmp_path: Path) -> None:
    _, group = episodes()
    rollout_log.write(tmp_path, 1, [group], {(0, 0)})
    (again,) = rollout_log.read(tmp_path, 1)
    write(tmp_path, State(source=SourceState(ready=[group])))
    (ready,) = read(tmp_path).source.ready
    for found in (again, ready):
        ours, theirs = packed(found), packed(group)
        for name in ("tokens_T", "predict_C", "targets_C", "rollout_logprobs_C", "mask_C"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert [one.episode for one in found.completions] == [one.episode for one in group.completions]


def test_single_turns_are_as_they_were() -> None:
    """A group without episodes has no mask, and every token of it is predicted."""
    for group in uneven_groups():
        batch = packed(group)
        np.testing.assert_array_equal(batch.targets_C, np.concatenate([c.token_ids for c in group.completions]))
        assert all(one.sampled_T is None for one in group.completions)
