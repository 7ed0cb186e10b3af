r"""Generated word problems: one and two steps in plain English, with worked reasoning.

    problem(seed, index) -> WordProblem(question, answer, reasoning), its situation drawn from `situations`

Everything is a pure function of (seed, index). Held-out problems are of situations that training never uses, not
only of other numbers.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from srm_ray.data.arithmetic import SUPERVISED_FROM, Messages, Split, answer_text
from srm_ray.data.held_out_situations import HELD_OUT
from srm_ray.data.situations import ONE_STEP, Situation
from srm_ray.data.two_step_situations import TWO_STEPS

TRAIN = ONE_STEP | TWO_STEPS
SITUATIONS: dict[Split, dict[str, Situation]] = {"train": TRAIN, "held_out": HELD_OUT}
SLOT = re.compile(r"\{(\w+)(?: ([a-z ]+))?\}")
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
IRREGULAR = {"child": "children", "leaf": "leaves", "shelf": "shelves", "sheep": "sheep", "goldfish": "goldfish"}
IRREGULAR |= {"photo": "photos", "domino": "dominoes"}
SHE = tuple(
    "Ana Bea Carla Dina Elsa Farah Grace Hana Ines Julia Kira Lena Mei Nora Olga Priya Rosa Sara Tara Uma Vera Yuki "
    "Zoe Amina".split()
)
HE = tuple(
    "Adam Ben Carlos David Emil Felix George Hugo Ivan Jonas Karim Leo Marco Nikhil Omar Pablo Ravi Samuel Tom Umut "
    "Victor Wei Yusuf Ali".split()
)
PRONOUNS = {"he": ("she", "he"), "He": ("She", "He"), "his": ("her", "his"), "him": ("her", "him")}


@dataclass(frozen=True, slots=True)
class WordProblem:
    """situation: its name, e.g. "gift". question: its text. answer: "17". reasoning: a line a step, each with its
    equation: "Ana has 12 and gets 5 more: 12 + 5 = 17"."""

    situation: str
    question: str
    answer: str
    reasoning: str


def problem(seed: int, index: int, split: Split = "train") -> WordProblem:
    """Problem number `index` of the endless stream of `seed`; no situation is in both splits."""
    draw = random.Random(f"word_problems/{split}/{seed}/{index}")
    name, situation = draw.choice(list(SITUATIONS[split].items()))
    numbers = numbers_of(situation, draw)
    words = words_of(situation, draw)
    lines = []
    for why, expression in situation.steps:
        first, sign, second = expression.split()
        result = worked_out(expression, numbers)
        lines.append(f"{capital(filled(why, numbers, words))}: {numbers[first]} {sign} {numbers[second]} = {result}")
        numbers["t"] = result
    return WordProblem(name, filled(situation.text, numbers, words), str(numbers["t"]), "\n".join(lines))


def problems(seed: int, count: int, split: Split = "train") -> list[WordProblem]:
    """The first `count` problems of a stream that differ, in order; fewer where that many do not turn up."""
    found: dict[str, WordProblem] = {}
    for index in range(20 * count + 1000):
        if len(found) == count:
            break
        candidate = problem(seed, index, split)
        found.setdefault(candidate.question, candidate)
    return list(found.values())


def numbers_of(situation: Situation, draw: random.Random) -> dict[str, int]:
    numbers = {}
    for part in situation.numbers.split(", "):
        name, bounds = part.split()
        low, high = bounds.split("-")
        numbers[name] = draw.randint(int(low), int(high))
    for equation in filter(None, situation.derived.split("; ")):
        name, expression = equation.split(" = ")
        numbers[name] = worked_out(expression, numbers)
    return numbers


def worked_out(expression: str, numbers: Mapping[str, int]) -> int:
    """From left to right: "z + r * y" is (z + r) * y."""
    first, *rest = expression.split()
    value = numbers[first]
    for sign, name in zip(rest[::2], rest[1::2], strict=True):
        value = OPERATIONS[sign](value, numbers[name])
    return value


def words_of(situation: Situation, draw: random.Random) -> dict[str, str]:
    """What the slots that are no numbers stand for."""
    male = draw.random() < 0.5
    first = draw.choice(HE if male else SHE)
    second = draw.choice([name for name in HE + SHE if name != first])
    words = {"A": first, "B": second} | {slot: forms[male] for slot, forms in PRONOUNS.items()}
    if situation.items:
        words["item"] = draw.choice(situation.items)
        words["items"] = plural(words["item"])
    return words


def filled(text: str, numbers: Mapping[str, int], words: Mapping[str, str]) -> str:
    def put(match: re.Match[str]) -> str:
        name, noun = match.groups()
        noun = words.get(noun, noun) if noun else ""
        if name == "an":
            return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
        if name in words:
            return words[name]
        number = numbers[name]
        return f"{number} {noun if number == 1 else plural(noun)}" if noun else str(number)

    return SLOT.sub(put, text)


def plural(noun: str) -> str:
    """Of the last word: "pine cone" is "pine cones"."""
    before, _, last = noun.rpartition(" ")
    if last in IRREGULAR:
        last = IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{before} {last}".strip()


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def conversation(seed: int, index: int) -> Messages:
    """A supervised example: the question, then reasoning and answer; another problem than GRPO is given."""
    example = problem(seed, SUPERVISED_FROM + index)
    content = f"<think>\n{example.reasoning}\n</think>\n{answer_text(example.answer)}"
    return [{"role": "user", "content": example.question}, {"role": "assistant", "content": content}]
