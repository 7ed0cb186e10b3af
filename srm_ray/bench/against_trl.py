"""Time to the accuracy that TRL's GRPO trainer ends with: TRL and ours from one model, in turn, median of the ratios.

    base model -> TRL for so many seconds of steps -> its last accuracy A, and when it first had it
               -> ours, the same rewards, batch and learning rate -> when it first had A

    python -m srm_ray.bench.against_trl --trl trl/bin/python --runs 3 --seconds 120 --seed 2 --eval.every 5

Options that are not its own are those of srm_ray.grpo, for both sides; `srm_ray.bench.trl_trainer` says how the
environment of --trl is made. Runs differ in their seed, not in the model. Seconds are those of training steps on both
sides. Ours stops once it has reached A.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from srm_ray.bench.trl_trainer import OPTIONS, add_options, with_recipe
from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console.command import interactive
from srm_ray.errors import UserError
from srm_ray.runs.metrics import read

Curve = list[tuple[float, float]]  # seconds of steps and accuracy, of one evaluation each


@interactive
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m srm_ray.bench.against_trl", description=__doc__.splitlines()[0])
    parser.add_argument("--trl", required=True, help="Python of an environment with TRL")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs")
    add_options(parser)
    parser.add_argument("--json", default="", help="also write the numbers to this file")
    options, others = parser.parse_known_args(argv)
    if not Path(options.trl).is_file():
        raise UserError(f"--trl {options.trl}: no such file; it is the Python of an environment with TRL in it")
    others = with_recipe(others)
    config = parse(GRPOConfig, others, stage="grpo")
    if not config.eval.every:
        raise UserError("--eval.every N is needed: when ours reaches an accuracy is known as of its evaluations")
    if not config.model:
        others += ["--model", base_model(config)]
    pairs = []
    for run in range(options.runs):
        words = [*others, "--seed", str(config.seed + run)]
        with tempfile.TemporaryDirectory() as folder:
            theirs = of_trl(options, words, Path(folder))
            ours = of_ours(words, Path(folder), until=theirs[-1][1])
        pairs.append(compared(theirs, ours))
        print(f"run {run + 1}: {described(pairs[-1])}", flush=True)
    ratios = [pair["ratio"] for pair in pairs if pair["ratio"] is not None]
    if len(ratios) == len(pairs):
        print(f"ours takes {median(ratios):.2f} of TRL's time, median of {len(ratios)}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(pairs, indent=2))
    return 0


def base_model(config: GRPOConfig) -> str:
    """The demo's, of the seed."""
    from actors.runtime import cluster, compute
    from actors.train.warm_start import make_base_model
    from srm_ray.files.roots import cache_root

    cluster.connect()
    try:
        precision = compute.settle_learner(config).learner.precision
        return str(make_base_model(cache_root() / "tiny-base", seed=config.seed, precision=precision))
    finally:
        cluster.disconnect()


def of_trl(options: argparse.Namespace, words: list[str], folder: Path) -> Curve:
    out = folder / "trl.jsonl"
    own = {name: getattr(options, name) for name in OPTIONS}
    given = [word for name, value in (own | {"json": out}).items() for word in (f"--{name}", str(value))]
    subprocess.run(
        [options.trl, "-m", "srm_ray.bench.trl_trainer", *given, *words],
        check=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    return [(line["seconds"], line["accuracy"]) for line in map(json.loads, out.read_text().splitlines())]


def of_ours(words: list[str], folder: Path, until: float) -> Curve:
    """Ends the run, in order, once it has an accuracy of `until`."""
    run = folder / "run"
    command = [sys.executable, "-m", "srm_ray.grpo", *words, "--run_dir", str(run)]
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(1)
            if any(accuracy >= until for _, accuracy in measured(run / "metrics.jsonl")):
                process.terminate()
                process.wait()
    return measured(run / "metrics.jsonl")


def measured(metrics: Path) -> Curve:
    lines = [line for line in read(metrics) if "time/step" in line] if metrics.exists() else []
    seconds = accumulate(line["time/step"] for line in lines)
    return [
        (spent, line["eval/accuracy"]) for spent, line in zip(seconds, lines, strict=True) if "eval/accuracy" in line
    ]


def compared(theirs: Curve, ours: Curve) -> dict[str, Any]:
    """reached: seconds to TRL's last accuracy; None where ours never had it."""
    final = theirs[-1][1]
    first = next(seconds for seconds, accuracy in theirs if accuracy >= final)
    reached = next((seconds for seconds, accuracy in ours if accuracy >= final), None)
    ratio = None if reached is None or not first else reached / first
    return {"final": final, "trl_seconds": first, "seconds": reached, "ratio": ratio, "trl": theirs, "ours": ours}


def described(pair: dict[str, Any]) -> str:
    theirs = f"TRL ends at {pair['final']:.1%}, had it after {pair['trl_seconds']:.1f} s"
    if pair["seconds"] is None:
        return f"{theirs}; ours never had it, {max((accuracy for _, accuracy in pair['ours']), default=0):.1%} at best"
    return f"{theirs}, ours after {pair['seconds']:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
