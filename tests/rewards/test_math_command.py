"""`python -m rewards.math`: order, streaming, bad lines, completions."""

# ruff: noqa: E501

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewards.jsonl_server import answer
from tests.rewards.hostile_answers import HOSTILE

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "rewards.math"]


def run(lines: list[str | bytes], *options: str) -> list[dict]:  # type: ignore[type-arg]
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    done = subprocess.run([*COMMAND, *options], input=data, cwd=ROOT, capture_output=True, timeout=560)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_order_and_bad_lines() -> None:
    lines: list[str | bytes] = [
        json.dumps({"answer": r"\sqrt{16}", "gold": "4"}),
        "nonsense",
        json.dumps({"answer": "1/2", "gold": "0.5"}),
        json.dumps({"answer": 3, "gold": "3"}),
        b"\xff\xfe",
        json.dumps({"completion": r"<think>x</think>\boxed{7}", "gold": "7"}),
        json.dumps({"completion": "it is 7", "gold": "7"}),
        json.dumps(["a"]),
        "",
        json.dumps({"answer": "5", "gold": "6"}),
        "[" * 100_000,
        '{"answer": "\\ud800", "gold": "1"}',
    ]
    results = run(lines, "--workers", "2")
    assert [r["reason"] for r in results] == [
        "correct", "bad_input", "correct", "bad_input", "bad_input", "correct", "no_answer", "bad_input", "wrong", "bad_input", "rejected_syntax",
    ]  # fmt: skip
    assert [r.get("line") for r in results] == [None, 2, None, 4, 5, None, None, 8, None, 11, None]
    assert all(isinstance(r["seconds"], float) for r in results)
    assert [r["reason"] for r in run([lines[6]], "--last-number")] == ["correct"]


def test_a_bad_line_says_what_is_wrong_with_it() -> None:
    lines: list[str | bytes] = [
        json.dumps({"answer": "3"}),
        json.dumps({"answer": "3", "gold": None}),
        json.dumps({"answer": "3", "gold": ["3"]}),
        json.dumps({"answer": 3, "gold": "3"}),
        json.dumps({"completion": {}, "gold": "3"}),
        json.dumps({"gold": "3"}),
        json.dumps({"answer": "3", "completion": "3", "gold": "3"}),
        json.dumps({"answer": "3", "gold": "3", "question": 3}),
        json.dumps([]),
        '{"answer": ',
        b"\xff\xfe",
        '{"answer": "3", "gold": NaN}',
    ]
    results = run(lines)
    assert {r["reason"] for r in results} == {"bad_input"}
    for result, words in zip(
        results,
        [
            ["gold", "missing"], ["gold", "null"], ["gold", "list"], ["answer", "number"], ["completion", "object"],
            ["neither", "found gold"], ["answer and completion"], ["question", "number"], ["object", "list"], ["JSON", "column"],
            ["UTF-8"], ["gold", "got nan"],
        ],
        strict=True,
    ):  # fmt: skip
        assert all(word in result["error"] for word in words), result


def test_a_gold_that_cannot_be_read_says_so() -> None:
    results = run([json.dumps({"answer": "3", "gold": gold}) for gold in ("", r"\frac{1}{", "1" * 5000)])
    assert [r["reason"] for r in results] == ["bad_gold"] * 3
    for result, words in zip(results, ("gold: empty", "gold: not read as mathematics", "gold: too long"), strict=True):
        assert words in result["error"] and "line" in result


def test_a_gold_may_be_a_number_and_a_line_may_have_its_question() -> None:
    lines: list[str | bytes] = [
        json.dumps({"answer": "18", "gold": 18}),
        json.dumps({"answer": "1/2", "gold": 0.5}),
        json.dumps({"completion": r"So \boxed{60\%}.", "gold": "60", "question": "What percentage is red?"}),
        json.dumps({"completion": r"So \boxed{60\%}.", "gold": "60", "question": "What is 20% of 300?"}),
        json.dumps({"answer": "8/2", "gold": "4", "prompt": [{"role": "user", "content": "What is 8/2?"}]}),
        json.dumps({"answer": "47+36+29", "gold": "112", "prompt": "What is 47+36+29?"}),
    ]
    assert [r["reason"] for r in run(lines)] == ["correct", "correct", "correct", "wrong", "unevaluated", "unevaluated"]


def test_each_line_comes_out_as_soon_as_its_turn_is_decided() -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        for n in (1, 2, 3):
            process.stdin.write(json.dumps({"answer": str(n), "gold": "2"}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["correct"] is (n == 2)
        process.stdin.close()
    assert process.returncode == 0


def test_hostile_lines() -> None:
    lines: list[str | bytes] = [json.dumps({"answer": text, "gold": "12"}) for text in HOSTILE]
    start = time.monotonic()
    results = run(lines, "--timeout", "2")
    assert len(results) == len(HOSTILE) and not any(r["correct"] for r in results)
    assert "grader_error" not in {r["reason"] for r in results}
    assert time.monotonic() - start < 120


def test_a_reader_that_goes_away_ends_it() -> None:
    many = "\n".join(json.dumps({"answer": "1", "gold": "2"}) for _ in range(50_000)).encode()
    with subprocess.Popen(
        COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.close()
        try:
            process.stdin.write(many)
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.wait(300) is not None


def test_a_defect_of_the_grader_is_reported_and_the_stream_goes_on() -> None:
    def broken(record: dict) -> dict:  # type: ignore[type-arg]
        raise RuntimeError("defect")

    assert answer(b"{}", 1, broken)["reason"] == "grader_error"
    assert answer(b"{}", 1, broken)["correct"] is None


@pytest.mark.parametrize("options", [["--workers", "0"], ["--timeout", "-1"], ["--nonsense"]])
def test_wrong_options_end_with_status_2(options: list[str]) -> None:
    done = subprocess.run([*COMMAND, *options], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "error" in done.stderr
