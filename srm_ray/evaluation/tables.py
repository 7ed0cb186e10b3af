"""Results and tax as tables of text."""

from collections.abc import Mapping

from srm_ray.console.text_table import aligned
from srm_ray.evaluation.results import Results
from srm_ray.evaluation.tax import Tax
from srm_ray.intervals import Share


def results_table(results: Results, reference: Mapping[str, float], reference_name: str) -> list[str]:
    """One line a suite: score with interval, rates, published number beside it where there is one."""
    published = any(name in reference for name in results.suites)
    header = ["suite", "metric", "score", "95 % interval", "n", "finished", "boxed", "truncated", "tokens"]
    rows = [[*header, *([reference_name or "published"] if published else [])]]
    for name, one in results.suites.items():
        length = f"{one.tokens_mean:.0f}" if one.tokens_mean is not None else "–"
        row = [name, one.metric.removesuffix(",none"), percent(one.score.value), interval(one.score), str(one.score.n)]
        row += [rate(one.finished), rate(one.boxed), rate(one.truncated), length]
        rows.append([*row, *([f"{reference[name]:.2f}" if name in reference else "–"] if published else [])])
        for metric, share in one.more.items():
            extra = ["", metric.removesuffix(",none"), percent(share.value), interval(share), str(share.n)]
            rows.append([*extra, *[""] * (len(rows[0]) - len(extra))])
        for measure, mean in one.means.items():
            extra = ["", measure, f"{mean.value:.2f}", f"[{mean.low:.2f}, {mean.high:.2f}]", str(mean.n)]
            rows.append([*extra, *[""] * (len(rows[0]) - len(extra))])
    return aligned(rows)


def tax_table(tax: Tax) -> list[str]:
    """One line a suite: parent, model, delta with its paired interval, and whether it is real."""
    rows = [["suite", "parent", "model", "delta", "95 % interval", ""]]
    marks = {"loss": "LOSS", "gain": "gain", "": "within noise"}
    for one in tax.deltas:
        between = f"[{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
        row = [one.suite, percent(one.parent.value), percent(one.model.value), f"{100 * one.delta:+.1f}", between]
        rows.append([*row, marks[one.verdict]])
    return aligned(rows)


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def interval(share: Share) -> str:
    return f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"


def rate(share: Share | None) -> str:
    return f"{100 * share.value:.1f} %" if share else "–"
