"""Generated text: the same bytes for the same seed, the shares asked for, and nothing that is held out."""

import json
from pathlib import Path

from srm_ray.data import arithmetic, generated, numerals
from srm_ray.data.tasks import HELD_OUT_SEED

AMOUNTS = generated.Amounts(documents=3000, examples=2000, numerals=0.2)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    counts = generated.write(tmp_path / "a", AMOUNTS, seed=5)
    assert counts["pretrain.jsonl"] == 3000 and counts["sft.jsonl"] == 2000
    generated.write(tmp_path / "b", AMOUNTS, seed=5)
    generated.write(tmp_path / "c", AMOUNTS, seed=6)
    for name in counts:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


def test_shares_and_held_out(tmp_path: Path) -> None:
    generated.write(tmp_path, AMOUNTS, seed=5)
    texts = [row["text"] for row in rows(tmp_path / "pretrain.jsonl")]
    asked = [row["messages"][0]["content"] for row in rows(tmp_path / "sft.jsonl")]
    for some in (texts, asked):
        share = sum(text.startswith("Write ") for text in some) / len(some)
        assert abs(share - AMOUNTS.numerals) < 0.03
    held_out = {one.question for one in arithmetic.problems(HELD_OUT_SEED, 500, "held_out")}
    held_out |= {one.question for one in numerals.held_out_problems(1000)}
    questions = {text.partition("?")[0] + "?" if "?" in text else text.partition(" \\")[0] for text in [*texts, *asked]}
    assert not questions & held_out


def test_numerals_read_back() -> None:
    units = {word: number for number, word in enumerate(arithmetic.ONES)}
    units |= {word: 10 * number for number, word in enumerate(arithmetic.TENS) if number}

    def value(words: str) -> int:
        total = part = 0
        for word in words.replace("-", " ").replace(" and ", " ").split():
            if word == "thousand":
                total, part = total + 1000 * part, 0
            elif word == "hundred":
                part *= 100
            else:
                part += units[word]
        return total + part

    for number in range(10_000):
        assert value(arithmetic.in_words(number)) == number


def test_held_out_numerals_are_one_in_sixteen() -> None:
    assert 550 < len(numerals.held_out_problems(10_000)) < 700
    trained = {numerals.problem(1, index).question for index in range(5000)}
    assert not trained & {one.question for one in numerals.held_out_problems(10_000)}
