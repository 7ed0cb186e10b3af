"""JSON lines in, JSON lines out: answers or completions and golds, and the math grader's verdicts on them.

    python -m rewards.math [--workers N] [--timeout S] [--last-number]

In: {"answer": ..., "gold": ...} or {"completion": ..., "gold": ...}, each with the text of its "question" where it
has one (or "prompt", a string or a list of messages). Out, in order: {"correct": true|false|null, "reason": "...",
"seconds": ...}; a line that cannot be graded also says its number and what is wrong with it ("error").
"""

import argparse
import math
import sys
from typing import Any

from rewards.jsonl_server import BadInput, kind_of, serve
from rewards.math import normalize
from rewards.math.grader import TIMEOUT, Grader
from rewards.verdict import Verdict


def grade_record(record: dict[str, Any], grader: Grader, allow_last_number: bool) -> Verdict:
    """Raises `BadInput` naming the field that is missing or of another type."""
    fields = [name for name in ("answer", "completion") if name in record]
    if len(fields) != 1:
        found = f"neither (found {', '.join(record) or 'nothing'})"
        raise BadInput(f'one of "answer" and "completion" is expected, got {" and ".join(fields) or found}')
    text = record[fields[0]]
    if not isinstance(text, str):
        raise BadInput(f"{fields[0]}: a string is expected, got {kind_of(text)}")
    gold, question = gold_of(record), question_of(record)
    if fields == ["answer"]:
        return grader.equivalent(text, gold, question)
    reward = grader.score(text, gold, question, allow_last_number=allow_last_number)
    return Verdict(reward.correct, reward.reason)


def gold_of(record: dict[str, Any]) -> str:
    """The gold, which may be a JSON number."""
    if "gold" not in record:
        raise BadInput("gold is missing")
    gold = record["gold"]
    if isinstance(gold, int | float) and not isinstance(gold, bool) and math.isfinite(gold):
        return str(gold)
    if isinstance(gold, float):
        raise BadInput(f"gold: a string or a number is expected, got {gold}")
    if not isinstance(gold, str):
        raise BadInput(f"gold: a string or a number is expected, got {kind_of(gold)}")
    return gold


def said_of(gold: str) -> str:
    """What is wrong with a gold that could not be read."""
    reason = normalize.check(gold)
    what = "empty" if not gold.strip() else reason.replace("_", " ") if reason else "not read as mathematics"
    return f"gold: {what}, {gold[:60]!r}"


def question_of(record: dict[str, Any]) -> str:
    """The question's text: `question`, or `prompt`, whose messages by the user are put together; "" without one."""
    name = "question" if record.get("question") is not None else "prompt"
    given = record.get(name)
    if given is None:
        return ""
    if isinstance(given, list) and all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in given):
        return "\n".join(one["content"] for one in given if one.get("role") == "user")
    if not isinstance(given, str):
        raise BadInput(f"{name}: a string or a list of messages is expected, got {kind_of(given)}")
    return given


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rewards.math", description="Grade math answers, JSON lines.")
    parser.add_argument("--workers", type=int, default=2, help="pairs compared at once (default 2)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help=f"seconds a comparison may take ({TIMEOUT})")
    parser.add_argument("--last-number", action="store_true", help="take the last number where none is announced")
    options = parser.parse_args(argv)
    if options.workers < 1 or options.timeout <= 0:
        parser.error("--workers must be at least 1 and --timeout above 0")
    grader = Grader(options.workers, options.timeout)
    try:

        def grade(record: dict[str, Any]) -> dict[str, Any]:
            verdict = grade_record(record, grader, options.last_number)
            wrong = {"error": said_of(gold_of(record))} if verdict.reason == "bad_gold" else {}
            return {"correct": verdict.correct, "reason": verdict.reason, **wrong}

        return serve(sys.stdin.buffer, sys.stdout, grade, options.workers)
    finally:
        grader.close()


sys.exit(main(sys.argv[1:]))
