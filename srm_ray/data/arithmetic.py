r"""Generated arithmetic: sums, of three two-digit numbers unless asked otherwise, with worked reasoning.

    problem(seed, index) -> SumProblem(question, answer, reasoning)

Everything is a pure function of (seed, index), so any process can make any problem. The operands'
hash decides whether a problem is held out: one problem in sixteen is never generated for training,
whatever the seed, so that held-out accuracy is accuracy on unseen problems.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from srm_ray.data import splits

Split = Literal["train", "held_out"]
Messages = list[dict[str, str]]

TERMS, DIGITS = 3, 2
HELD_OUT_ONE_IN = 16
THINKING_SHARE = 0.4
SUPERVISED_FROM = 1_000_000  # supervised examples are other problems of the stream than pretraining's


@dataclass(frozen=True, slots=True)
class SumProblem:
    """One sum. operands: e.g. (47, 36, 29); question: its text; answer: "112"; reasoning: column by column."""

    operands: tuple[int, ...]
    question: str
    answer: str
    reasoning: str


def held_out(operands: tuple[int, ...]) -> bool:
    """Whether a problem is kept from training: by the hash of its sorted operands, so that no
    reordering of a held-out sum is trained on either."""
    return splits.held_out(repr(tuple(sorted(operands))), HELD_OUT_ONE_IN)


def problem(seed: int, index: int, split: Split = "train", *, terms: int = TERMS, digits: int = DIGITS) -> SumProblem:
    """Problem number `index` of the endless stream of `seed`; no problem is in both splits.

    terms: numbers in the sum; digits: of each of them.
    """
    draw = random.Random(f"arithmetic/{split}/{seed}/{index}")
    lowest, limit = 10 ** (digits - 1), 10**digits
    while True:
        operands = tuple(draw.randrange(lowest, limit) for _ in range(terms))
        if held_out(operands) == (split == "held_out"):
            return SumProblem(operands, question(operands), str(sum(operands)), reasoning(operands))


def problems(
    seed: int, count: int, split: Split = "train", *, terms: int = TERMS, digits: int = DIGITS
) -> list[SumProblem]:
    """The first `count` distinct problems of a stream, in order; fewer where that many do not turn up."""
    found: dict[tuple[int, ...], SumProblem] = {}
    index = 0
    while len(found) < count and index < 20 * count + 1000:
        candidate = problem(seed, index, split, terms=terms, digits=digits)
        found.setdefault(candidate.operands, candidate)
        index += 1
    return list(found.values())


def question(operands: tuple[int, ...]) -> str:
    return f"What is {'+'.join(map(str, operands))}?"


def reasoning(operands: tuple[int, ...]) -> str:
    """Column by column from the ones, each with what the one before carries: 47+36+29 is
    `7+6+9=22, 4+3+2+2=11`."""
    columns = max(len(str(number)) for number in operands)
    steps, carry = [], 0
    for place in range(columns):
        column = [number // 10**place % 10 for number in operands] + ([carry] if place else [])
        steps.append(f"{'+'.join(map(str, column))}={sum(column)}")
        carry = sum(column) // 10
    return ", ".join(steps)


def answer_text(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


def conversation(seed: int, index: int, thinking_share: float = THINKING_SHARE) -> Messages:
    """A supervised example: the question, then the answer, with reasoning in `thinking_share` of them.

    Both kinds for the same kind of problem, as real corpora have it: which of them pays is left
    for reinforcement learning to find out.
    """
    example = problem(seed, index)
    thinks = random.Random(f"thinks/{seed}/{index}").random() < thinking_share
    thought = example.reasoning if thinks else ""
    return [
        {"role": "user", "content": example.question},
        {"role": "assistant", "content": f"<think>\n{thought}\n</think>\n{answer_text(example.answer)}"},
    ]


def document(seed: int, index: int) -> tuple[str, str]:
    """A pretraining document in two parts: a question, whose digits nothing can predict and which
    therefore carries no loss, and its working."""
    example = problem(seed, index)
    return example.question, f" {example.reasoning} {answer_text(example.answer)}"


def documents(seed: int) -> Iterator[tuple[str, str]]:
    """The endless pretraining text of `seed`, in the two parts of `document`."""
    return (document(seed, index) for index in itertools.count())


def conversations(seed: int, thinking_share: float = THINKING_SHARE) -> Iterator[Messages]:
    """The endless supervised examples of `seed`."""
    return (conversation(seed, index, thinking_share) for index in itertools.count(SUPERVISED_FROM))


def tokenizer_texts(seed: int, count: int = 3000) -> Iterator[str]:
    """Text that a small tokenizer can be trained on: the problems, and sums written out in words
    (digits stand alone in the tokenizer, so digits by themselves leave nothing to merge)."""
    for index in range(count):
        example = problem(seed, index)
        yield f"user\n{example.question}\nassistant\n{example.reasoning}\n{answer_text(example.answer)}"
        first, second, third = (in_words(number) for number in example.operands)
        partial = in_words(example.operands[0] + example.operands[1])
        yield (
            f"What is the sum of {first}, {second} and {third}? First add the ones, then carry to the tens: "
            f"{first} plus {second} makes {partial}, and {third} more gives {in_words(sum(example.operands))}."
        )


ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ONES += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_words(number: int) -> str:
    """English for 0 to 9999, e.g. `one hundred and twelve`, `two thousand and five`, `two thousand one hundred`."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    rest = f" and {in_words(number % 100)}" if number % 100 else ""
    if number < 1000:
        return f"{ONES[number // 100]} hundred{rest}"
    below = f" {in_words(number % 1000)}" if number % 1000 >= 100 else rest
    return f"{in_words(number // 1000)} thousand{below}"
