"""The report card of a speedrun: what each stage took and left, read from the stages' own run folders.

<run_dir>/<stage>/{stage.json, summary.json, metrics.jsonl} -> StageRow
<run_dir>/evaluate/<stage>/{results.json, tax.json}         -> accuracy, deltas
<run_dir>/export/summary.json                               -> sizes        } -> Card -> summary.json, lines,
                                                                                report.html (card_page)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from srm_ray.config.speedrun import SpeedrunConfig
from srm_ray.console.progress import duration
from srm_ray.console.text_table import aligned
from srm_ray.evaluation import results, tax
from srm_ray.files.json_file import read_object
from srm_ray.intervals import Share
from srm_ray.report.quantisation_table import Row, cells, header
from srm_ray.runs import metrics as metrics_log
from srm_ray.runs.folder import RunFolder
from srm_ray.speedrun import chain

STAGES = ("text", "tokenizer", "pretrain", "package", "import", "sft", "samples", "prefer", "grpo")
CURVES = ("train/loss", "reward/accuracy")
CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage. seconds: of all its tries. tokens: learned from, or sampled where it learns from its samples.

    measure: what first, last and curve are of ("train/loss" in nats, "reward/accuracy" as a share), "" for
    none; first and last are means over the first and last twentieth of the steps.
    """

    name: str
    seconds: float
    tries: int
    tokens: int | None = None
    measure: str = ""
    first: float | None = None
    last: float | None = None
    curve: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A suite's change from the stage before: the paired interval is the evaluation's own, all in 0..1."""

    stage: str
    before: str
    suite: str
    delta: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Card:
    """accuracy: stage -> suite -> share. sizes: rows of export's table."""

    name: str
    machine: str
    price_per_hour: float
    seed: int
    stages: tuple[StageRow, ...]
    accuracy: dict[str, dict[str, Share]]
    deltas: tuple[Delta, ...]
    sizes: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def cost(self) -> float:
        """Dollars."""
        return self.seconds / 3600 * self.price_per_hour

    @property
    def suites(self) -> list[str]:
        return list({suite: None for shares in self.accuracy.values() for suite in shares})

    def to_plain(self) -> dict[str, Any]:
        """What summary.json holds."""
        plain = asdict(self) | {"wall_seconds": self.seconds, "cost_dollars": self.cost}
        for stage in plain["stages"]:
            del stage["curve"]  # the stage's own metrics.jsonl has every step
        return plain


# Reading


def collect(root: Path, config: SpeedrunConfig) -> Card:
    """The card of a finished run in `root`."""
    rows = [stage_row(name, root / name) for name in STAGES if (root / name).is_dir()]
    accuracy: dict[str, dict[str, Share]] = {}
    deltas: list[Delta] = []
    for name in config.models:
        folder = root / "evaluate" / name
        accuracy[name] = {suite: one.score for suite, one in results.read(folder).suites.items()}
        if (folder / tax.FILE).is_file():
            before = config.models[config.models.index(name) - 1]
            deltas += read_deltas(folder / tax.FILE, before, name)
    measured = [stage_row(f"evaluate/{name}", root / "evaluate" / name) for name in config.models]
    rows.append(StageRow("evaluate", sum(row.seconds for row in measured), max(row.tries for row in measured)))
    rows.append(stage_row("export", root / "export"))
    formats = (RunFolder(root / "export", stage="export").read_summary() or {})["formats"]
    machine = config.machine
    return Card(
        root.name,
        machine.name,
        machine.price_per_hour,
        config.seed,
        tuple(rows),
        accuracy,
        tuple(deltas),
        tuple(map(size_row, formats)),
    )


def size_row(plain: dict[str, Any]) -> Row:
    accuracy = plain["accuracy"]
    known = {name: plain[name] for name in Row.__slots__}
    return Row(**known | {"accuracy": Share(**accuracy) if accuracy else None})


