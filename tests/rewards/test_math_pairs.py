"""What equals what: the table of pairs, both ways; real golds; Math-Verify's errors, not repeated."""

import random
from collections.abc import Iterator

import pytest

from rewards import extract
from rewards.math.grader import Grader, Verdict
from tests.rewards.pairs import SAME
from tests.rewards.pairs_apart import DIFFERENT, PERCENT
from tests.rewards.shared_data import rows


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    ours = Grader(2)
    yield ours
    ours.close()


def disagreements(
    grader: Grader, pairs: list[tuple[str, str]], expected: bool
) -> list[tuple[tuple[str, str], Verdict]]:
    return [(p, v) for p, v in zip(pairs, grader.grade(pairs), strict=True) if v.correct is not expected]


def test_the_table_is_large_and_balanced() -> None:
    assert len(SAME) + len(DIFFERENT) + len(PERCENT) >= 300
    assert 0.8 <= len(SAME) / len(DIFFERENT) <= 1.25
    assert len({(a, g) for a, g, _ in SAME + DIFFERENT}) == len(SAME + DIFFERENT)


@pytest.mark.integration
@pytest.mark.parametrize("way", [1, -1], ids=["as written", "turned round"])
def test_same(grader: Grader, way: int) -> None:
    assert disagreements(grader, [(a, g) if way == 1 else (g, a) for a, g, _ in SAME], True) == []


@pytest.mark.integration
def test_different(grader: Grader) -> None:
    assert disagreements(grader, [(a, g) for a, g, _ in DIFFERENT], False) == []


@pytest.mark.integration
def test_different_turned_round(grader: Grader) -> None:
    """A gold that cannot be read decides nothing: `None` is right there, and only for the junk of the table."""
    wrong = disagreements(grader, [(g, a) for a, g, _ in DIFFERENT], False)
    assert [(pair, verdict) for pair, verdict in wrong if verdict.reason != "bad_gold"] == []
    unreadable = {
        "",
        "5?6",
        r"\frac{1}{2",
        "{}",
        r"\text{}",
        "()",
        "5; rm -rf /",
        "5 # 6",
        "5\u200b5",
        "\u202e21",
        "12\0",
    }
    assert {gold for (_, gold), _ in wrong} == unreadable


@pytest.mark.integration
def test_percentages(grader: Grader) -> None:
    for answer, gold, expected in PERCENT:
        assert grader.equivalent(answer, gold).correct is expected, (answer, gold)


def test_everything_equals_itself(grader: Grader) -> None:
    texts = sorted({text for pair in SAME for text in pair[:2]})
    assert disagreements(grader, [(text, text) for text in texts], True) == []
    spaced = [
        (f" {text} ", f"${text}$") for text in texts if "$" not in text and r"\(" not in text and r"\[" not in text
    ]
    assert disagreements(grader, spaced, True) == []


# Real golds


def golds(name: str) -> list[str]:
    if name == "math500":
        return [extract.boxed(row["answer"])[-1] for row in rows("math500/test.jsonl")]
    found = rows("gsm8k/test.jsonl") + rows("gsm8k/train.jsonl")
    return [row["answer"].split("####")[-1].strip() for row in found]


@pytest.mark.integration
def test_every_gold_of_math500_equals_itself_and_no_other(grader: Grader) -> None:
    answers = golds("math500")
    assert len(answers) == 500
    assert disagreements(grader, [(a, a) for a in answers], True) == []
    # In another spelling, so that equal strings do not decide
    respelled = [a.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)") for a in answers]
    assert disagreements(grader, list(zip(respelled, answers, strict=True)), True) == []
    shuffled = answers[:]
    random.Random(3407).shuffle(shuffled)
    pairs = list(zip(answers, shuffled, strict=True))
    equal = [p for p, v in zip(pairs, grader.grade(pairs), strict=True) if v.correct]
    assert [p for p in equal if p[0].strip() != p[1].strip()] == []


@pytest.mark.integration
def test_no_two_golds_of_math500_are_confused(grader: Grader) -> None:
    """Each against 20 others at random: what is found equal would be a confusion: no two distinct golds are equal."""
    answers = sorted(set(golds("math500")))
    source = random.Random(1)
    pairs = [(a, b) for a in answers for b in source.sample(answers, 20) if a != b]
    assert disagreements(grader, pairs, False) == []


def test_every_gold_of_gsm8k_equals_itself(grader: Grader) -> None:
    answers = golds("gsm8k")
    assert len(answers) == 8792
    assert disagreements(grader, [(a, a) for a in answers], True) == []
    assert disagreements(grader, [(a.replace(",", "") + ".00", a) for a in answers], True) == []
    shuffled = answers[:]
    random.Random(3407).shuffle(shuffled)
    pairs = list(zip(answers, shuffled, strict=True))
    equal = [p for p, v in zip(pairs, grader.grade(pairs), strict=True) if v.correct]
    assert [p for p in equal if p[0].replace(",", "") != p[1].replace(",", "")] == []
