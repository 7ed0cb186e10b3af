"""`python -m rewards.code`: see `rewards.code`."""

import argparse
import sys
from typing import Any

from rewards.code import Grader, Result
from rewards.code.forms import named, of_row
from rewards.code.output import TOLERANCE
from rewards.code.sandbox import TIERS, Limits
from rewards.jsonl_server import serve


def grade_record(record: dict[str, Any], grader: Grader) -> dict[str, Any]:
    tests, entry, prompt = of_row(record)
    wrong = problem_with(record, tests, entry)
    if wrong:
        return answer(Result(None, 0, 0, "bad_input", "", 0.0, wrong), grader)
    if record.get("code") is not None:
        return answer(grader.grade(record["code"], tests, entry, prompt), grader)
    return answer(grader.answer(record["completion"], tests, entry, prompt), grader)


def problem_with(record: dict[str, Any], tests: Any, entry: Any) -> str:
    """What is wrong with the fields of a line, or ""."""
    field = "code" if record.get("code") is not None else "completion"
    if record.get(field) is None:
        return f"code or completion is missing (found {', '.join(record) or 'nothing'})"
    for name, value in ((field, record[field]), ("entry_point", entry), ("prompt", record.get("prompt"))):
        if not isinstance(value, str | None):
            return f"{name} must be text, got {named(value)}"
    return "" if tests is not None else f"tests are missing (found {', '.join(record)})"


def answer(result: Result, grader: Grader) -> dict[str, Any]:
    return {
        "correct": result.correct,
        "passed": result.passed,
        "total": result.total,
        "reason": result.reason,
        **({"error": result.detail} if result.detail else {}),
        "sandbox": grader.tier or "unavailable",
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rewards.code", description="Grade code in a sandbox, JSON lines.")
    parser.add_argument("--workers", type=int, default=2, help="candidates at once (default 2)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for all tests of one candidate (10)")
    parser.add_argument("--memory", type=int, default=1024, help="MiB of address space of a candidate (1024)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="of numbers that programs print (1e-6)")
    parser.add_argument("--tier", default="", choices=["", *TIERS], help="insist on this sandbox tier")
    parser.add_argument("--allow-unsafe", action="store_true", help="run without a sandbox where none works")
    options = parser.parse_args(argv)
    if options.workers < 1 or options.timeout <= 0 or options.memory < 64:
        parser.error("--workers must be at least 1, --timeout above 0, --memory at least 64")
    limits = Limits(seconds=options.timeout, memory=options.memory << 20)
    grader = Grader(
        options.workers, limits, options.allow_unsafe or options.tier == "none", options.tier, options.tolerance
    )
    for tier, why in grader.sandbox.why.items():
        print(f"sandbox tier {tier} is not available: {why}", file=sys.stderr)
    print(f"sandbox tier: {grader.tier or 'unavailable (every result is sandbox_unavailable)'}", file=sys.stderr)
    if grader.sandbox.gaps:
        print(f"it does not stop: {'; '.join(grader.sandbox.gaps)}", file=sys.stderr)
    try:
        return serve(sys.stdin.buffer, sys.stdout, lambda record: grade_record(record, grader), options.workers)
    finally:
        grader.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
