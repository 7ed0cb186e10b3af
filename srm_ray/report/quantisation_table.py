"""The table of an export's formats: size, what is lost, speed, cost; as text for a terminal and as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from srm_ray.console.text_table import aligned
from srm_ray.intervals import Share
from srm_ray.report.cost import dollars, per_thousand_tokens

HEADER = ("format", "MB", "bits/weight", "perplexity", "accuracy", "tokens/s")


@dataclass(frozen=True, slots=True)
class Row:
    """One format. file: its name in the export. bytes: of that file. parameters: of the model.

    perplexity, accuracy, tokens_per_second: None where not measured. engine: what measured it, e.g. "llama.cpp".
    """

    label: str
    file: str
    bytes: int
    parameters: int
    engine: str = ""
    perplexity: float | None = None
    accuracy: Share | None = None
    tokens_per_second: float | None = None

    def to_plain(self, price_per_hour: float) -> dict[str, Any]:
        cost = None
        if price_per_hour and self.tokens_per_second:
            cost = per_thousand_tokens(price_per_hour, self.tokens_per_second)
        return {**asdict(self), "dollars_per_1000_tokens": cost}


def header(price_per_hour: float) -> list[str]:
    return [*HEADER, *(["$/1K tokens"] if price_per_hour else [])]


def cells(row: Row, price_per_hour: float) -> list[str]:
    found = [
        row.label,
        f"{row.bytes / 1e6:,.1f}",
        f"{8 * row.bytes / row.parameters:.2f}",
        "–" if row.perplexity is None else f"{row.perplexity:.4f}",
        "–" if row.accuracy is None else str(row.accuracy),
        "–" if row.tokens_per_second is None else f"{row.tokens_per_second:,.0f}",
    ]
    if price_per_hour:
        rate = row.tokens_per_second
        found.append("–" if rate is None else dollars(per_thousand_tokens(price_per_hour, rate)))
    return found


def as_text(rows: Sequence[Row], price_per_hour: float) -> str:
    return "\n".join(aligned([header(price_per_hour), *(cells(row, price_per_hour) for row in rows)]))


def as_markdown(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the header; `|` in a cell is escaped."""
    text = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(
        [
            "| " + " | ".join(text[0]) + " |",
            "|" + "---|" * len(text[0]),
            *("| " + " | ".join(line) + " |" for line in text[1:]),
        ]
    )
