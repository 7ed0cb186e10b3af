r"""Generated numerals: a number in words to be written in digits, an ability beside the sums.

    problem(seed, index) -> Numeral("Write two thousand and five in digits.", "2005")

It needs no reasoning and reinforcement learning on sums never asks for it, so what it loses there is
a capability tax. One number in sixteen is held out, by its hash, whatever the seed.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from srm_ray.data.arithmetic import Messages, Split, answer_text, held_out, in_words

LOWEST, LIMIT = 100, 10_000


@dataclass(frozen=True, slots=True)
class Numeral:
    """question: "Write two thousand and five in digits."; answer: "2005"."""

    question: str
    answer: str


def numeral(number: int) -> Numeral:
    return Numeral(f"Write {in_words(number)} in digits.", str(number))


def problem(seed: int, index: int, split: Split = "train") -> Numeral:
    """Problem number `index` of the endless stream of `seed`; no number is in both splits."""
    draw = random.Random(f"numerals/{split}/{seed}/{index}")
    while True:
        number = draw.randrange(LOWEST, LIMIT)
        if held_out((number,)) == (split == "held_out"):
            return numeral(number)


def held_out_problems(count: int) -> list[Numeral]:
    """Up to `count` of the numbers that are never trained on, in an order fixed for all runs."""
    kept = [number for number in range(LOWEST, LIMIT) if held_out((number,))]
    random.Random("numerals/held_out").shuffle(kept)
    return [numeral(number) for number in kept[:count]]


def documents(seed: int) -> Iterator[tuple[str, str]]:
    """The endless pretraining text of `seed`, in two parts: question and answer."""
    for index in itertools.count():
        example = problem(seed, index)
        yield example.question, f" {answer_text(example.answer)}"


def conversations(seed: int) -> Iterator[Messages]:
    """The endless supervised examples of `seed`: the bare answer."""
    for index in itertools.count():
        example = problem(seed, index)
        yield [
            {"role": "user", "content": example.question},
            {"role": "assistant", "content": f"<think>\n\n</think>\n{answer_text(example.answer)}"},
        ]
