"""What the model sees of the rows of a data set, for a person: token by token, what carries loss, what is left out.

    --- data.jsonl:1: 31 tokens, 9 with loss; read as question + answer; not used: id
         |<|im_start|>|user|\\n
         |What| is| 1|+|2|?|<|im_end|>|\\n
    loss |It| is| 3|.|<|im_end|>

A bar stands before each token. Green and dim on a terminal; the margin shows the same where there are no colours.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srm_ray.config.stages import FilterConfig
from srm_ray.console import output
from srm_ray.console.progress import echo
from srm_ray.data.drops import Unusable
from srm_ray.data.reading import Record
from srm_ray.data.rendering import encode_document
from srm_ray.data.reports import Encoded, Ids, Mask, Rendered, Report
from srm_ray.data.screening import reason_to_drop
from srm_ray.errors import UserError, printable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LOOKED_AT = 1000  # rows, for what becomes of them
LIMITS = ("min_characters", "max_characters", "min_words", "max_non_ascii")
WIDEST = 6  # tokens of which one character is made, at most
GREEN, DIM, PLAIN = "\033[32m", "\033[2m", "\033[0m"


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as it is shown. sequences: with their `names` where they have some. schema, unread, notes: as of
    `conversations.Example`."""

    sequences: tuple[Encoded, ...]
    schema: str = ""
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def show(
    tokenizer: "PreTrainedTokenizerFast",
    records: Iterable[Record],
    render: Callable[[Record], Shown],
    count: int,
    report: Report,
) -> int:
    """Show the first `count` rows that can be used, and what becomes of the first thousand rows, which `report` takes.

    Raises `UserError` naming file and line of a row that `render` does not take, or where no row can be used.
    """
    shown = 0
    for record in itertools.islice(records, max(LOOKED_AT, count)):
        try:
            made = render(record)
        except Unusable as error:
            report.add(Rendered(record.path, record.where, reason=str(error), asked=error.asked))
            if shown < count:
                echo(f"--- {record.where}: dropped, {error}")
            continue
        except UserError as error:
            raise UserError(f"{record.where}: {error}") from None
        row = Rendered(record.path, record.where, made.sequences, "", False, made.schema, made.unread, made.notes)
        if not report.add(row):
            continue
        report.kept += 1
        report.tokens[record.path] += sum(len(ids) for ids, _ in made.sequences)
        if shown < count:
            shown += 1
            for line in row_lines(tokenizer, record.where, made, colours=coloured()):
                echo(line)
    if not report.kept:
        raise UserError(f"no row can be used: {report.drops}")
    return finished(report)


def show_encoded(tokenizer: "PreTrainedTokenizerFast", pairs: Sequence[tuple[Encoded, Encoded]], report: Report) -> int:
    """Show pairs that are made already."""
    for place, pair in enumerate(pairs, 1):
        shown = Shown(pair, names=("chosen", "rejected"))
        for line in row_lines(tokenizer, f"pair {place}", shown, colours=coloured()):
            echo(line)
    return finished(report)


def show_documents(
    tokenizer: "PreTrainedTokenizerFast",
    source: str,
    texts: Iterable[tuple[str, str]],
    filters: FilterConfig,
    count: int,
) -> None:
    """Show the first `count` documents of a source that pass the filters, all of whose tokens carry loss."""
    report, limits = Report(unit="documents", kept_unit="documents"), filters.model_dump(include=set(LIMITS))
    for where, text in itertools.islice(texts, max(LOOKED_AT, count)):
        reason = reason_to_drop(text, **limits)
        report.add(Rendered(source, where if reason else "", reason=reason))
        if reason:
            if report.kept < count:
                echo(f"--- {where}: dropped, {reason}")
            continue
        report.kept += 1
        ids = encode_document(tokenizer, text)
        report.tokens[source] += len(ids)
        if report.kept <= count:
            for line in row_lines(tokenizer, where, Shown(((ids, [True] * len(ids)),)), colours=coloured()):
                echo(line)
    if not report.kept:
        raise UserError(f"source {source!r}: no document passes data.filters: {report.drops}")
    finished(report)


def finished(report: Report) -> int:
    echo("---")
    if report.drops.read == LOOKED_AT:
        echo(f"of the first {LOOKED_AT:,} rows:")
    for line in report.lines():
        echo(line)
    return 0


def coloured() -> bool:
    return output.out().isatty()


def row_lines(tokenizer: "PreTrainedTokenizerFast", where: str, row: Shown, *, colours: bool) -> Iterator[str]:
    """The lines of a row: a heading for each sequence, its tokens, what was left out."""
    for place, (ids, mask) in enumerate(row.sequences):
        parts = [f"{len(ids)} tokens, {sum(map(bool, mask))} with loss"]
        if row.names:
            parts.insert(0, row.names[place])
        elif len(row.sequences) > 1:
            parts.insert(0, f"sequence {place + 1} of {len(row.sequences)}")
        if place == 0:
            parts += [f"read as {row.schema}"] if row.schema else []
            parts += [f"not used: {', '.join(row.unread)}"] if row.unread else []
        yield f"--- {where}: {'; '.join(parts)}"
        yield from token_lines(tokenizer, ids, mask, colours=colours)
    for note in row.notes:
        yield f"     note: {note}"


def token_lines(tokenizer: "PreTrainedTokenizerFast", ids: Ids, mask: Mask, *, colours: bool) -> Iterator[str]:
    r"""Each run of tokens with and without loss, broken after a token with a line break in it: a margin, then the
    tokens, a bar before each, line breaks as `\n`."""
    line, on = "", False
    for text, with_loss in units(tokenizer, ids, mask):
        if line and with_loss != on:
            yield margin(line, on, colours)
            line = ""
        on = with_loss
        line += "|" + printable(text.replace("\n", "\\n"))
        if "\n" in text:
            yield margin(line, on, colours)
            line = ""
    if line:
        yield margin(line, on, colours)


def margin(line: str, on: bool, colours: bool) -> str:
    text = f"{'loss' if on else '    '} {line}"
    return f"{GREEN if on else DIM}{text}{PLAIN}" if colours else text


def units(tokenizer: "PreTrainedTokenizerFast", ids: Ids, mask: Mask) -> Iterator[tuple[str, bool]]:
    """(text, whether it carries loss) of each token, or of the tokens that make a character together."""
    begin = 0
    while begin < len(ids):
        end = begin + 1
        text = behind(tokenizer, ids, begin, end)
        while text.endswith("\ufffd") and end < min(len(ids), begin + WIDEST) and mask[end] == mask[begin]:
            end += 1
            text = behind(tokenizer, ids, begin, end)
        yield text, bool(mask[begin])
        begin = end


def behind(tokenizer: "PreTrainedTokenizerFast", ids: Ids, begin: int, end: int) -> str:
    """What ids[begin:end] add to the text before them: a tokenizer may leave out a leading space."""
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    before = tokenizer.decode([int(token) for token in ids[max(0, begin - 1) : begin]], **options)
    through = tokenizer.decode([int(token) for token in ids[max(0, begin - 1) : end]], **options)
    return through.removeprefix(before)
