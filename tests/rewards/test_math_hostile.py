"""Hostile answers: nothing runs, hangs, or takes more than it may; any text gets a verdict."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import rewards.math.grader
from rewards import extract
from rewards.math import normalize, worker
from rewards.math.grader import Grader
from rewards.sandbox.processes import Pool
from rewards.verdict import REASONS, Verdict
from tests.rewards.hostile_answers import HOSTILE

TIMEOUT = 3.0


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    ours = Grader(1, timeout=TIMEOUT)
    ours.warm()
    yield ours
    ours.close()


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_there_are_sixty_of_our_own() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 80


@pytest.mark.integration
def test_each_gets_a_verdict_in_time_and_none_runs(
    grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    surprises = []
    for text in HOSTILE:
        for answer, gold in ((text, "12"), (text, r"\frac{x}{12}")):
            start = time.monotonic()
            verdict = grader.equivalent(answer, gold)
            seconds = time.monotonic() - start
            if (
                verdict.correct
                or verdict.reason not in REASONS
                or seconds > 20 * TIMEOUT
                or verdict.reason == "grader_error"
            ):
                surprises.append((text[:60], gold, verdict, seconds))
    assert not surprises
    assert not list(tmp_path.iterdir())
    assert all(resident(pid) < 600 << 20 for pid in grader.pids())
    assert grader.equivalent(r"\frac{24}{2}", r"\sqrt{144}").correct is True


@pytest.mark.integration
def test_each_gets_a_verdict_as_a_gold_too(grader: Grader) -> None:
    for text in HOSTILE:
        assert grader.equivalent("12", text).correct is not True, text[:60]


@pytest.mark.integration
def test_each_inside_a_completion(grader: Grader) -> None:
    for text in HOSTILE:
        for completion in (rf"<think>a</think>\boxed{{{text}}}", f"The final answer is {text}"):
            reward = grader.score(completion, "123456789")
            assert reward.value == 0.0 and reward.correct is not True and reward.reason in REASONS, text[:60]


def test_extraction_is_linear() -> None:
    for piece in (
        r"\boxed{",
        "{",
        "}",
        r"\boxed{}",
        "answer is ",
        "final answer ",
        "1 ",
        "$",
        "**Final Answer:** ",
        "<think>",
        "</think>",
    ):
        seconds = []
        for times in (20_000, 100_000):
            start = time.process_time()
            extract.final_answers(piece * times, allow_last_number=True)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 12 * seconds[0] + 0.5, (piece, seconds)  # by the square it were 25 times


def test_what_runs_in_the_callers_process_is_linear() -> None:
    """Pieces that a regular expression could read in many ways, in answers as long as are read at all."""
    pieces = [
        r"\text{",
        r"\text{1",
        "1",
        "ﷺ",
        "ﷺ1",
        "½",
        "{,}",
        "1 ",
        "1,",
        "^ ",
        r"\circ ",
        "~",
        "\\",
        "*",
        "`",
        r"\(",
    ]
    pieces += ["€", "1€", "\\frac1", r"\boxed ", "≈", r"\,1", "a ", "√", "²", "…", "answer ", "答案", "$1", r"\mathrm{"]
    start = time.process_time()
    for piece in pieces:
        for whole in (piece * 4000, r"\text{" + piece * 4000, "1" + piece * 4000 + "}", r"\text{1ﷺ" + piece * 4000):
            for text in (
                whole[:4000],
                whole[:3999] + "x",
                r"\text{answer" + whole[:3900] + "x",
                whole[:3980] + r"(\mod",
            ):
                assert rewards.math.grader.quick(text, "112") != Verdict(True, "correct")
                rewards.math.grader.quick("112", text)
    assert time.process_time() - start < 120


def test_what_grows_when_it_is_spelled_out_is_too_long() -> None:
    assert rewards.math.grader.quick(r"\text{1" + "ﷺ" * 3000, "1") == Verdict(False, "too_long")


@pytest.mark.integration
def test_a_hung_comparison_is_killed_and_replaced() -> None:
    pool = Pool("tests.rewards.hanging:serve", ["tests.rewards.hanging"])
    try:
        start = time.monotonic()
        replies = pool.run(["quick", "hang", "quick", "exit", "memory", "quick"], timeout=1.0)
        assert [getattr(reply, "reason", reply) for reply in replies] == [
            "ok",
            "timeout",
            "ok",
            "worker_died",
            "MemoryError",
            "ok",
        ]
        assert time.monotonic() - start < 120
        assert pool.replaced >= 2
    finally:
        pool.close()


@pytest.mark.integration
def test_killed_processes_cost_no_verdict(grader: Grader) -> None:
    pairs = [(rf"\sqrt{{{n * n}}}", str(n)) for n in range(1, 40)]
    assert all(verdict.correct for verdict in grader.grade(pairs))
    for pid in grader.pids():
        os.kill(pid, 9)
    assert all(verdict.correct for verdict in grader.grade(pairs))
    forkserver = grader.own.forkserver.process
    assert forkserver is not None
    forkserver.kill()
    assert all(verdict.correct for verdict in grader.grade(pairs))


@pytest.mark.integration
def test_a_closed_grader_reports_null() -> None:
    ours = Grader(1)
    assert ours.equivalent(r"\sqrt{4}", "2").correct is True
    ours.close()
    verdict = ours.equivalent(r"\sqrt{9}", "3")
    assert verdict.correct in (None, True)
    ours.close()


# Any text at all

LATEX = st.sampled_from(
    [
        r"\frac",
        r"\sqrt",
        r"\pi",
        r"{",
        r"}",
        r"{",
        r"}",
        r"(",
        r")",
        r"[",
        r"]",
        r"^",
        r"_",
        r"+",
        r"-",
        r"*",
        r"/",
        r"=",
        r"<",
        r">",
        r",",
        r".",
        r"!",
        r"%",
        r"|",
        r"&",
        r"\\",
        r"\{",
        r"\}",
        r"\left",
        r"\right",
        r"\cup",
        r"\cap",
        r"\in",
        r"\infty",
        r"\pm",
        r"\text{",
        r"\sin",
        r"\log",
        r"\begin{pmatrix}",
        r"\end{pmatrix}",
        r"\overline{",
        r"\circ",
        r"\binom",
        r"\le",
        r"x",
        r"y",
        r"n",
        r"1",
        r"2",
        r"3",
        r"10",
        r"0.5",
        r"e",
        r"i",
        r"\$",
        r";",
        r":",
        r"'",
        r"and",
        r"or",
        r"cm",
        r"\boxed{",
    ]
)
SETTINGS = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.integration
@SETTINGS
@given(st.text(max_size=60), st.text(max_size=20))
@example("\ud800", "1")
@example("1\0", "1")
def test_any_unicode_gets_a_verdict(grader: Grader, answer: str, gold: str) -> None:
    verdict = grader.equivalent(answer, gold)
    assert verdict.reason in REASONS - {"grader_error", "worker_died"}


@pytest.mark.integration
@SETTINGS
@given(st.lists(LATEX, max_size=25).map(" ".join), st.lists(LATEX, max_size=6).map("".join))
def test_random_latex_gets_a_verdict_the_same_both_ways(grader: Grader, answer: str, gold: str) -> None:
    one, other = grader.equivalent(answer, gold), grader.equivalent(gold, answer)
    assert one.reason in REASONS - {"grader_error", "worker_died"}
    if "%" not in answer + gold:
        assert bool(one.correct) == bool(other.correct)


@pytest.mark.integration
@SETTINGS
@given(st.lists(LATEX, max_size=25).map(" ".join))
def test_what_is_read_equals_itself(grader: Grader, text: str) -> None:
    verdict = grader.equivalent(text, text)
    assert verdict.correct is True or not normalize.clean(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.fractions(), st.fractions())
def test_rationals_are_exact(left, right) -> None:  # type: ignore[no-untyped-def]
    spellings = (f"{left}", rf"\frac{{{left.numerator}}}{{{left.denominator}}}", f"{left.numerator}/{left.denominator}")
    for spelling in spellings:
        verdict = rewards.math.grader.quick(spelling, str(right))
        assert verdict is None or verdict.correct == (left == right)
        assert worker.compare_pair(normalize.clean(spelling), normalize.clean(str(right)))[0] == (left == right)
