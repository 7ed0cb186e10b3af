"""The data pipeline on Ray Data: documents to packed rows of tokens.

    read -> screen (filters, contamination) -> tokenise     on all workers, order kept
         -> store tokens, digests, signatures to disk        one pass in the driver, in order
         -> leave out duplicates -> mix by shares of tokens -> shuffle -> pack -> rows on disk

Whatever looks at more than one document happens in one place and in the documents' order, so the
rows do not depend on the number of workers. Documents stream through; what stays in memory is a
length, a digest and a few numbers for each of them.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.data.datasets import BATCH, cached_tokenizer, read_hub
from actors.data.row_files import Place, fields_of, place_of, read_rows
from srm_ray.config.stages import CorpusConfig, FilterConfig, Source
from srm_ray.console.progress import Phase, phase
from srm_ray.data import formats, mixture, reading, screening
from srm_ray.data.packing import RowWriter, packed
from srm_ray.data.texts import document_text, files_of
from srm_ray.data.token_store import Fingerprints, TokenStore
from srm_ray.errors import UserError
from srm_ray.files.atomic import write_atomically
from srm_ray.files.faults import writing_to
from srm_ray.files.roots import lasting

if TYPE_CHECKING:
    from pyarrow import Table
    from ray import ObjectRef
    from ray.data import Dataset

EMPTY, CONTAMINATED = "empty line", "contaminated"  # reasons that are no filter's


@dataclass
class CorpusReport:
    """What became of the documents, by source. tokens: of the kept ones; mixed: of these, used."""

    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    mixed: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    rows: int = 0
    held_out: int = 0

    def lines(self) -> Iterator[str]:
        for source in self.read:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped[source].items()))
            yield (
                f"{source}: {self.kept[source]} of {self.read[source]} documents kept, "
                f"{self.tokens[source]} tokens, {self.mixed[source]} of them used; dropped: {reasons or 'none'}"
            )

    def to_plain(self) -> dict[str, Any]:
        counts = {name: dict(getattr(self, name)) for name in ("read", "kept", "tokens", "mixed")}
        dropped = {source: dict(reasons) for source, reasons in self.dropped.items()}
        return {**counts, "dropped": dropped, "rows": self.rows, "held_out": self.held_out}


def build_corpus(
    config: CorpusConfig, tokenizer: str, destination: Path, *, seed: int, held_out: float = 0.0
) -> CorpusReport:
    """Write the rows of a corpus to `<destination>/rows`, and every 1/`held_out`-th row to `<destination>/eval`.
    Ray must be initialised.

    Raises `UserError` for data that cannot be read (with file and line), a contaminated document (by
    name), a source that runs out, or nothing left.
    """
    sources = dict(config.sources) or {"data": Source(path=config.path)}
    guard = screening.Guard.of(evaluation_prompts(config.evaluation))
    report = CorpusReport()
    work = destination / "tokens"
    marks = Fingerprints(work / "fingerprints")
    stores = {}
    for name, source in sources.items():
        dataset = screened(read_source(name, source), config, source.column, guard, tokenizer)
        with writing_to(work), phase(f"reading {name}") as bar:
            stores[name] = TokenStore(work / name)
            store(dataset, name, stores[name], marks, report, bar)
    with writing_to(work):
        marks.close()
    with phase("looking for duplicates"):
        drop_duplicates(stores, marks, config.filters, report)
    for name, held in stores.items():
        report.kept[name], report.tokens[name] = len(held.kept_lengths), held.total
    if not sum(report.tokens.values()):
        raise UserError("no documents are left after filtering: " + "; ".join(report.lines()))
    with writing_to(destination), phase("packing", status=lambda: f"{report.rows + report.held_out:,} rows written"):
        write_rows(planned(config, stores), stores, config.row_length, destination, seed, held_out, report)
    shutil.rmtree(work)
    write_atomically(destination / "report.json", json.dumps(report.to_plain(), indent=2) + "\n")
    return report


# Reading


def read_source(name: str, source: Source) -> "Dataset":
    """A Ray dataset of a source's rows, in order."""
    if source.name:
        dataset = read_hub(source.name, source.subset, source.split, option=f"data.sources.{name}.name")
    else:
        option = f"data.sources.{name}" if name != "data" else "--data.path"
        dataset = read_rows(files_of(source.path, option), documents=True)
    return dataset.limit(source.limit) if source.limit else dataset


