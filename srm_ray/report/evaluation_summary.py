"""How an evaluation ends for a person: tables, a few graded completions, summary.json, the report."""

import os
import shutil
from pathlib import Path

from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.console.progress import duration, echo
from srm_ray.evaluation.results import Results
from srm_ray.evaluation.samples import read
from srm_ray.evaluation.tables import results_table, tax_table
from srm_ray.evaluation.tax import Tax
from srm_ray.report.page import write_report
from srm_ray.runs.folder import RunFolder


def conclude(config: EvaluateConfig, folder: RunFolder, results: Results, tax: Tax | None, seconds: float) -> None:
    """Tables, a few samples, the summary and the report."""
    folder.write_summary(
        {
            "steps": 0,
            "wall_seconds": seconds,
            "model": results.model,
            "scores": {name: one.score.to_plain() for name, one in results.suites.items()},
            "real_losses": tax.losses if tax else None,
        }
    )
    for name in results.suites:
        show_samples(folder, name, config.shown)
    reference = config.reference
    echo(f"\n{results.model}")
    echo("\n".join(results_table(results, reference.scores, reference.name)))
    if tax:
        echo(f"\nagainst {tax.parent} (delta in points, paired bootstrap)")
        echo("\n".join(tax_table(tax)))
        echo(f"real losses: {', '.join(tax.losses) or 'none'}")
    echo(f"\n{duration(seconds)}; samples and results in {folder.path}")
    echo(f"report {write_report(folder)}")


def link_samples(folder: RunFolder, names: list[str]) -> None:
    """Show the samples to the report's viewer as the rollouts of step 1, 2, ..., one a suite."""
    shutil.rmtree(folder.rollouts, ignore_errors=True)
    folder.rollouts.mkdir()
    for number, name in enumerate(names, 1):
        os.symlink(Path("..") / "samples" / f"{name}.jsonl", folder.rollouts / f"step_{number:06d}.jsonl")


def show_samples(folder: RunFolder, name: str, count: int) -> None:
    for line in read(folder.path / "samples" / f"{name}.jsonl")[:count]:
        echo(f"\n--- {name} {line['prompt_index']}, gold {line['gold']}")
        echo(line["prompt"] + line["completion"])
        echo(f"--- graded: {line['reason']}")
