"""Conversations and pairs to rows of tokens: what is dropped is counted, and nothing is ever cut.

examples -> render -> drop what cannot be used -> draw -> cap sources -> hold out -> (pack) -> Rows
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from srm_ray.console.progress import phase
from srm_ray.data.conversations import Example
from srm_ray.data.drops import Unusable
from srm_ray.data.packing import Rows, pack, to_rows
from srm_ray.data.pairs import Pair
from srm_ray.data.rendering import render_document, render_prompt, training_sequences
from srm_ray.data.reports import Encoded, Rendered, Report
from srm_ray.data.turn_masks import Masked
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOO_LONG = "some turns are longer than data.row_length and are left out"
OVER_CAP = "over their source's cap"


def encode_example(
    tokenizer: "PreTrainedTokenizerFast", example: Example, *, longest: int, describe_tools: bool = False
) -> Masked:
    """The example's sequences. describe_tools: see `training_sequences`.

    Raises `Unusable` where there is nothing to learn, or all is longer than `longest`."""
    if example.text:
        made = render_document(tokenizer, example.text)
    else:
        made = training_sequences(
            tokenizer,
            example.messages,
            trained=example.trained,
            tools=example.tools,
            describe_tools=describe_tools,
        )
    fit = tuple(sequence for sequence in made.sequences if len(sequence[0]) <= longest)
    if not fit:
        raise Unusable(f"longer than {longest} tokens (data.row_length)")
    return Masked(fit, made.notes + ((TOO_LONG,) if len(fit) < len(made.sequences) else ()))


def select_examples(
    rendered: Iterable[Rendered],
    *,
    limit: int,
    cap: float,
    seed: int,
    max_dropped: float = 1.0,
    drop_duplicates: bool = False,
) -> tuple[list[Encoded], Report]:
    """What is trained on: at most `limit` examples (0: all), drawn by the seed, of which no source holds more than
    `cap` of the tokens. Raises `UserError` with the reasons when nothing is left, or more than the share
    `max_dropped` cannot be used."""
    report = Report(drop_duplicates=drop_duplicates)
    examples = list(usable(rendered, report, max_dropped, "examples"))
    examples = draw(examples, limit, seed) if limit else examples
    encoded = [(row.source, sequence) for row in examples for sequence in row.sequences]
    kept = capped(encoded, cap, seed)
    for _ in range(len(encoded) - len(kept)):
        report.drops.add(OVER_CAP, asked=True)
    report.kept = len(kept)
    report.kept_unit = "examples" if len(encoded) == len(examples) else "sequences"
    for source, (sequence, _) in kept:
        report.tokens[source] += len(sequence)
    if not kept:
        raise UserError(f"no examples are left: {report}")
    return [item for _, item in kept], report


def usable(rendered: Iterable[Rendered], report: Report, max_dropped: float, what: str) -> Iterator[Rendered]:
    """Those that are not dropped; reports its progress. Raises `UserError` where too many are."""
    fit = 0
    with phase(f"reading {what}") as bar:
        for row in rendered:
            kept = report.add(row)
            fit += kept
            bar.note = f"{report.drops.read:,} read, {fit:,} of them fit"
            if kept:
                yield row
    report.drops.check(max_dropped)


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


def encode_pair(tokenizer: "PreTrainedTokenizerFast", pair: Pair, *, max_prompt: int, max_completion: int) -> Masked:
    """(chosen, rejected) sequences with loss on the completion alone, what follows the prompt that a rollout would
    get. Raises `Unusable` with the reason."""
    prompt = render_prompt(tokenizer, pair.prompt, tools=pair.tools)
    made = [completion(tokenizer, pair, message, prompt) for message in (pair.chosen, pair.rejected)]
    chosen, rejected = (one.sequences[0] for one in made)
    if len(prompt) > max_prompt:
        raise Unusable(f"prompt longer than {max_prompt} tokens (data.max_prompt)")
    if max(len(ids) - len(prompt) for ids, _ in (chosen, rejected)) > max_completion:
        raise Unusable(f"completion longer than {max_completion} tokens (data.max_completion)")
    if list(chosen[0]) == list(rejected[0]):
        raise Unusable("chosen equals rejected")
    return Masked((chosen, rejected), tuple(dict.fromkeys(made[0].notes + made[1].notes)))


def completion(tokenizer: "PreTrainedTokenizerFast", pair: Pair, message: Any, prompt: list[int]) -> Masked:
    """The prompt and one completion of it."""
    trained = [False] * len(pair.prompt) + [True]
    made = training_sequences(tokenizer, [*pair.prompt, message], trained=trained, tools=pair.tools)
    ids, mask = made.sequences[0]
    end = len(mask) - mask[::-1].index(True)
    if ids[: len(prompt)] != prompt:
        raise Unusable("the chat template does not continue its own generation prompt")
    return Masked(((ids[:end], [False] * len(prompt) + [True] * (end - len(prompt))),), made.notes)


def select_pairs(
    rendered: Iterable[Rendered], *, max_dropped: float = 1.0, drop_duplicates: bool = False
) -> tuple[list[tuple[Encoded, Encoded]], Report]:
    """Every pair that fits. Raises `UserError` with the reasons when there are none, or more than the share
    `max_dropped` cannot be used."""
    report = Report(kept_unit="pairs", drop_duplicates=drop_duplicates)
    kept: list[tuple[Encoded, Encoded]] = []
    for row in usable(rendered, report, max_dropped, "pairs"):
        chosen, rejected = row.sequences
        kept.append((chosen, rejected))
        report.tokens[row.source] += len(chosen[0]) + len(rejected[0])
    report.kept = len(kept)
    if not kept:
        raise UserError(f"no pairs are left: {report}")
    return kept, report


def pair_rows(encoded: Sequence[tuple[Encoded, Encoded]]) -> Rows:
    """Rows 2i and 2i + 1 are the chosen and the rejected sequence of pair i."""
    return one_each([side for pair in encoded for side in pair])
