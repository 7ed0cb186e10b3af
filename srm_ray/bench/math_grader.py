"""How fast the math grader is, beside Math-Verify on the same pairs in the same run.

Pairs: every gold of MATH-500 and of GSM8K's test set against itself in another spelling, and against
another gold. Each pair is graded as a caller would, through `Grader.equivalent` with warm processes;
Math-Verify's time is parse + parse + verify in this process, without its time limits.
"""

import argparse
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rewards import extract
from rewards.math.grader import Grader

Pair = tuple[str, str]


def golds(folder: Path) -> dict[str, list[str]]:
    """Gold answers by data set. Raises FileNotFoundError naming the missing file."""
    math = [extract.boxed(row["answer"])[-1] for row in read(folder / "math500" / "test.jsonl")]
    gsm = [row["answer"].split("####")[-1].strip() for row in read(folder / "gsm8k" / "test.jsonl")]
    return {"math500": math, "gsm8k": gsm}


def read(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return [json.loads(line) for line in file]


def pairs_of(answers: list[str], seed: int = 3407) -> list[Pair]:
    """Each gold, respelled, against itself, and against another gold."""
    shuffled = answers[:]
    random.Random(seed).shuffle(shuffled)
    return [(respelled(a), a) for a in answers] + list(zip(shuffled, answers, strict=True))


def respelled(text: str) -> str:
    """The same answer in a spelling that another model might choose."""
    return text.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)") + "."


def timed(grade: Callable[[Pair], object], pairs: Sequence[Pair]) -> list[float]:
    """Seconds for each pair, sorted."""
    seconds = []
    for pair in pairs:
        start = time.perf_counter()
        grade(pair)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)


def summary(seconds: list[float]) -> dict[str, float]:
    last = len(seconds) - 1
    median, p99 = seconds[last // 2], seconds[round(0.99 * last)]
    return {"median_ms": 1e3 * median, "p99_ms": 1e3 * p99, "max_ms": 1e3 * seconds[last]}


def math_verify() -> Callable[[Pair], object]:
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def grade(pair: Pair) -> object:
        answer, gold = (parse(f"${text}$", parsing_timeout=None) for text in pair)
        return verify(gold, answer, timeout_seconds=None)

    return grade


def measure(folder: Path, cores: int = 2, most: int = 3000) -> dict[str, dict[str, float]]:
    """Per data set: median, p99 and largest time a pair (ms), pairs a second, and Math-Verify's median and p99."""
    grader = Grader(cores)
    other = math_verify()
    results = {}
    try:
        for name, answers in golds(folder).items():
            pairs = pairs_of(answers)[:most]
            grader.warm()
            grader.grade(pairs[:50])
            other(pairs[0])
            ours = summary(timed(lambda pair: grader.equivalent(*pair), pairs))
            theirs = summary(timed(other, pairs))
            start = time.perf_counter()
            with ThreadPoolExecutor(cores) as threads:
                list(threads.map(grader.grade, [pairs[n::cores] for n in range(cores)]))
            rate = len(pairs) / (time.perf_counter() - start)
            rival = {f"math_verify_{key}": value for key, value in theirs.items()}
            results[name] = {"pairs": len(pairs), **ours, "pairs_per_second": rate, **rival}
    finally:
        grader.close()
    return results


def default_data() -> Path:
    return Path(__file__).resolve().parents[3] / "shared" / "data"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m srm_ray.bench.math_grader", description=__doc__)
    parser.add_argument("--data", default="", help="folder with gsm8k/test.jsonl and math500/test.jsonl")
    folder = Path(parser.parse_args(argv).data or default_data())
    try:
        results = measure(folder)
    except FileNotFoundError as error:
        print(f"error: --data {folder}: {error.filename} is missing", file=sys.stderr)
        return 2
    for name, numbers in results.items():
        print(name, json.dumps({key: round(value, 3) for key, value in numbers.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