# Screening and tokenising, on all workers


def screened(
    dataset: "Dataset", config: CorpusConfig, column: str, guard: screening.Guard, tokenizer: str
) -> Iterator[dict[str, Any]]:
    """Batches of `SCREENED`, in the order of the documents."""
    import ray

    options = {"filters": config.filters, "guard": ray.put(guard), "tokenizer": lasting(tokenizer), "column": column}
    limit = {"concurrency": config.workers} if config.workers else {}
    return dataset.map_batches(
        screen, batch_size=BATCH, batch_format="pyarrow", fn_kwargs=options, **limit
    ).iter_batches(batch_size=BATCH, prefetch_batches=1)


SCREENED = ("failed", "reason", "ids", "digest", "signature", "path", "offset", "number", "start")


def screen(
    batch: "Table", *, filters: FilterConfig, guard: "ObjectRef", tokenizer: str, column: str
) -> dict[str, list[Any]]:
    """Screen and tokenise a batch of documents; dropped ones carry the reason and no tokens. failed: the message that
    ends the build."""
    import ray

    from srm_ray.data.rendering import encode_document

    known = ray.get(guard) if isinstance(guard, ray.ObjectRef) else guard
    encoder = cached_tokenizer(tokenizer)
    out: dict[str, list[Any]] = {name: [] for name in SCREENED}
    for row in batch.to_pylist():
        place = place_of(row)
        text, reason, failed = "", "", ""
        try:
            text, reason = text_and_reason(row, place, column, filters)
        except UserError as error:
            failed = str(error).removeprefix(": ")
        if not (reason or failed) and known.contaminated(text):
            reason = CONTAMINATED
        kept = not (reason or failed)
        out["failed"].append(failed)
        out["reason"].append(reason)
        out["ids"].append(np.array(encode_document(encoder, text) if kept else [], np.int32).tobytes())
        out["digest"].append(screening.digest(text))
        out["signature"].append(screening.minhash(text).tobytes() if kept and filters.near else b"")
        out["path"].append(place.path)
        out["offset"].append(place.offset)
        out["number"].append(place.number)
        out["start"].append(text[:60])
    return out


def text_and_reason(row: dict[str, Any], place: Place, column: str, filters: FilterConfig) -> tuple[str, str]:
    """A document's text, and why it is dropped ("" where it is kept). Raises `UserError` for what cannot be read."""
    fields = fields_of(row, place)
    if fields is None:
        return "", EMPTY
    text = fields["text"] if row.get("is_text") and place.path else document_text(fields, column, "")
    limits = filters.model_dump(include={"min_characters", "max_characters", "min_words", "max_non_ascii"})
    return text, screening.reason_to_drop(text, **limits)


# One pass in order


def store(
    batches: Iterator[dict[str, Any]],
    name: str,
    held: TokenStore,
    marks: Fingerprints,
    report: CorpusReport,
    bar: Phase,
) -> None:
    """Write a source's screened documents to disk."""
    report.dropped[name] = Counter()
    tokens = 0
    for batch in batches:
        for place, reason in enumerate(batch["reason"]):
            check(batch, place, name, report.read[name] + place + 1)
            if reason:
                report.dropped[name][reason] += 1
                continue
            ids = bytes(batch["ids"][place])
            held.add(ids)
            marks.add(bytes(batch["digest"][place]), bytes(batch["signature"][place]))
            tokens += len(ids) // 4
        report.read[name] += len(batch["reason"])
        rate = report.read[name] / max(1e-3, bar.took)
        bar.note = f"{report.read[name]:,} documents, {tokens:,} tokens, {rate:,.0f} documents/s"
    held.close()
    dropped = report.dropped[name]
    # Lines without content are not documents.
    report.read[name] -= dropped.pop(EMPTY, 0)


def check(batch: dict[str, Any], at: int, source: str, number: int) -> None:
    """Raise `UserError`, naming the document, for one that must not be and one that cannot be read. number: of the
    document in its source."""
    failed = str(batch["failed"][at])
    if not failed and batch["reason"][at] != CONTAMINATED:
        return
    path, own = str(batch["path"][at]), int(batch["number"][at])
    place = Place(path, int(batch["offset"][at]), own) if path else f"{source}: row {number}"
    if failed:
        raise UserError(failed if own < 0 else f"{place}: {failed}")
    raise UserError(
        f"{place}: the document {batch['start'][at]!r} of source {source!r} shares a {screening.NGRAM}-gram "
        "with an evaluation prompt: take it out, or do not evaluate on that set"
    )


