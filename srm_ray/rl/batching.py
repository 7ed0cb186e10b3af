"""From groups to packed micro-batches: no padding, and each prompt computed once for its group.

Layout. A micro-batch lays all of its tokens in one row of length T: a group's prompt once, then its
completions one after the other. Linear layers, norms and embeddings see these T tokens and nothing
else. Attention alone needs sequences: `rows` list, for each completion, the positions of its prompt
and of its own tokens; `model.packed_attention` gathers them (the prompt's keys and values are shared
by the group), in buckets of similar length.

    tokens     p p p p a a a b b | q q q c c c c        T = 16
    rows       [p p p p a a a] [p p p p b b] [q q q c c c c]
    predict    the position whose hidden state predicts each completion token: last p, a, a, last p, b, ...

The environment's replies in an episode are among a completion's tokens T, so that later turns attend to it, and not
among the C that are predicted: it has no loss, no log-probability and no place in a denominator.

Sizes come from token counts, so this module needs numpy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srm_ray.rl.types import Completion, Group

BUCKET_WASTE = 1.2  # a bucket's longest row is at most this many times its shortest
WIDTH = 16  # buckets are a multiple of this wide, so that they come in few shapes


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """One micro-batch. T packed tokens, C sampled tokens, S completions.

    tokens_T, positions_T: int64. buckets: attention rows, each [B, L] int64 of positions in T, right-
    padded by repeating position 0 of the row. output_T: for each packed token, where its attention
    output lies in the concatenated, flattened buckets. predict_C: position in T whose hidden state
    predicts completion token c. targets_C: the token. sequence_C: 0..S-1. advantages_C,
    rollout_logprobs_C: float32. mask_C: float32, 0 for tokens of undecided or filtered completions.
    proof_C: float32, 1 for tokens whose log-probabilities must be the learner's own (see `micro_batches`).
    teacher_logprobs_C, teacher_ids_CK, teacher_top_CK: what a teacher makes of the tokens, float32, int64, float32
    (`srm_ray.rl.types.TeacherScores`); None where it has not scored them.
    policy_mask_C: float32, 1 for tokens that the policy loss is of (`srm_ray.rl.entropy.high_entropy`); None: all.
    order_S: index of each completion in the step's batch, to lay results back. workers_S: worker names.
    """

    tokens_T: np.ndarray
    positions_T: np.ndarray
    buckets: tuple[np.ndarray, ...]
    output_T: np.ndarray
    predict_C: np.ndarray
    targets_C: np.ndarray
    sequence_C: np.ndarray
    advantages_C: np.ndarray
    rollout_logprobs_C: np.ndarray
    mask_C: np.ndarray
    proof_C: np.ndarray
    order_S: np.ndarray
    workers_S: tuple[str, ...]
    old_logprobs_C: np.ndarray | None = None
    policy_mask_C: np.ndarray | None = None
    reference_logprobs_C: np.ndarray | None = None
    teacher_logprobs_C: np.ndarray | None = None
    teacher_ids_CK: np.ndarray | None = None
    teacher_top_CK: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A completion with all that the loss needs of it; `order` is its place in the step's batch."""

    completion: Completion
    advantage: float
    counts: bool
    order: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """Completions of one prompt that travel together. Cost in tokens: the prompt once, then each."""

    prompt: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def cost(self) -> int:
        return len(self.prompt) + sum(len(row.completion.token_ids) for row in self.rows)


def counts_in_loss(group: Group, index: int, *, filter_overlong: bool) -> bool:
    """Whether completion `index` counts: truncated ones unless they are penalised, undecided ones only where a teacher
    has scored them, whose word does not depend on the grade."""
    undecided = group.rewards[index].correct is None and group.completions[index].teacher is None
    return not undecided and not (filter_overlong and group.completions[index].truncated)


