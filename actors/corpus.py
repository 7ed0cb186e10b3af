"""The data pipeline on Ray Data: documents to packed rows of tokens.

    read -> screen (filters, contamination) -> tokenise     in parallel, order kept
         -> drop duplicates -> spill token files             one pass in the driver, in order
         -> mix by shares of tokens -> pack -> rows           from the token files

Everything that looks at more than one document happens in order in one place, so the rows do not
depend on the number of workers. Texts stream through; what stays in memory is hashes of documents
and their lengths.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srm_ray.config.stages import CorpusConfig, FilterConfig, Source
from srm_ray.data import screening
from srm_ray.data.mixture import plan, stretches
from srm_ray.data.packing import Rows, concatenate, pack, save_rows
from srm_ray.data.texts import document_text, files_of
from srm_ray.errors import UserError
from srm_ray.runs.progress import say

BATCH = 256


@dataclass
class CorpusReport:
    """What became of the documents, by source."""

    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    mixed: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        for source in self.read:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped[source].items()))
            yield (
                f"{source}: {self.kept[source]} of {self.read[source]} documents kept, "
                f"{self.tokens[source]} tokens, {self.mixed[source]} of them used; dropped: {reasons or 'none'}"
            )

    def to_plain(self) -> dict[str, Any]:
        return {name: dict(getattr(self, name)) for name in ("read", "kept", "tokens", "mixed")} | {
            "dropped": {source: dict(reasons) for source, reasons in self.dropped.items()}
        }


def build_corpus(config: CorpusConfig, tokenizer: str, destination: Path, *, seed: int) -> CorpusReport:
    """Write the rows of a corpus to `destination`. Ray must be initialised.

    Raises `UserError` for data that cannot be read, a contaminated document (by name), a source that
    runs out, or nothing left.
    """
    sources = dict(config.sources) or {"data": Source(path=config.path)}
    guard = screening.Guard.of(evaluation_prompts(config.evaluation))
    report = CorpusReport()
    seen = screening.Seen(near=config.filters.near, exact=config.filters.exact)
    spills: dict[str, Spill] = {}
    for name, source in sources.items():
        report.dropped[name] = Counter()
        spills[name] = Spill(destination / "tokens" / name)
        for batch in screened(read_source(name, source), name, source.column, config.filters, guard, tokenizer):
            take_batch(batch, name, seen, spills[name], report)
        spills[name].close()
        say(f"{name}: {report.kept[name]} of {report.read[name]} documents kept, {report.tokens[name]} tokens")
    order = document_order(config, spills)
    if not order:
        raise UserError("no documents are left after filtering: " + "; ".join(report.lines()))
    for name, index, _ in order:
        report.mixed[name] += spills[name].lengths[index]
    rows = pack_documents(order, spills, config.row_length, len(config.phases) or 1, seed)
    save_rows(rows, destination / "rows")
    (destination / "report.json").write_text(json.dumps(report.to_plain(), indent=2) + "\n")
    return report


# Reading


def read_source(name: str, source: Source) -> Any:
    """A Ray dataset of rows with `text` and `origin` (file or dataset name), in the files' order."""
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    if source.name:
        return read_hub_source(source)
    files = files_of(source.path, f"data.sources.{name}")
    kinds = {file.suffix for file in files}
    if len(kinds) != 1:
        raise UserError(f"data.sources.{name}: one kind of file is expected, got {', '.join(sorted(kinds))}")
    paths = [str(file) for file in files]
    kind = kinds.pop()
    if kind == ".parquet":
        return ray.data.read_parquet(paths, include_paths=True)
    if kind in (".jsonl", ".json"):
        return ray.data.read_text(paths, include_paths=True, drop_empty_lines=True).map_batches(
            parse_lines, batch_size=BATCH
        )
    return ray.data.read_binary_files(paths, include_paths=True).map_batches(decode_files, batch_size=16)


def read_hub_source(source: Source) -> Any:
    import datasets
    import ray

    try:
        rows = datasets.load_dataset(source.name, source.subset or None, split=source.split)
    except Exception as error:  # the hub's client raises many kinds, all of them the user's to know
        raise UserError(f"dataset {source.name}: cannot be loaded ({type(error).__name__}: {error})") from None
    return ray.data.from_huggingface(rows)


