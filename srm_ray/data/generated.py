"""Text of the project's own, as files for the stages that read files.

    sums, numerals -> tokenizer.jsonl   documents to learn merges from
                   -> pretrain.jsonl    documents
                   -> sft.jsonl         conversations

None of them holds a problem of the held-out splits, which the suites `arithmetic` and `numerals` ask.
"""

import itertools
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from srm_ray.data import arithmetic, numerals
from srm_ray.files.atomic import replacing_file

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Amounts:
    """documents, examples: of pretraining and SFT. numerals: share of both that is numerals, 0 to 1."""

    documents: int
    examples: int
    numerals: float


def write(folder: Path, amounts: Amounts, *, seed: int) -> dict[str, int]:
    """Write all files; returns the lines of each. The same seed and amounts give the same bytes."""
    share = amounts.numerals
    texts = ({"text": text} for text in arithmetic.tokenizer_texts(seed))
    documents = mixed(arithmetic.documents(seed), numerals.documents(seed), share, f"documents/{seed}")
    conversations = mixed(arithmetic.conversations(seed), numerals.conversations(seed), share, f"examples/{seed}")
    return {
        "tokenizer.jsonl": write_lines(folder / "tokenizer.jsonl", texts),
        "pretrain.jsonl": write_lines(
            folder / "pretrain.jsonl",
            ({"text": "".join(parts)} for parts in itertools.islice(documents, amounts.documents)),
        ),
        "sft.jsonl": write_lines(
            folder / "sft.jsonl", ({"messages": one} for one in itertools.islice(conversations, amounts.examples))
        ),
    }


def mixed(first: Iterator[T], second: Iterator[T], share: float, key: str) -> Iterator[T]:
    """An endless stream of both, `share` of it from the second, which comes when is drawn by `key`."""
    draw = random.Random(key)
    while True:
        yield next(second if draw.random() < share else first)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with replacing_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
            count += 1
    return count