def bundles(groups: Sequence[Group], *, filter_overlong: bool, budget: int) -> list[Bundle]:
    """One bundle a group, cut where it would exceed `budget` tokens (the prompt is then computed again)."""
    made, order = [], 0
    for group in groups:
        rows: list[Row] = []
        cost = len(group.prompt.token_ids)
        assert group.advantages is not None, "advantages come before batching"
        for index, completion in enumerate(group.completions):
            if not completion.sampled_tokens:  # its environment failed before anything was sampled
                order += 1
                continue
            length = len(completion.token_ids)
            if rows and cost + length > budget:
                made.append(Bundle(group.prompt.token_ids, tuple(rows)))
                rows, cost = [], len(group.prompt.token_ids)
            counts = counts_in_loss(group, index, filter_overlong=filter_overlong)
            rows.append(Row(completion, float(group.advantages[index]), counts, order))
            cost += length
            order += 1
        if rows:
            made.append(Bundle(group.prompt.token_ids, tuple(rows)))
    return made


def micro_batches(
    groups: Sequence[Group],
    *,
    budget: int,
    ranks: int,
    filter_overlong: bool = False,
    proof_version: int | None = None,
) -> list[list[PackedBatch]]:
    """Cut a step's groups into micro-batches of about `budget` tokens, the same number for every rank.

    Returns [rank][micro-batch]. Longest bundle first to the lightest bin (LPT), so that ranks finish
    together; ranks run the same number of micro-batches, since ZeRO's collectives need it. Bins may
    exceed `budget` by one bundle at most. proof_version: completions sampled wholly under it prove that the
    weights arrived (later tokens of others were sampled on keys and values of older weights); None: all do.
    """
    pieces = bundles(groups, filter_overlong=filter_overlong, budget=budget)
    total = sum(piece.cost for piece in pieces)
    bins = ranks * max(1, -(-total // (ranks * budget)))
    if len(pieces) < bins:
        pieces = [Bundle(piece.prompt, (row,)) for piece in pieces for row in piece.rows]
        bins = ranks * max(1, min(bins, len(pieces)) // ranks)
    if len(pieces) < bins:
        raise ValueError(f"{len(pieces)} completions cannot be spread over {ranks} learner ranks")
    content: list[list[Bundle]] = [[] for _ in range(bins)]
    load = [0] * bins
    for piece in sorted(pieces, key=lambda p: (-p.cost, p.rows[0].order)):
        lightest = load.index(min(load))
        content[lightest].append(piece)
        load[lightest] += piece.cost
    packed = [pack(chosen, proof_version) for chosen in content]
    return [packed[rank::ranks] for rank in range(ranks)]


def pack(pieces: Sequence[Bundle], proof_version: int | None = None) -> PackedBatch:
    """Lay bundles into one row of tokens, with the index arrays that attention and the loss need."""
    tokens: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    rows: list[np.ndarray] = []  # positions in T of each completion's prompt + own tokens
    owner: list[int] = []  # the row whose attention output serves each packed token
    place: list[int] = []  # and at which column
    predict: list[np.ndarray] = []
    ordered: list[Row] = []
    start = 0
    for piece in pieces:
        prompt = np.asarray(piece.prompt, np.int64)
        prompt_at = np.arange(start, start + len(prompt))
        tokens.append(prompt)
        positions.append(np.arange(len(prompt)))
        owner += [len(rows)] * len(prompt)
        place += range(len(prompt))
        start += len(prompt)
        for row in piece.rows:
            ids = np.asarray(row.completion.token_ids, np.int64)
            own_at = np.arange(start, start + len(ids))
            tokens.append(ids)
            positions.append(np.arange(len(prompt), len(prompt) + len(ids)))
            owner += [len(rows)] * len(ids)
            place += range(len(prompt), len(prompt) + len(ids))
            rows.append(np.concatenate([prompt_at, own_at]))
            predict.append(np.concatenate([prompt_at[-1:], own_at])[: len(ids)])
            ordered.append(row)
            start += len(ids)
    buckets, offset_of_row = _attention_buckets(rows)
    completions = [row.completion for row in ordered]
    lengths = [completion.sampled_tokens for completion in completions]
    proofs = [proof_version is None or bool((r.completion.versions == proof_version).all()) for r in ordered]
    return PackedBatch(
        tokens_T=np.concatenate(tokens),
        positions_T=np.concatenate(positions),
        buckets=buckets,
        output_T=offset_of_row[np.asarray(owner)] + np.asarray(place, np.int64),
        predict_C=np.concatenate([sampled_only(at, c) for at, c in zip(predict, completions, strict=True)]),
        targets_C=np.concatenate([sampled_only(np.asarray(c.token_ids, np.int64), c) for c in completions]),
        sequence_C=np.repeat(np.arange(len(ordered)), lengths),
        advantages_C=np.repeat(np.asarray([r.advantage for r in ordered], np.float32), lengths),
        rollout_logprobs_C=np.concatenate([sampled_only(c.logprobs, c) for c in completions]).astype(np.float32),
        mask_C=np.repeat(np.asarray([r.counts for r in ordered], np.float32), lengths),
        proof_C=np.repeat(np.asarray(proofs, np.float32), lengths),
        order_S=np.asarray([r.order for r in ordered]),
        workers_S=tuple(r.completion.worker for r in ordered),
        **teacher_arrays(completions),
    )


def teacher_arrays(completions: Sequence[Completion]) -> dict[str, np.ndarray]:
    """The fields of `PackedBatch` that a teacher's scores fill: none where it has not scored all of the completions."""
    scored = [(one, one.teacher) for one in completions if one.teacher is not None]
    if len(scored) < len(completions):
        return {}
    found = {"teacher_logprobs_C": np.concatenate([sampled_only(t.logprobs, one) for one, t in scored])}
    ids = [sampled_only(t.top_ids, one) for one, t in scored if t.top_ids is not None]
    top = [sampled_only(t.top_logprobs, one) for one, t in scored if t.top_logprobs is not None]
    if len(ids) == len(top) == len(scored):
        found |= {"teacher_ids_CK": np.concatenate(ids).astype(np.int64), "teacher_top_CK": np.concatenate(top)}
    return found


def sampled_only(values_T: np.ndarray, completion: Completion) -> np.ndarray:
    """Values of a completion's tokens, without those of an environment."""
    mask = completion.sampled_T
    return values_T if mask is None else values_T[mask]


def spread(values: np.ndarray, completion: Completion) -> np.ndarray:
    """Values of a completion's sampled tokens as values of all its tokens, [T]; 0 for those of an environment."""
    mask = completion.sampled_T
    if mask is None:
        return values
    spread_T = np.zeros(len(mask), values.dtype)
    spread_T[mask] = values
    return spread_T


def lay_back(batches: Sequence[PackedBatch], values: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Per-token values of micro-batches, [C] each, as one array per completion: {`Row.order`: its sampled tokens}."""
    found: dict[int, np.ndarray] = {}
    for batch, values_C in zip(batches, values, strict=True):
        ends = np.cumsum(np.bincount(batch.sequence_C, minlength=len(batch.order_S)))
        parts = np.split(values_C, ends[:-1])
        found.update(zip(batch.order_S.tolist(), parts, strict=True))
    return found


def _attention_buckets(rows: list[np.ndarray]) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Rows of similar length side by side, and where each row starts in the flattened buckets."""
    by_length = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    buckets: list[np.ndarray] = []
    offsets = np.zeros(len(rows), np.int64)
    at = first = 0
    for end in range(1, len(by_length) + 1):
        shortest = len(rows[by_length[first]])
        if end < len(by_length) and len(rows[by_length[end]]) <= BUCKET_WASTE * shortest:
            continue
        members = by_length[first:end]
        width = -(-len(rows[members[-1]]) // WIDTH) * WIDTH
        index_BL = np.zeros((len(members), width), np.int64)
        for position, member in enumerate(members):
            row = rows[member]
            index_BL[position, : len(row)] = row
            index_BL[position, len(row) :] = row[0]
            offsets[member] = at + position * width
        buckets.append(index_BL)
        at += index_BL.size
        first = end
    return tuple(buckets), offsets
