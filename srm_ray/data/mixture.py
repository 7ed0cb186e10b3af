"""Documents of several sources to one sequence with the shares of tokens that a curriculum asks for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srm_ray.errors import UserError


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase in tokens. tokens: how many. shares: of them, by source."""

    tokens: int
    shares: Mapping[str, float]


def stretches(total: int, phases: Sequence[tuple[float, Mapping[str, float]]]) -> list[Stretch]:
    """Phases given as (end as a share of all tokens, shares) to numbers of tokens."""
    ends = [0, *(round(total * until) for until, _ in phases)]
    return [Stretch(ends[n + 1] - ends[n], shares) for n, (_, shares) in enumerate(phases)]


def plan(lengths: Mapping[str, Sequence[int]], phases: Sequence[Stretch]) -> list[tuple[str, int, int]]:
    """The order of documents: (source, index, phase). lengths: tokens of each document, by source.

    The next document always comes from the source that is furthest behind its share of the phase,
    so that shares hold all along, to within one document. A source's documents are used once each
    and in order. Raises `UserError` naming the source that runs out.
    """
    used: Counter[str] = Counter()
    order: list[tuple[str, int, int]] = []
    for number, phase in enumerate(phases):
        taken: Counter[str] = Counter()
        while sum(taken.values()) < phase.tokens:
            source = max(phase.shares, key=lambda name: phase.shares[name] * (sum(taken.values()) + 1) - taken[name])
            index = used[source]
            if index >= len(lengths[source]):
                raise UserError(
                    f"data.tokens asks for more of source {source!r} than it holds after filtering: "
                    f"{sum(lengths[source])} tokens; lower data.tokens or its shares"
                )
            order.append((source, index, number))
            used[source] += 1
            taken[source] += lengths[source][index]
    return order
