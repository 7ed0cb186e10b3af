"""What the text of a question says about the form of its answer.

question --asked_of--> Asked: is a percentage asked for, which numbers and expressions stand in it
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rewards.math import latex, normalize
from rewards.math.shapes import chain, rational_literal, shape
from rewards.math.tree import Node, TooBig, Unreadable, symbols

MAX_PIECES = 200
MAX_PIECE = 400

WORD_NUMBERS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split(),
        range(21),
        strict=True,
    )
)
PART_NUMBERS = {"half": 2, "twice": 2, "double": 2, "pair": 2, "couple": 2, "third": 3, "triple": 3, "quarter": 4}
TENS = dict(zip("thirty forty fifty sixty seventy eighty ninety".split(), range(30, 100, 10), strict=True))
NUMBERS_IN_WORDS = {**WORD_NUMBERS, **TENS, **PART_NUMBERS, "dozen": 12, "percent": 100, "hundred": 100}
COMPOUND = re.compile(rf"\b({'|'.join(['twenty', *TENS])})[- ]({'|'.join([*WORD_NUMBERS][1:10])})\b")  # forty-seven
NUMBER = re.compile(r"(?<![\d.])(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?")
WORD = re.compile(r"[a-z]+")
PERCENT = re.compile(r"\bper\s?cent(?:ages?|s)?\b|\\?%", re.I)
ROUND_NUMBERS = (*WORD_NUMBERS, *TENS, "hundred", "half")
SENTENCE = re.compile(r"[.?!]\s|\n")
COUNTED = re.compile(r"\bhow many\b(?!\s*$)", re.I)  # "how many games for a percentage of 64?"
PERCENT_ELSEWHERE = re.compile(
    r"pourcent|pour cent|prozent|porcentaje|por ciento|процент|百分|パーセント|percentual|porcentagem", re.I
)
OPERATIONS = frozenset(["add", "mul", "div", "pow", "fact", "fn"])
POWER = re.compile(r"\b(?:powers?|raised|exponent|squared|cubed|factorial)\b|\b(?:square|cube) of\b", re.I)
RATIO = re.compile(r"\bratios?\b|\bproportion|比", re.I)
MATH = re.compile(r"\$\$(.{1,2000}?)\$\$|\$(.{1,2000}?)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
# What separates the formulas of running text: words that are no functions, and the signs of sentences.
BREAK = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sqrt|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|pi|arcsin|arccos|arctan|abs)(?![A-Za-z]))"
    r"[A-Za-z]{2,}(?![A-Za-z])|[?;\"<>|\n]|[.,:](?=\s|$)"
)


@dataclass(frozen=True)
class Asked:
    """known: there is a question. arithmetic: it has a sum, product or power of numbers. numbers: the values that
    stand in it. powers: it has words that ask for a power or factorial. shapes: of its expressions and their parts.
    chains: its sums and products, as ("+" or "*", members)."""

    known: bool = False
    percent: bool = False
    ratio: bool = False
    arithmetic: bool = False
    powers: bool = False
    numbers: frozenset[Fraction] = frozenset()
    shapes: frozenset[str] = frozenset()
    chains: tuple[tuple[str, Counter[str]], ...] = ()


@lru_cache(maxsize=64)
def asked_of(question: str) -> Asked:
    """Never fails on any text."""
    if not question.strip():
        return Asked()
    plain = normalize.to_ascii(question)
    shapes: set[str] = set()
    chains: list[tuple[str, Counter[str]]] = []
    arithmetic = False
    for piece in pieces(plain):
        for tree in trees(piece):
            for node, part, body in shapes_of(tree):
                shapes.add(part)
                arithmetic |= node.head in OPERATIONS and rational_literal(node) is None and not symbols(node)
                if body is not None:
                    chains.append(body)
    return Asked(
        True,
        asks_percentage(question),
        RATIO.search(question) is not None,
        arithmetic,
        POWER.search(question) is not None,
        frozenset(numbers(plain)),
        frozenset(shapes),
        tuple(chains),
    )


def asks_percentage(text: str) -> bool:
    """Whether a percentage is asked for: "what percent", "as a %", not "20 % of" or "twenty percent of"."""
    for match in PERCENT.finditer(text):
        before = text[max(0, match.start() - 20) : match.start()].rstrip(" -$\\{}~\n").lower()
        clause = SENTENCE.split(text[: match.start()][-400:])[-1]
        if before and not before[-1].isdigit() and not before.endswith(ROUND_NUMBERS) and not COUNTED.search(clause):
            return True
    return PERCENT_ELSEWHERE.search(text) is not None


def numbers(text: str) -> Iterator[Fraction]:
    """Every number that is written in digits, or in a word: seven, half, dozen."""
    for match in NUMBER.finditer(text):
        yield Fraction(match.group().replace(",", ""))
    lower = text.lower()
    for match in COMPOUND.finditer(lower):
        yield Fraction(NUMBERS_IN_WORDS[match[1]] + NUMBERS_IN_WORDS[match[2]])
    for match in WORD.finditer(lower):
        word = match.group()
        if word in NUMBERS_IN_WORDS:
            yield Fraction(NUMBERS_IN_WORDS[word])


def pieces(text: str) -> Iterator[str]:
    """Parts of a question that may be formulas: what stands between math marks, and what lies between words."""
    found = [next(group for group in match.groups() if group) for match in MATH.finditer(text)]
    for body in [*found, MATH.sub(" ; ", text)]:
        for piece in [body, *BREAK.split(body)] if len(found) < MAX_PIECES else [body]:
            if 1 < len(piece) <= MAX_PIECE and any(char.isdigit() for char in piece):
                yield piece
                if "=" in piece:
                    yield from piece.split("=")


def trees(piece: str) -> Iterator[Node]:
    try:
        yield latex.parse(normalize.clean(piece.strip()))
    except (Unreadable, TooBig):
        return


def shapes_of(node: Node) -> Iterator[tuple[Node, str, tuple[str, Counter[str]] | None]]:
    """Every part that is more than a whole number or a letter, its shape, and its members where it is a chain."""
    stack = [node]
    while stack:
        part = stack.pop()
        stack.extend(part.args)
        if part.head in ("num", "sym", "const", "text") or (part.head == "neg" and part.args[0].head in ("num", "sym")):
            continue
        body = None
        if part.head in ("add", "mul", "div"):
            head, members = chain(part)
            if len(members) > 1:
                body = (head, Counter(members))
        yield part, shape(part), body
