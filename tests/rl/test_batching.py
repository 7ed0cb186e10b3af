"""Packed micro-batches hold every completion once, with the right context, in as few tokens as promised."""

from dataclasses import replace

import numpy as np
import pytest

from srm_ray.rl.batching import PackedBatch, bundles, counts_in_loss, micro_batches
from srm_ray.rl.types import Group
from tests.rl.random_groups import random_group, uneven_groups


def flat(parts: list[list[PackedBatch]]) -> list[PackedBatch]:
    return [batch for part in parts for batch in part]


def sequences_seen_by_attention(batch: PackedBatch) -> dict[int, list[int]]:
    """For each position in T, the tokens that attention shows it: its row up to and with itself."""
    seen: dict[int, list[int]] = {}
    flat_rows = [(row, column) for bucket in batch.buckets for row in bucket for column in range(len(row))]
    for position, at in enumerate(batch.output_T):
        row, column = flat_rows[at]
        assert row[column] == position, "a token's output must be read where the token itself was the query"
        seen[position] = batch.tokens_T[row[: column + 1]].tolist()
    return seen


def contexts(batch: PackedBatch) -> list[tuple[list[int], int]]:
    """(tokens that a completion token is predicted from, the token), in the order of the C axis."""
    seen = sequences_seen_by_attention(batch)
    return [(seen[int(at)], int(token)) for at, token in zip(batch.predict_C, batch.targets_C, strict=True)]


def expected_contexts(groups: tuple[Group, ...]) -> list[tuple[list[int], int]]:
    found = []
    for group in groups:
        for completion in group.completions:
            sequence = [*group.prompt.token_ids, *completion.token_ids.tolist()]
            first = len(group.prompt.token_ids)
            found += [(sequence[:at], sequence[at]) for at in range(first, len(sequence))]
    return found


@pytest.mark.parametrize("budget", [1, 40, 70, 200, 10_000])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_completion_token_once_each_from_its_own_prompt_and_prefix(budget, ranks):
    groups = uneven_groups()
    found = [pair for batch in flat(micro_batches(groups, budget=budget, ranks=ranks)) for pair in contexts(batch)]
    assert sorted(found) == sorted(expected_contexts(groups))


@pytest.mark.parametrize("budget", [1, 40, 70, 200, 10_000])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_loss_inputs_travel_with_their_completion(budget, ranks):
    groups = uneven_groups()
    members = [(group, i) for group in groups for i in range(len(group.completions))]
    orders = []
    for batch in flat(micro_batches(groups, budget=budget, ranks=ranks, filter_overlong=True)):
        assert batch.advantages_C.dtype == batch.mask_C.dtype == batch.rollout_logprobs_C.dtype == np.float32
        for sequence, order in enumerate(batch.order_S):
            group, i = members[order]
            here = batch.sequence_C == sequence
            assert group.advantages is not None
            assert batch.rollout_logprobs_C[here].tolist() == group.completions[i].logprobs.tolist()
            assert set(batch.advantages_C[here].tolist()) == {float(group.advantages[i])}
            assert set(batch.mask_C[here].tolist()) == {float(counts_in_loss(group, i, filter_overlong=True))}
            assert batch.workers_S[sequence] == group.completions[i].worker
            orders.append(int(order))
    assert sorted(orders) == list(range(len(members)))


@pytest.mark.parametrize("budget", [1, 40, 70, 200, 10_000])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_rank_has_the_same_number_of_micro_batches_and_none_is_empty(budget, ranks):
    parts = micro_batches(uneven_groups(), budget=budget, ranks=ranks)
    assert len(parts) == ranks
    assert len({len(part) for part in parts}) == 1
    assert all(len(batch.targets_C) for batch in flat(parts))


def test_positions_restart_at_every_prompt_and_go_on_from_it_in_every_completion():
    group = random_group(np.random.default_rng(0), 0, 4, (3, 2))
    ((batch,),) = micro_batches([group], budget=100, ranks=1)
    assert batch.positions_T.tolist() == [0, 1, 2, 3, 4, 5, 6, 4, 5]


def test_a_prompt_is_computed_once_for_its_group():
    groups = uneven_groups()
    ((batch,),) = micro_batches(groups, budget=10_000, ranks=1)
    prompts = sum(len(group.prompt.token_ids) for group in groups)
    completions = sum(len(completion.token_ids) for group in groups for completion in group.completions)
    assert len(batch.tokens_T) == prompts + completions


