"""A speedrun's report card as one self-contained HTML file: no script, no network, every text escaped.

Card -> tables and SVG charts -> report.html
"""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from srm_ray.console.progress import duration
from srm_ray.intervals import Share
from srm_ray.speedrun import card as cards
from srm_ray.speedrun.card import Card, Delta, StageRow

ASSETS = Path(__file__).parents[1] / "report" / "assets"
COLOURS = ("c1", "c2", "c3", "c4")
WIDTH, HEIGHT = 520, 210
ACCURACY_NOTE = "held-out problems, 95 % intervals"
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 26  # margins of a chart


def page(card: Card) -> str:
    """The whole file."""
    style = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "card.css"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    title = html.escape(card.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · srm_ray speedrun</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header class="top"><div class="name"><span class="brand">srm_ray speedrun</span><h1>{title}</h1></div></header>
<main>
<div id="summary">{"".join(headline(card))}</div>
{section("Accuracy by stage", wide(accuracy_chart(card)) if card.accuracy else "", note=ACCURACY_NOTE)}
{section("Stages", html_table(cards.stage_cells(card), total=True))}
{section("Learning", charts(curve_chart(stage) for stage in card.stages if len(stage.curve) > 1))}
{section("Capability tax", tax(card), note="change from the stage before, same problems, paired 95 % intervals")}
{section("Exported", html_table(cards.size_cells(card)) if card.sizes else "")}
<footer id="foot">seed {card.seed}; {html.escape(cards.total(card))}</footer>
</main>
</body>
</html>
"""


def section(title: str, body: str, *, note: str = "") -> str:
    """ "" where there is nothing to show."""
    aside = f" <small>{html.escape(note)}</small>" if note else ""
    return f"<section><h2>{html.escape(title)}{aside}</h2>{body}</section>" if body else ""


def headline(card: Card) -> list[str]:
    boxes = []
    measured = [name for name in card.accuracy]
    for suite in card.suites:
        shares = [card.accuracy[name][suite] for name in measured if suite in card.accuracy[name]]
        boxes.append(
            box(
                f"{suite}, {measured[0]} to {measured[-1]}",
                f"{shares[0].value:.1%} → {shares[-1].value:.1%}",
                interval(shares[-1]),
            )
        )
    boxes.append(box("time", duration(card.seconds), card.machine))
    boxes.append(
        box("tokens", f"{sum(stage.tokens or 0 for stage in card.stages) / 1e6:.2f} M", "trained on or sampled")
    )
    if card.price_per_hour:
        boxes.append(box("cost", f"${card.cost:.2f}", f"at ${card.price_per_hour:g} an hour"))
    return boxes


def interval(share: Share) -> str:
    return f"[{share.low:.1%}, {share.high:.1%}] of {share.n} problems"


def box(name: str, value: str, note: str) -> str:
    inner = (
        f'<h3>{html.escape(name)}</h3><p class="big">{html.escape(value)}</p><p class="quiet">{html.escape(note)}</p>'
    )
    return f'<div class="card">{inner}</div>'


def html_table(rows: Sequence[Sequence[str]], *, total: bool = False) -> str:
    """rows: a header and the lines. total: the last line is a sum."""

    def line(cells: Sequence[str], tag: str, kind: str = "") -> str:
        written = "".join(f"<{tag}{mark(cell)}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f'<tr class="{kind}">{written}</tr>' if kind else f"<tr>{written}</tr>"

    body = [line(cells, "td", "sum" if total and cells is rows[-1] else "") for cells in rows[1:]]
    return f'<div class="scroll"><table class="wide-table">{line(rows[0], "th")}{"".join(body)}</table></div>'


def mark(cell: str) -> str:
    return {"LOSS": ' class="loss"', "gain": ' class="gain"'}.get(cell, "")


# Charts


def charts(drawn: Iterable[str]) -> str:
    figures = "".join(drawn)
    return f'<div class="charts">{figures}</div>' if figures else ""


def wide(drawn: str) -> str:
    return f'<div class="charts one">{drawn}</div>'


def figure(title: str, unit: str, body: str, *, height: int = HEIGHT, keys: str = "") -> str:
    caption = f'<figcaption><b>{html.escape(title)}</b><span class="unit">{html.escape(unit)}</span></figcaption>'
    label = html.escape(f"{title}, {unit}")
    drawing = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{body}</svg>'
    return f'<figure class="chart">{caption}<div class="keys">{keys}</div>{drawing}</figure>'


def key(name: str, colour: str) -> str:
    return f'<span><i class="swatch {colour}"></i>{html.escape(name)}</span>'


def text(x: float, y: float, content: str, *, kind: str = "tick", anchor: str = "end") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(content)}</text>'


def segment(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" class="{kind}"/>'


def accuracy_chart(card: Card) -> str:
    """A dot with its interval for each stage and suite, suites side by side, joined by lines."""
    names = list(card.accuracy)
    body = [gridline(share, f"{share:.0%}", 0, 1) for share in (0, 0.25, 0.5, 0.75, 1)]
    step = (WIDTH - LEFT - RIGHT) / len(names)
    for place, name in enumerate(names):
        body.append(text(LEFT + (place + 0.5) * step, HEIGHT - 8, name, anchor="middle"))
    for number, suite in enumerate(card.suites):
        colour = COLOURS[number % len(COLOURS)]
        shift = (number - (len(card.suites) - 1) / 2) * 14
        dots = [
            (LEFT + (place + 0.5) * step + shift, card.accuracy[name][suite])
            for place, name in enumerate(names)
            if suite in card.accuracy[name]
        ]
        points = " ".join(f"{x:.1f},{height(share.value, 0, 1):.1f}" for x, share in dots)
        body.append(f'<polyline points="{points}" class="line faint {colour}"/>')
        for x, share in dots:
            body.append(segment(x, height(share.low, 0, 1), x, height(share.high, 0, 1), f"reach {colour}"))
            body.append(f'<circle cx="{x:.1f}" cy="{height(share.value, 0, 1):.1f}" r="4" class="dot {colour}"/>')
            body.append(text(x + 7, height(share.value, 0, 1) - 6, f"{share.value:.0%}", kind="value", anchor="start"))
    keys = "".join(key(suite, COLOURS[number % len(COLOURS)]) for number, suite in enumerate(card.suites))
    return figure("Greedy accuracy", "share of held-out problems", "".join(body), keys=keys)


def height(value: float, low: float, high: float) -> float:
    return TOP + (high - value) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)


def gridline(value: float, label: str, low: float, high: float) -> str:
    y = height(value, low, high)
    return segment(LEFT, y, WIDTH - RIGHT, y, "grid") + text(LEFT - 6, y + 4, label)


def curve_chart(stage: StageRow) -> str:
    shares = stage.measure == "reward/accuracy"
    low, high = (0.0, 1.0) if shares else (min(0.0, *stage.curve), max(stage.curve))
    labels = [low, (low + high) / 2, high]
    body = [gridline(value, f"{value:.0%}" if shares else f"{value:.2f}", low, high) for value in labels]
    step = (WIDTH - LEFT - RIGHT) / (len(stage.curve) - 1)
    points = " ".join(
        f"{LEFT + place * step:.1f},{height(value, low, high):.1f}" for place, value in enumerate(stage.curve)
    )
    body.append(f'<polyline points="{points}" class="line c1"/>')
    return figure(stage.name, "completions that are right" if shares else "training loss, nats", "".join(body))


def tax(card: Card) -> str:
    return wide(tax_chart(card.deltas)) + html_table(cards.delta_cells(card)) if card.deltas else ""


def tax_chart(deltas: Sequence[Delta]) -> str:
    """A dot with its interval for each delta, in points, around zero."""
    row, name_width = 24, 190
    reach = max(0.05, *(abs(bound) for one in deltas for bound in (one.low, one.high)))
    bottom = 12 + row * len(deltas)

    def across(value: float) -> float:
        return name_width + (value + reach) / (2 * reach) * (WIDTH - name_width - 20)

    body = [segment(across(0), 4, across(0), bottom, "zero")]
    for place, one in enumerate(deltas):
        y = 12 + row * (place + 0.5)
        colour = {"loss": "c2", "gain": "c3"}.get(one.verdict, "c1")
        body.append(text(name_width - 10, y + 4, f"{one.suite}, {one.before} to {one.stage}", kind="row-name"))
        body.append(segment(across(one.low), y, across(one.high), y, f"reach {colour}"))
        body.append(f'<circle cx="{across(one.delta):.1f}" cy="{y:.1f}" r="4" class="dot {colour}"/>')
    ends = [(-reach, "start"), (0.0, "middle"), (reach, "end")]
    body += [text(across(value), bottom + 14, f"{100 * value:+.0f}", anchor=anchor) for value, anchor in ends]
    keys = key("real gain", "c3") + key("real loss", "c2") + key("within noise", "c1")
    return figure("Change of accuracy", "points", "".join(body), height=bottom + 20, keys=keys)
