"""`python -m rewards.code`: see `rewards.code`."""

import argparse
import sys
from typing import Any

from rewards.code import Grader, asked_for, code_of
from rewards.code.sandbox import TIERS, Limits
from rewards.jsonl_server import serve


def grade_record(record: dict[str, Any], grader: Grader) -> dict[str, Any]:
    tests, entry, prompt = record.get("tests"), record.get("entry_point"), record.get("prompt")
    code, completion = record.get("code"), record.get("completion")
    well_formed = isinstance(code if code is not None else completion, str) and tests is not None
    if not well_formed or not all(isinstance(x, str | None) for x in (entry, prompt)):
        return answer(None, 0, 0, "bad_input", grader)
    if code is None:
        code = code_of(str(completion), asked_for(tests, entry))
        if code is None:
            return answer(False, 0, 0, "no_answer", grader)
    result = grader.grade(code, tests, entry, prompt)
    return answer(result.correct, result.passed, result.total, result.reason, grader)


def answer(correct: bool | None, passed: int, total: int, reason: str, grader: Grader) -> dict[str, Any]:
    return {
        "correct": correct,
        "passed": passed,
        "total": total,
        "reason": reason,
        "sandbox": grader.tier or "unavailable",
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rewards.code", description="Grade code in a sandbox, JSON lines.")
    parser.add_argument("--workers", type=int, default=2, help="candidates at once (default 2)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for all tests of one candidate (10)")
    parser.add_argument("--memory", type=int, default=1024, help="MiB of address space of a candidate (1024)")
    parser.add_argument("--tier", default="", choices=["", *TIERS], help="insist on this sandbox tier")
    parser.add_argument("--allow-unsafe", action="store_true", help="run without a sandbox where none works")
    options = parser.parse_args(argv)
    if options.workers < 1 or options.timeout <= 0 or options.memory < 64:
        parser.error("--workers must be at least 1, --timeout above 0, --memory at least 64")
    limits = Limits(seconds=options.timeout, memory=options.memory << 20)
    grader = Grader(options.workers, limits, options.allow_unsafe or options.tier == "none", options.tier)
    for tier, why in grader.sandbox.why.items():
        print(f"sandbox tier {tier} is not available: {why}", file=sys.stderr)
    print(f"sandbox tier: {grader.tier or 'unavailable (every result is sandbox_unavailable)'}", file=sys.stderr)
    try:
        return serve(sys.stdin.buffer, sys.stdout, lambda record: grade_record(record, grader), options.workers)
    finally:
        grader.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