def test_a_group_is_cut_where_it_exceeds_the_budget():
    group = random_group(np.random.default_rng(0), 0, 10, (20, 20, 20, 50, 5))
    pieces = bundles([group], filter_overlong=False, budget=50)
    assert [[len(row.completion.token_ids) for row in piece.rows] for piece in pieces] == [[20, 20], [20], [50], [5]]
    assert [piece.cost for piece in pieces] == [50, 30, 60, 15]


@pytest.mark.parametrize("seed", range(5))
def test_micro_batches_stay_near_the_budget_and_ranks_near_each_other(seed):
    rng = np.random.default_rng(seed)
    groups = [random_group(rng, i, 20, np.minimum(rng.geometric(0.02, 8), 300).tolist()) for i in range(32)]
    budget = 2000
    parts = micro_batches(groups, budget=budget, ranks=2)
    largest = max(piece.cost for piece in bundles(groups, filter_overlong=False, budget=budget))
    tokens = [[len(batch.tokens_T) for batch in part] for part in parts]
    assert max(max(part) for part in tokens) <= budget + largest
    assert abs(sum(tokens[0]) - sum(tokens[1])) <= len(tokens[0]) * largest


def test_attention_rows_waste_little_on_padding():
    rng = np.random.default_rng(0)
    groups = [random_group(rng, i, 20, np.minimum(rng.geometric(0.02, 8), 300).tolist()) for i in range(16)]
    ((batch,),) = micro_batches(groups, budget=1 << 20, ranks=1)
    real = sum(8 * len(group.prompt.token_ids) + sum(len(c.token_ids) for c in group.completions) for group in groups)
    assert sum(bucket.size for bucket in batch.buckets) <= 1.2 * real


def test_one_group_is_split_over_ranks():
    group = random_group(np.random.default_rng(0), 0, 5, (9, 3, 4))
    parts = micro_batches([group], budget=1000, ranks=3)
    assert [len(part[0].order_S) for part in parts] == [1, 1, 1]


def test_fewer_completions_than_ranks_is_refused():
    group = random_group(np.random.default_rng(0), 0, 5, (9, 3))
    with pytest.raises(ValueError, match="2 completions cannot be spread over 3 learner ranks"):
        micro_batches([group], budget=1000, ranks=3)


def test_same_groups_same_batches():
    first, again = (flat(micro_batches(uneven_groups(), budget=70, ranks=2)) for _ in range(2))
    assert [batch.tokens_T.tolist() for batch in first] == [batch.tokens_T.tolist() for batch in again]


@pytest.mark.parametrize(
    ("index", "filter_overlong", "counts"),
    [(0, False, True), (1, False, False), (2, False, True), (2, True, False), (1, True, False)],
)
def test_who_counts_in_the_loss(index, filter_overlong, counts):
    group = random_group(np.random.default_rng(0), 0, 5, (3, 3, 3), correct=(True, None, False), truncated=(2,))
    assert counts_in_loss(group, index, filter_overlong=filter_overlong) is counts


def test_only_completions_wholly_of_the_version_prove_the_weights():
    """After a push in mid-generation the later tokens stand on keys and values of the older weights."""
    groups = [
        replace(group, completions=tuple(with_versions(c, n) for n, c in enumerate(group.completions)))
        for group in uneven_groups()
    ]
    members = [(group, i) for group in groups for i in range(len(group.completions))]
    for batch in flat(micro_batches(groups, budget=100, ranks=1, proof_version=4)):
        for sequence, order in enumerate(batch.order_S):
            group, i = members[order]
            proves = set(group.completions[i].versions.tolist()) == {4}
            assert set(batch.proof_C[batch.sequence_C == sequence].tolist()) == {float(proves)}
    for batch in flat(micro_batches(groups, budget=100, ranks=1)):
        assert (batch.proof_C == 1).all()


def with_versions(completion, number):
    """All of version 4, all of version 3, or half of each."""
    length = len(completion.token_ids)
    split = {0: 0, 1: length}.get(number % 3, length // 2)
    return replace(completion, versions=np.repeat(np.array([3, 4], np.int32), [split, length - split]))
