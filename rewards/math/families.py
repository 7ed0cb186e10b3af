r"""Families of answers: `\frac{\pi}{4} + k\pi, k \in \mathbb{Z}`, whatever its parameter is called and starts from."""

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.math.tree import Node, symbols

LETTERS = "klmn"
PARAMETER = "parameter"
WORDS = r"(?:\\text\s*\{[\s,]*(?:where|for|with)?\s*\}\s*)?"
SET = r"(?:\\(?:mathbb|mathbf|mathrm)\s*\{?\s*([ZN])\s*\}?|([ZN]))\s*(?:_\s*\{?\s*\+\s*\}?)?"
CLAUSE = re.compile(
    rf"(?<![\s,;])[\s,;]*+\(?\s*{WORDS}([klmn])\s*"
    rf"(?:\\in\s*{SET}|\\text\s*\{{\s*(?:is )?(?:an|any) integer\s*\}})\s*\)?\s*$"
)


@dataclass(frozen=True, slots=True)
class Family:
    """text without its clause; letter: its parameter, "" for none said; numbers: "Z" or "N"."""

    text: str
    letter: str = ""
    numbers: str = ""


def split(text: str) -> Family:
    match = CLAUSE.search(text) if any(letter in text for letter in LETTERS) else None
    if match is None or not match.start():
        return Family(text)
    letter, *sets = match.groups()
    return Family(text[: match.start()], letter, next((found for found in sets if found), "Z"))


def with_parameter(node: Node, family: Family, other: Family) -> Node:
    """The tree with its parameter under a common name; where only the other side says that it has one, the one letter
    that may be meant."""
    letter = family.letter
    if not letter and other.letter:
        candidates = symbols(node) & set(LETTERS)
        letter = min(candidates) if len(candidates) == 1 else ""
    return renamed(node, letter) if letter else node


def renamed(node: Node, letter: str) -> Node:
    if node.head == "sym":
        return Node("sym", (), PARAMETER) if node.value == letter else node
    return Node(node.head, tuple(renamed(arg, letter) for arg in node.args), node.value)


def variants(node: Node, numbers: str) -> list[Node]:
    """The family with its parameter k as it is, and for all integers also as k + 1, k - 1, -k and 1 - k."""
    if PARAMETER not in symbols(node) or numbers != "Z":
        return [node]
    k, one = Node("sym", (), PARAMETER), Node("num", (), Fraction(1))
    minus = Node("neg", (k,))
    others = [Node("add", (k, one)), Node("add", (k, Node("neg", (one,)))), minus, Node("add", (one, minus))]
    return [node, *(replaced(node, other) for other in others)]


def replaced(node: Node, other: Node) -> Node:
    if node.head == "sym":
        return other if node.value == PARAMETER else node
    return Node(node.head, tuple(replaced(arg, other) for arg in node.args), node.value)
