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
from dataclasses import asdict, dataclass
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
PARTS = {"sampling and grading": ("rollout", "reward"), "learning": ("learn",), "push": ("sync",)}  # names in our log
SIDES = {"trl": "TRL", "ours": "ours"}


@dataclass(frozen=True)
class Side:
    """One trainer's run. parts: seconds of a step, "step", and of what it is made of, means over the run."""

    curve: Curve
    parts: dict[str, float]


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
            ours = of_ours(words, Path(folder), until=theirs.curve[-1][1])
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


def of_trl(options: argparse.Namespace, words: list[str], folder: Path) -> Side:
    out = folder / "trl.jsonl"
    own = {name: getattr(options, name) for name in OPTIONS}
    given = [word for name, value in (own | {"json": out}).items() for word in (f"--{name}", str(value))]
    subprocess.run(
        [options.trl, "-m", "srm_ray.bench.trl_trainer", *given, *words],
        check=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    last = lines[-1]
    parts = {"step": last["seconds"], "sampling and grading": last["sampling"]}
    parts["learning"] = last["seconds"] - last["sampling"]
    curve = [(line["seconds"], line["accuracy"]) for line in lines]
    return Side(curve, {name: seconds / max(1, last["step"]) for name, seconds in parts.items()})


def of_ours(words: list[str], folder: Path, until: float) -> Side:
    """Ends the run, in order, once it has an accuracy of `until`."""
    run = folder / "run"
    command = [sys.executable, "-m", "srm_ray.grpo", *words, "--run_dir", str(run)]
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(1)
            if any(accuracy >= until for _, accuracy in curve_of(steps_of(run))):
                process.terminate()
                process.wait()
    steps = steps_of(run)
    parts = {name: sum(line[f"time/{one}"] for line in steps for one in made_of) for name, made_of in PARTS.items()}
    parts["step"] = sum(line["time/step"] for line in steps)
    return Side(curve_of(steps), {name: seconds / max(1, len(steps)) for name, seconds in parts.items()})


def steps_of(run: Path) -> list[dict[str, Any]]:
    """Of a run that goes on, those that it has taken."""
    metrics = run / "metrics.jsonl"
    return [line for line in read(metrics) if "time/step" in line] if metrics.exists() else []


def curve_of(steps: list[dict[str, Any]]) -> Curve:
    seconds = accumulate(line["time/step"] for line in steps)
    return [
        (spent, line["eval/accuracy"]) for spent, line in zip(seconds, steps, strict=True) if "eval/accuracy" in line
    ]


def compared(theirs: Side, ours: Side) -> dict[str, Any]:
    """reached: seconds to TRL's last accuracy; None where ours never had it."""
    final = theirs.curve[-1][1]
    first = next(seconds for seconds, accuracy in theirs.curve if accuracy >= final)
    reached = next((seconds for seconds, accuracy in ours.curve if accuracy >= final), None)
    ratio = None if reached is None or not first else reached / first
    sides = {"trl": asdict(theirs), "ours": asdict(ours)}
    return {"final": final, "trl_seconds": first, "seconds": reached, "ratio": ratio, **sides}


def described(pair: dict[str, Any]) -> str:
    steps = "; ".join(f"a step of {name}: {in_parts(pair[side]['parts'])}" for side, name in SIDES.items())
    theirs = f"TRL ends at {pair['final']:.1%}, had it after {pair['trl_seconds']:.1f} s"
    if pair["seconds"] is None:
        best = max((accuracy for _, accuracy in pair["ours"]["curve"]), default=0)
        return f"{theirs}; ours never had it, {best:.1%} at best; {steps}"
    return f"{theirs}, ours after {pair['seconds']:.1f} s; {steps}"


def in_parts(parts: dict[str, float]) -> str:
    made_of = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items() if name != "step")
    return f"{parts['step']:.2f} s ({made_of})"


if __name__ == "__main__":
    sys.exit(main())
