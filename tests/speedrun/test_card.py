"""The report card: what it reads from the stages' folders, and the page that it becomes."""

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from srm_ray.intervals import wilson
from srm_ray.report.quantisation_table import Row
from srm_ray.speedrun import card as cards
from srm_ray.speedrun import card_page, chain
from srm_ray.speedrun.card import Card, Delta, StageRow
from tests.report import browser


@pytest.fixture
def card() -> Card:
    curve = tuple(2 * math.exp(-place / 30) + 0.5 for place in range(100))
    stages = (
        StageRow("pretrain", 300.0, 1, 1_500_000, "train/loss", 2.5, 0.5, curve),
        StageRow("grpo", 60.0, 2, 900_000, "reward/accuracy", 0.5, 0.98, (0.5, 0.7, 0.98)),
    )
    accuracy = {
        "pretrain": {"arithmetic": wilson(5, 500), "numerals": wilson(50, 500)},
        "grpo": {"arithmetic": wilson(480, 500), "numerals": wilson(30, 500)},
    }
    deltas = (
        Delta("grpo", "pretrain", "arithmetic", 0.95, 0.93, 0.97, "gain"),
        Delta("grpo", "pretrain", "numerals", -0.04, -0.06, -0.02, "loss"),
    )
    sizes = (Row("Q8_0", "gguf/x-Q8_0.gguf", 3_100_000, 2_900_000, "llama.cpp", 1.5, wilson(95, 100), 800.0),)
    return Card("<script>x</script>", "two cores", 0.5, 7, stages, accuracy, deltas, sizes)


def test_terminal_table_holds_every_number(card: Card) -> None:
    text = "\n".join(cards.lines(card))
    for part in (
        "2.500 -> 0.500",
        "50% -> 98% right",
        "1,500,000",
        "96.0% [93.9%, 97.4%]",
        "-4.0",
        "LOSS",
        "Q8_0",
        "800",
    ):
        assert part in text
    assert "6m00s in all on two cores, 2.40 M tokens, $0.05 at $0.5 an hour" in text
    assert len({len(line) for line in text.splitlines() if line.startswith("---")}) == 3


def test_summary_is_json_with_time_and_cost(card: Card) -> None:
    plain = json.loads(json.dumps(card.to_plain()))
    assert plain["wall_seconds"] == 360
    assert plain["cost_dollars"] == pytest.approx(0.05)
    assert plain["accuracy"]["grpo"]["arithmetic"]["n"] == 500


EMPTY = {"meta", "link", "line", "circle", "polyline"}


class Elements(HTMLParser):
    """Counts elements; a tag closed in the wrong order fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        assert "src" not in dict(attrs), "the page must hold everything itself"
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_escaped_and_without_script(card: Card) -> None:
    page = card_page.page(card)
    elements = Elements()
    elements.feed(page)
    assert elements.open == []
    assert "script" not in elements.count
    assert elements.count["table"] == 3
    assert elements.count["circle"] == 6  # two suites at two stages, two deltas
    assert "&lt;script&gt;" in page and "NaN" not in page


@pytest.mark.integration
def test_page_in_a_browser(card: Card, tmp_path: Path) -> None:
    program = browser.find()
    if program is None:
        pytest.skip("NOT TESTED: the card's page needs Chromium (apt-get install chromium), and there is none")
    report = tmp_path / "report.html"
    report.write_text(card_page.page(card))
    with browser.start(program, tmp_path / "profile") as page:
        page.call("Page.navigate", url=report.as_uri())
        page.wait("document.querySelector('footer') !== null")
        assert page.text("h1") == "<script>x</script>"
        assert page.evaluate("getComputedStyle(document.querySelector('.wide-table')).borderCollapse") == "collapse"
        assert page.evaluate("document.querySelectorAll('figure svg').length") == 4
        assert [url for url in page.requests if not url.startswith(("file:", "data:", "about:"))] == []


def test_stage_row_of_a_training_run(tmp_path: Path) -> None:
    chain.write(tmp_path, chain.Record({}, seconds=12, tries=3, done=True))
    lines = [{"step": step, "train/loss": 1 / step, "train/tokens": 10} for step in range(1, 1001)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    row = cards.stage_row("sft", tmp_path)
    assert (row.seconds, row.tries, row.tokens, row.measure) == (12, 3, 10_000, "train/loss")
    assert row.first == pytest.approx(sum(1 / step for step in range(1, 51)) / 50)
    assert len(row.curve) == 200
    assert row.curve[0] == pytest.approx(sum(1 / step for step in range(1, 6)) / 5)


def test_stage_row_of_a_run_that_samples(tmp_path: Path) -> None:
    chain.write(tmp_path, chain.Record({}, seconds=1, tries=1, done=True))
    line = {"step": 1, "reward/accuracy": 0.5, "throughput/rollout_tokens_per_s": 100.0, "time/rollout": 2.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    row = cards.stage_row("grpo", tmp_path)
    assert (row.tokens, row.measure, row.first, row.last) == (250, "reward/accuracy", 0.5, 0.5)
    # An asynchronous run samples while it does not wait, and drops groups: those tokens count too.
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line | {"completion/tokens": 1234}) + "\n")
    assert cards.stage_row("grpo", tmp_path).tokens == 1234
