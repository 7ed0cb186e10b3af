"""Benchmarks of the graders: math pairs beside Math-Verify, sandboxed code candidates a second."""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rewards.code import Grader
from srm_ray.bench import math_grader
from srm_ray.errors import UserError

SQUARE = "def f(x):\n    return x * x\n"
SQUARE_TESTS = [{"fn": "f", "args": [n], "expected": n * n} for n in (7, -2, 0)]


def candidates_per_second(cores: int = 2, count: int = 400, tier: str = "") -> dict[str, Any]:
    """Throughput of the sandbox: `count` candidates with three calls each, `cores` at once."""
    grader = Grader(cores, only=tier)
    try:
        with ThreadPoolExecutor(cores) as threads:
            jobs = [SQUARE] * count
            list(threads.map(lambda code: grader.grade(code, SQUARE_TESTS), jobs[: 4 * cores]))
            start = time.perf_counter()
            results = list(threads.map(lambda code: grader.grade(code, SQUARE_TESTS), jobs))
            seconds = time.perf_counter() - start
        correct = sum(result.correct is True for result in results)
        return {"tier": grader.tier, "candidates": count, "correct": correct, "candidates_per_second": count / seconds}
    finally:
        grader.close()


def measure(data: Path | None = None) -> dict[str, Any]:
    """All numbers. Raises `UserError` when the data folder lacks the gold answers."""
    try:
        math = math_grader.measure(data or math_grader.default_data())
    except FileNotFoundError as error:
        raise UserError(f"--data: {error.filename} is missing") from None
    return {"math": math, "code": {tier: candidates_per_second(tier=tier) for tier in ("bubblewrap", "landlock")}}


def run(argv: list[str]) -> int:
    """`--data FOLDER`: print the numbers as JSON."""
    parser = argparse.ArgumentParser(prog="python -m srm_ray.bench rewards")
    parser.add_argument("--data", default="", help="folder with gsm8k/ and math500/")
    given = parser.parse_args(argv).data
    print(json.dumps(measure(Path(given) if given else None), indent=2))
    return 0
