"""The model card: README.md of an exported model, from what its runs recorded.

lineage.json of the model and of its ancestors, summary.json of their runs, results.json and tax.json of its
evaluation, the table of formats -> Markdown with the front matter that model hubs read
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from srm_ray.model.lineage import read_lineage
from srm_ray.report.evaluation_files import SCORES_HEADER, TAX_HEADER, EvaluationInfo, read_json
from srm_ray.report.quantisation_table import Row, as_markdown, cells, header

LONGEST_CHAIN = 20


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model in the line of descent. path: its folder or hub name. lineage, summary: {} where not recorded."""

    path: str
    lineage: dict[str, Any]
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CardInfo:
    """What a card holds. notes: what the table of formats was measured on, and on what machine.

    serving: the command and a client's request, as text.
    """

    name: str
    parameters: int
    architecture: str
    context: int
    vocabulary: int
    chain: Sequence[Ancestor]
    rows: Sequence[Row]
    price_per_hour: float
    notes: Sequence[str]
    serving: str
    evaluation: EvaluationInfo | None = None


def trace(model: str) -> list[Ancestor]:
    """The model, its parent, its parent's parent, ... as far as folders are here; the last may be a name alone."""
    chain: list[Ancestor] = []
    path: str = model
    while path and len(chain) < LONGEST_CHAIN and path not in [one.path for one in chain]:
        folder = Path(path)
        lineage = read_lineage(folder)
        chain.append(Ancestor(path, lineage, read_json(folder.parent / "summary.json") if lineage else {}))
        path = str(lineage.get("parent") or "")
    return chain


def write_card(info: CardInfo) -> str:
    sections = [
        front_matter(info),
        introduction(info),
        formats(info),
        use(info),
        descent(info.chain),
        data(info.chain),
        results(info.chain, info.evaluation),
        reproduction(info.chain[0]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def front_matter(info: CardInfo) -> str:
    values: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["srm_ray", "reasoning", *(["gguf"] if any(row.file.endswith(".gguf") for row in info.rows) else [])],
    }
    origin = info.chain[-1].path
    if len(info.chain) > 1 and not Path(origin).exists() and "/" in origin and not origin.startswith("/"):
        values["base_model"] = origin
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---"


def introduction(info: CardInfo) -> str:
    stages = [str(one.lineage["stage"]) for one in reversed(info.chain) if one.lineage.get("stage")]
    made = f" Made by {', then '.join(stages)}." if stages else ""
    return (
        f"# {info.name}\n\nA {info.architecture} language model of {info.parameters:,} parameters, "
        f"{info.vocabulary:,} vocabulary entries and {info.context:,} tokens of context, trained with srm_ray.{made}"
    )


def formats(info: CardInfo) -> str:
    lines = [["file", *header(info.price_per_hour)]]
    lines += [[f"`{row.file}`", *cells(row, info.price_per_hour)] for row in info.rows]
    notes = "\n".join(f"- {note}" for note in info.notes)
    return f"## Formats\n\n{as_markdown(lines)}\n\n{notes}"


def use(info: CardInfo) -> str:
    command, _, client = info.serving.partition("\n\n")
    smallest = min((row for row in info.rows if row.file.endswith(".gguf")), key=lambda row: row.bytes, default=None)
    talk = f"../{smallest.file}" if smallest else "."
    return (
        "## Use\n\nFrom the folder that this card is in. In the terminal, with a folder or a GGUF file:\n\n"
        f"```sh\npython -m srm_ray.chat --model {talk}\n```\n\n"
        f"As a server:\n\n```sh\n{command}\n```\n\n```python\n{client.strip()}\n```"
    )


def descent(chain: Sequence[Ancestor]) -> str:
    lines = [["", "model", "stage", "steps", "commit"]]
    for generation, one in enumerate(chain):
        known, what = one.lineage, "this model comes from" if generation == 0 else "which comes from"
        steps = known.get("steps") or known.get("step") or one.summary.get("steps") or ""
        commit = str(known.get("commit") or known.get("git_commit") or "")[:12]
        lines.append([what, f"`{one.path}`", str(known.get("stage", "not recorded here")), str(steps), commit])
    return f"## Lineage\n\n{as_markdown(lines)}"


def data(chain: Sequence[Ancestor]) -> str:
    lines = [["stage", "data", "fingerprint"]]
    for one in chain:
        stage, known = str(one.lineage.get("stage", "")), one.lineage.get("data")
        if isinstance(known, dict):
            lines += [[stage, str(name), f"`{short(value)}`"] for name, value in known.items()]
    return f"## Data\n\n{as_markdown(lines)}" if len(lines) > 1 else ""


def short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return text if len(text) <= 120 else text[:117] + "..."


def results(chain: Sequence[Ancestor], evaluation: EvaluationInfo | None) -> str:
    lines = [["stage", "measure", "value"]]
    for one in chain:
        stage = str(one.lineage.get("stage", ""))
        lines += [[stage, name, shown(value)] for name, value in one.summary.items() if is_metric(value)]
    parts = [f"### From the runs\n\n{as_markdown(lines)}"] if len(lines) > 1 else []
    if evaluation and evaluation.scores:
        parts.append(f"### Evaluation\n\n{as_markdown([SCORES_HEADER, *evaluation.scores])}")
    if evaluation and evaluation.tax:
        parts.append(
            f"### Capability tax\n\nAgainst its parent `{evaluation.parent}`, same settings and problems:\n\n"
            f"{as_markdown([TAX_HEADER, *evaluation.tax])}"
        )
    return "## Results\n\n" + "\n\n".join(parts) if parts else ""


def is_metric(value: Any) -> bool:
    """A number, or a share with its interval."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or (isinstance(value, dict) and {"value", "low", "high"} <= value.keys())


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['value']:.1%} [{value['low']:.1%}, {value['high']:.1%}], n {value.get('n', '?')}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def reproduction(model: Ancestor) -> str:
    known = model.lineage
    wanted = {name: known[name] for name in ("packages", "versions", "seed", "config", "recipe") if known.get(name)}
    if not wanted:
        return ""
    text = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
    return f"## Reproduce\n\nWhat the last stage ran with:\n\n```yaml\n{text}```"