def parse_lines(batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """JSONL lines to texts; a line that is not an object is kept as a mark that `screen` reports."""
    texts, origins = [], []
    for line, path in zip(batch["text"], batch["path"], strict=True):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        texts.append(json.dumps(row) if isinstance(row, dict) else f"{BROKEN}{line[:80]}")
        origins.append(str(path))
    return {"json": texts, "path": origins}


def decode_files(batch: dict[str, np.ndarray]) -> dict[str, list[str]]:
    return {
        "text": [bytes(content).decode("utf-8", errors="replace") for content in batch["bytes"]],
        "path": [str(path) for path in batch["path"]],
    }


BROKEN = "\0not an object: "


# Screening and tokenising, in parallel


def screened(
    dataset: Any, name: str, column: str, filters: FilterConfig, guard: screening.Guard, tokenizer: str
) -> Iterator[Any]:
    """Batches of {reason, ids, digest, signature, origin}, in the order of the documents."""
    import ray

    options = {"filters": filters, "guard": ray.put(guard), "tokenizer": tokenizer, "name": name, "column": column}
    return dataset.map_batches(screen, batch_size=BATCH, fn_kwargs=options).iter_batches(batch_size=BATCH)


def screen(
    batch: dict[str, Any], *, filters: FilterConfig, guard: Any, tokenizer: str, name: str, column: str
) -> dict[str, Any]:
    """Screen and tokenise a batch of documents; dropped ones carry the reason and no tokens."""
    import ray

    from srm_ray.data.rendering import encode_document

    known = ray.get(guard) if isinstance(guard, ray.ObjectRef) else guard
    encoder = cached_tokenizer(tokenizer)
    columns = {key: list(value) for key, value in batch.items()}
    count = len(next(iter(columns.values())))
    out: dict[str, list[Any]] = {"reason": [], "ids": [], "digest": [], "signature": [], "origin": []}
    for place in range(count):
        row = {key: values[place] for key, values in columns.items()}
        text, reason = text_and_reason(row, column, filters)
        if not reason and known.contaminated(text):
            reason = "contaminated"
        kept = not reason
        out["reason"].append(reason)
        out["ids"].append(np.array(encode_document(encoder, text) if kept else [], np.int32).tobytes())
        out["digest"].append(screening.digest(text))
        out["signature"].append(screening.minhash(text).tobytes() if kept and filters.near else b"")
        out["origin"].append(f"{row.get('path', name)}: {text[:60]!r}")
    return out


def text_and_reason(row: dict[str, Any], column: str, filters: FilterConfig) -> tuple[str, str]:
    if "json" in row:
        if row["json"].startswith(BROKEN):
            return row["json"], "broken line"
        row = json.loads(row["json"])
    try:
        text = document_text(row, column, "")
    except UserError:
        return "", "no text field"
    limits = filters.model_dump(include={"min_characters", "max_characters", "min_words", "max_non_ascii"})
    return text, screening.reason_to_drop(text, **limits)


_tokenizers: dict[str, Any] = {}


def cached_tokenizer(folder: str) -> Any:
    if folder not in _tokenizers:
        from srm_ray.model import tokenization

        _tokenizers[folder] = tokenization.load(folder)
    return _tokenizers[folder]


# One pass in order


class Spill:
    """Token ids of a source's documents on disk, one after the other."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path.with_suffix(".int32")
        self.lengths: list[int] = []
        self._file = self.path.open("wb")

    def add(self, ids: bytes) -> None:
        self._file.write(ids)
        self.lengths.append(len(ids) // 4)

    def close(self) -> None:
        self._file.close()
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        self.tokens = np.memmap(self.path, np.int32, "r") if self.lengths else np.zeros(0, np.int32)

    def document(self, index: int) -> np.ndarray:
        return self.tokens[self.starts[index] : self.starts[index + 1]]


def take_batch(batch: dict[str, Any], name: str, seen: screening.Seen, spill: Spill, report: CorpusReport) -> None:
    """Drop duplicates, keep the rest. Raises `UserError` for a contaminated document."""
    for reason, ids, digest, signature, origin in zip(
        batch["reason"], batch["ids"], batch["digest"], batch["signature"], batch["origin"], strict=True
    ):
        report.read[name] += 1
        if reason == "contaminated":
            raise UserError(
                f"source {name!r} shares a {screening.NGRAM}-gram with an evaluation prompt, document {origin}: "
                "take it out, or do not evaluate on that set"
            )
        why = reason or seen.duplicate(bytes(digest), np.frombuffer(signature, np.uint32) if signature else None)
        if why:
            report.dropped[name][why] += 1
            continue
        spill.add(bytes(ids))
        report.kept[name] += 1
        report.tokens[name] += len(ids) // 4


def document_order(config: CorpusConfig, spills: dict[str, Spill]) -> list[tuple[str, int, int]]:
    """(source, document, phase) of every document used."""
    lengths = {name: spill.lengths for name, spill in spills.items()}
    if config.phases:
        phases = [(phase.until, phase.shares) for phase in config.phases]
        return plan(lengths, stretches(config.tokens, phases))
    everything = [(name, index, 0) for name, spill in spills.items() for index in range(len(spill.lengths))]
    if not config.tokens:
        return everything
    used, kept = 0, []
    for name, index, phase in everything:
        if used >= config.tokens:
            break
        kept.append((name, index, phase))
        used += lengths[name][index]
    return kept


def pack_documents(
    order: list[tuple[str, int, int]], spills: dict[str, Spill], length: int, phases: int, seed: int
) -> Rows:
    """Rows of each phase in turn, their documents shuffled by the seed within the phase. A document
    longer than a row is continued in the next ones, each piece a sequence of its own."""
    parts = []
    for phase in range(phases):
        mine = [(name, index) for name, index, number in order if number == phase]
        shuffled = [mine[place] for place in np.random.default_rng([seed, phase]).permutation(len(mine))]
        pieces = (
            document[start : start + length]
            for name, index in shuffled
            for document in [spills[name].document(index)]
            for start in range(0, len(document), length)
        )
        parts.append(pack(((piece, [True] * len(piece)) for piece in pieces), length))
    return concatenate(parts)


# Evaluation sets


def evaluation_prompts(paths: Sequence[str]) -> Iterator[str]:
    """Prompts of evaluation files (JSONL, or JSON with `examples`), answers left out."""
    for path in paths:
        file = Path(path).expanduser()
        if not file.exists():
            raise UserError(f"data.evaluation {path}: no such file")
        for each in [file] if file.is_file() else sorted(file.rglob("*.json*")):
            yield from file_prompts(each)


PROMPT_FIELDS = ("question", "problem", "prompt", "Body", "Question", "text", "input")


def file_prompts(file: Path) -> Iterator[str]:
    content = file.read_text(encoding="utf-8")
    rows = json.loads(content).get("examples", []) if file.suffix == ".json" else map(json.loads, content.splitlines())
    for row in rows:
        parts = [str(row[name]) for name in PROMPT_FIELDS if isinstance(row.get(name), str)]
        if parts:
            yield " ".join(parts)
