"""Conversations and pairs to rows of tokens: what is dropped is counted, and nothing is ever cut.

examples -> render -> drop over-long -> draw -> cap sources -> hold out -> (pack) -> Rows
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from srm_ray.console.progress import Phase, phase
from srm_ray.data.conversations import Example, Pair
from srm_ray.data.packing import Rows, pack, to_rows
from srm_ray.data.rendering import render_conversation, render_prompt
from srm_ray.errors import UserError

Encoded = tuple[Sequence[int] | np.ndarray, Sequence[bool] | np.ndarray]
Rendered = tuple[str, tuple[Encoded, ...], str]  # source; one sequence, or the two of a pair; else why it is dropped


@dataclass(slots=True)
class Report:
    """What became of the data. read, kept: examples; dropped: reason -> examples; tokens: by source."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items())) or "none"
        return f"{self.kept} of {self.read} examples kept, {sum(self.tokens.values())} tokens; dropped: {reasons}"


def encode_example(tokenizer: Any, example: Example, *, longest: int) -> tuple[tuple[Encoded, ...], str]:
    """The example's sequence, or none and why: longer than `longest` tokens, nothing to learn."""
    ids, mask = render_conversation(tokenizer, example.messages)
    if len(ids) > longest:
        return (), f"longer than {longest} tokens (data.row_length)"
    return (((ids, mask),), "") if any(mask) else ((), "without assistant tokens")


def select_examples(rendered: Iterable[Rendered], *, limit: int, cap: float, seed: int) -> tuple[list[Encoded], Report]:
    """What is trained on: at most `limit` examples (0: all), drawn by the seed, of which no source holds more than
    `cap` of the tokens. Raises `UserError` with the reasons when nothing is left."""
    report = Report()
    with phase("reading examples") as bar:
        encoded = [(source, one) for source, (one,) in fitting(rendered, report, bar)]
    encoded = draw(encoded, limit, seed) if limit else encoded
    kept = capped(encoded, cap, seed)
    report.dropped["over their source's cap"] = len(encoded) - len(kept)
    report.dropped = +report.dropped
    report.kept = len(kept)
    for source, (sequence, _) in kept:
        report.tokens[source] += len(sequence)
    if not kept:
        raise UserError(f"no examples are left: {report}")
    return [item for _, item in kept], report


def fitting(rendered: Iterable[Rendered], report: Report, bar: Phase) -> Iterator[tuple[str, tuple[Encoded, ...]]]:
    """Those that were not dropped; says how far it is."""
    fit = 0
    for source, sequences, reason in rendered:
        report.read += 1
        bar.note = f"{report.read:,} read, {fit:,} of them fit"
        if reason:
            report.dropped[reason] += 1
        else:
            fit += 1
            yield source, sequences


def capped(encoded: list[tuple[str, Encoded]], cap: float, seed: int) -> list[tuple[str, Encoded]]:
    """Drop examples, drawn by the seed, from sources that hold more than `cap` of the tokens.

    Dropping shrinks the total, so the budget of each source is solved for: sources above the cap
    get cap / (1 - capped sources x cap) of what the others hold. With too few sources to meet the
    cap, every example is kept.
    """
    totals: Counter[str] = Counter()
    for source, (ids, _) in encoded:
        totals[source] += len(ids)
    if cap >= 1 or cap * len(totals) < 1:
        return encoded
    over: set[str] = set()
    while True:
        rest = sum(count for source, count in totals.items() if source not in over)
        budget = cap * rest / (1 - cap * len(over)) if cap * len(over) < 1 else 0
        more = {s for s, count in totals.items() if s not in over and count > cap * (rest + budget * len(over))}
        if not more:
            break
        over |= more
    order = list(range(len(encoded)))
    random.Random(f"cap/{seed}").shuffle(order)
    left = {source: budget for source in over}
    chosen = []
    for place in order:
        source, (ids, _) = encoded[place]
        if source in left:
            if left[source] < len(ids):
                continue
            left[source] -= len(ids)
        chosen.append(place)
    return [encoded[place] for place in sorted(chosen)]


def draw(items: Sequence[Any], limit: int, seed: int) -> list[Any]:
    """Shuffled by the seed; at most `limit` of them, all where it is 0."""
    order = list(items)
    random.Random(f"draw/{seed}").shuffle(order)
    return order[:limit] if limit else order


def hold_out(items: Sequence[Any], share: float) -> tuple[list[Any], list[Any]]:
    """(trained on, held out): the last `share` of the items, at least one where it is not 0."""
    count = max(1, round(len(items) * share)) if share else 0
    if count and count >= len(items):
        raise UserError(f"eval.share {share} leaves nothing to train on: there are {len(items)} examples")
    return list(items[: len(items) - count]), list(items[len(items) - count :])


def rows(encoded: Sequence[Encoded], length: int, packed: bool) -> Rows:
    return pack(encoded, length) if packed else one_each(encoded)


def one_each(encoded: Sequence[Encoded]) -> Rows:
    """A row for each sequence, as long as the longest."""
    return to_rows([[item] for item in encoded], max(len(ids) for ids, _ in encoded))


def encode_pair(tokenizer: Any, pair: Pair, *, max_prompt: int, max_completion: int) -> tuple[tuple[Encoded, ...], str]:
    """(chosen, rejected) sequences with loss on the completion alone, what follows the prompt that a rollout would
    get; or none and why."""
    prompt = render_prompt(tokenizer, pair.prompt)
    chosen, rejected = (completion(tokenizer, pair, text, prompt) for text in (pair.chosen, pair.rejected))
    if len(prompt) > max_prompt:
        return (), f"prompt longer than {max_prompt} tokens (data.max_prompt)"
    if max(len(ids) - len(prompt) for ids, _ in (chosen, rejected)) > max_completion:
        return (), f"completion longer than {max_completion} tokens (data.max_completion)"
    if chosen[0] == rejected[0]:
        return (), "chosen equals rejected"
    return (chosen, rejected), ""


def select_pairs(rendered: Iterable[Rendered]) -> tuple[list[tuple[Encoded, Encoded]], Report]:
    """Every pair that fits. Raises `UserError` with the reasons when there are none."""
    report = Report()
    kept: list[tuple[Encoded, Encoded]] = []
    with phase("reading pairs") as bar:
        for source, (chosen, rejected) in fitting(rendered, report, bar):
            kept.append((chosen, rejected))
            report.tokens[source] += len(chosen[0]) + len(rejected[0])
    report.kept = len(kept)
    if not kept:
        raise UserError(f"no pairs are left: {report}")
    return kept, report


def completion(tokenizer: Any, pair: Pair, text: str, prompt: list[int]) -> Encoded:
    ids, mask = render_conversation(tokenizer, [*pair.prompt, {"role": "assistant", "content": text}])
    end = len(mask) - mask[::-1].index(True)
    if ids[: len(prompt)] != prompt:
        raise UserError(f"{pair.source}:{pair.line}: the template does not continue its own generation prompt")
    return ids[:end], [False] * len(prompt) + [True] * (end - len(prompt))


def pair_rows(encoded: Sequence[tuple[Encoded, Encoded]]) -> Rows:
    """Rows 2i and 2i + 1 are the chosen and the rejected sequence of pair i."""
    return one_each([side for pair in encoded for side in pair])