def read_deltas(path: Path, before: str, stage: str) -> list[Delta]:
    return [
        Delta(stage, before, *(one[key] for key in ("suite", "delta", "low", "high", "verdict")))
        for one in read_object(path)["suites"]
    ]


def stage_row(name: str, folder: Path) -> StageRow:
    record = chain.read(folder)
    assert record is not None, f"{folder} is no finished stage"
    run = RunFolder(folder, stage=name)
    if not run.metrics.is_file():
        summary = run.read_summary() or {}
        return StageRow(name, record.seconds, record.tries, summary.get("tokens"))
    lines = metrics_log.read(run.metrics)
    measure = next(known for known in CURVES if known in lines[0])
    values = [float(line[measure]) for line in lines]
    few = max(1, len(values) // 20)
    first, last = sum(values[:few]) / few, sum(values[-few:]) / few
    return StageRow(name, record.seconds, record.tries, tokens_of(lines), measure, first, last, thinned(values))


def tokens_of(lines: Sequence[dict[str, Any]]) -> int:
    """Tokens trained on, or, of a run that samples, sampled."""
    for name in ("train/tokens", "completion/tokens"):
        if name in lines[0]:
            return sum(int(line[name]) for line in lines)
    return round(sum(line["throughput/rollout_tokens_per_s"] * line["time/rollout"] for line in lines))


def thinned(values: Sequence[float]) -> tuple[float, ...]:
    """At most `CURVE_POINTS` means of neighbours."""
    width = -(-len(values) // CURVE_POINTS)
    parts = [values[start : start + width] for start in range(0, len(values), width)]
    return tuple(sum(part) / len(part) for part in parts)


# On the terminal


def lines(card: Card) -> list[str]:
    """The card as text."""
    blocks = [aligned(stage_cells(card))]
    if card.deltas:
        blocks.append(["", "change from the stage before, on the same held-out problems:", *aligned(delta_cells(card))])
    if card.sizes:
        blocks.append(["", "exported:", *aligned(size_cells(card))])
    return [line for block in blocks for line in block] + ["", total(card)]


def total(card: Card) -> str:
    tokens = sum(stage.tokens or 0 for stage in card.stages)
    cost = f", ${card.cost:.2f} at ${card.price_per_hour:g} an hour" if card.price_per_hour else ""
    return f"{duration(card.seconds)} in all on {card.machine}, {tokens / 1e6:.2f} M tokens{cost}"


def stage_cells(card: Card) -> list[list[str]]:
    """Header and a row for each stage."""
    rows = [["stage", "minutes", "tokens", "loss or right", *card.suites]]
    for stage in card.stages:
        shares = card.accuracy.get(stage.name, {})
        cells = [stage.name, f"{stage.seconds / 60:.1f}", f"{stage.tokens:,}" if stage.tokens else ""]
        rows.append([*cells, change(stage), *(str(shares[suite]) if suite in shares else "" for suite in card.suites)])
    return [*rows, ["total", f"{card.seconds / 60:.1f}", *[""] * (len(rows[0]) - 2)]]


def change(stage: StageRow) -> str:
    """`2.31 -> 0.87` of a loss, `54 % -> 97 % right` of a share."""
    if stage.first is None or stage.last is None:
        return ""
    if stage.measure == "reward/accuracy":
        return f"{stage.first:.0%} -> {stage.last:.0%} right"
    return f"{stage.first:.3f} -> {stage.last:.3f}"


def delta_cells(card: Card) -> list[list[str]]:
    rows = [["suite", "from", "to", "points", "95 % interval", ""]]
    for one in card.deltas:
        interval = f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
        verdict = {"loss": "LOSS", "gain": "gain"}.get(one.verdict, "within noise")
        rows.append([one.suite, one.before, one.stage, f"{100 * one.delta:+.1f}", interval, verdict])
    return rows


def size_cells(card: Card) -> list[list[str]]:
    return [header(card.price_per_hour), *(cells(row, card.price_per_hour) for row in card.sizes)]
