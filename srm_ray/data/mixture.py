"""The shares of tokens that a curriculum asks for, as stretches of each source.

    tokens each source holds, phases -> plan -> for each phase, tokens a to b of each source
    documents of a source            -> cut  -> the pieces of documents in tokens a to b

A source's tokens are used once each and in order, so shares hold exactly, to the token: where a
stretch ends inside a document, the next phase goes on with the rest of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from srm_ray.errors import UserError

Stretch = tuple[int, int]


def plan(
    held: Mapping[str, int], total: int, phases: Sequence[tuple[float, Mapping[str, float]]]
) -> list[dict[str, Stretch]]:
    """For each phase, the tokens [start, end) of each source.

    held: tokens that each source holds. total: tokens wanted. phases: (end as a share of `total`,
    shares by source). Raises `UserError` naming the source that runs out.
    """
    ends = [0, *(round(total * until) for until, _ in phases)]
    used = dict.fromkeys(held, 0)
    planned = []
    for number, (_, shares) in enumerate(phases):
        stretches = {}
        for name, tokens in apportion(ends[number + 1] - ends[number], shares).items():
            stretches[name] = (used[name], used[name] + tokens)
            used[name] += tokens
        planned.append(stretches)
    for name, tokens in used.items():
        if tokens > held[name]:
            raise UserError(
                f"data.tokens {total} takes {tokens} tokens of source {name!r}, which holds {held[name]} after "
                "filtering; lower data.tokens or its shares, or raise its limit"
            )
    return planned


def apportion(tokens: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in the proportion of `shares` that sum to `tokens` (largest remainders)."""
    exact = {name: tokens * share for name, share in shares.items()}
    whole = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (whole[name] - exact[name], name))
    for name in by_remainder[: tokens - sum(whole.values())]:
        whole[name] += 1
    return whole


def cut(lengths: np.ndarray, stretch: Stretch, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """(starts, lengths) of the pieces in tokens [start, end) of documents laid one after the other.

    lengths: tokens of each document. No piece spans two documents or has more than `longest` tokens.
    """
    start, end = stretch
    ends = np.cumsum(lengths, dtype=np.int64)
    first, last = np.searchsorted(ends, [start, end], side="right")
    begins = np.maximum((ends - lengths)[first : last + 1], start)
    finishes = np.minimum(ends[first : last + 1], end)
    sizes = finishes - begins
    counts = np.maximum(0, -(-sizes // longest))
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(begins, counts) + place * longest
    return starts, np.minimum(longest, np.repeat(finishes, counts) - starts)