def drop_duplicates(
    stores: dict[str, TokenStore], marks: Fingerprints, filters: FilterConfig, report: CorpusReport
) -> None:
    """Keep the first of each set of duplicates, over all sources in their order."""
    sizes = [len(held.lengths) for held in stores.values()]
    if not sum(sizes):
        return
    kept = np.ones(sum(sizes), bool)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    found = {}
    if filters.exact:
        found["exact duplicate"] = screening.exact_duplicates(marks.digests)
    if filters.near:
        found["near duplicate"] = screening.near_duplicates(marks.signatures, filters.near)
    for reason, repeated in found.items():
        for index, name in enumerate(stores):
            count = int((repeated & kept & (owner == index)).sum())
            if count:
                report.dropped[name][reason] = count
        kept &= ~repeated
    for index, held in enumerate(stores.values()):
        held.keep(kept[owner == index])


# Mixing and packing


def planned(config: CorpusConfig, stores: dict[str, TokenStore]) -> list[dict[str, mixture.Stretch]]:
    """For each phase, the stretch of each source's tokens."""
    totals = {name: held.total for name, held in stores.items()}
    if config.phases:
        return mixture.plan(totals, config.tokens, [(phase.until, phase.shares) for phase in config.phases])
    left = config.tokens or sum(totals.values())
    if left > sum(totals.values()):
        raise UserError(f"data.tokens {left} is more than the sources hold after filtering: {sum(totals.values())}")
    stretches = {}
    for name, total in totals.items():
        stretches[name] = (0, min(total, left))
        left -= stretches[name][1]
    return [stretches]


def write_rows(
    phases: list[dict[str, mixture.Stretch]],
    stores: dict[str, TokenStore],
    length: int,
    destination: Path,
    seed: int,
    held_out: float,
    report: CorpusReport,
) -> None:
    """Pack each phase in turn, its documents shuffled by the seed. A document longer than a row is
    continued in others, each piece a sequence of its own."""
    train = RowWriter(destination / "rows", length)
    held = RowWriter(destination / "eval", length) if held_out else train
    for number, stretches in enumerate(phases):
        for name, (start, end) in stretches.items():
            report.mixed[name] += end - start
        for group in packed(sequences(stretches, stores, length, np.random.default_rng([seed, number])), length):
            takes = held_out and is_held_out(report.rows + report.held_out, held_out)
            (held if takes else train).add(group)
            if takes:
                report.held_out += 1
            else:
                report.rows += 1
    train.close()
    if held_out:
        held.close()


def is_held_out(row: int, share: float) -> bool:
    """The first row, then evenly every 1/share-th."""
    return int(row * share) > int((row - 1) * share) if row else True


def sequences(
    stretches: dict[str, mixture.Stretch], stores: dict[str, TokenStore], length: int, draw: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    names = list(stretches)
    pieces = [mixture.cut(stores[name].kept_lengths, stretches[name], length) for name in names]
    owner = np.repeat(np.arange(len(names), dtype=np.int32), [len(starts) for starts, _ in pieces])
    starts = np.concatenate([starts for starts, _ in pieces])
    sizes = np.concatenate([sizes for _, sizes in pieces])
    for place in draw.permutation(len(owner)):
        ids = stores[names[owner[place]]].tokens(int(starts[place]), int(sizes[place]))
        yield ids, np.ones(len(ids), bool)


# Evaluation sets


PROMPT_FIELDS = ("question", "problem", "prompt", "Body", "Question", "text", "input")


def evaluation_prompts(paths: Sequence[str]) -> Iterator[str]:
    """Prompts of evaluation files and folders of whatever split, answers left out."""
    for path in paths:
        file = Path(path).expanduser()
        if not file.exists():
            raise UserError(f"data.evaluation {path}: no such file")
        inside = (one for one in sorted(file.rglob("*")) if formats.suffix_of(one) in formats.SUFFIXES)
        for each in [file] if file.is_file() else inside:
            yield from file_prompts(each)


def file_prompts(file: Path) -> Iterator[str]:
    for _, row in reading.rows(file, "data.evaluation"):
        parts = [str(row[name]) for name in PROMPT_FIELDS if isinstance(row.get(name), str)]
        if parts:
            yield " ".join(parts)
