"""The small tree that an answer is read as, and what keeps it small.

Heads of `Node` (args; value):
    num (; Fraction)   dec (; (Fraction, decimal places, significant digits))
    sym (; name)       const (; "pi" | "e" | "i" | "inf")
    add (left, right; "mixed" for 2\\frac{1}{2}), mul, div, neg, pow, fact, fn (args; name), percent, deg
    pm (left, right; +1 or -1)   big (bounds, body; "sum" | "prod" | "int" | "lim"), read but not evaluated
    tuple (items; (open, close))   set (items)   list (items; "and" | "or" | None)   matrix (items; (rows, columns))
    piecewise (value, condition, value, condition, ...)
    mod ([left,] right, modulus)   cup, cap, setminus (left, right)
    rel (terms; operators between them)   ratio (items)
    reals (; name of a number set)   based (; (digits, base))   text (; words)   qty (body; unit text)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_TOKENS = 1200
MAX_DEPTH = 40
MAX_NUMBER_DIGITS = 1000


class Unreadable(Exception):
    """Not in the grammar."""


class TooBig(Exception):
    """Deeper, longer or larger than is read."""


class Undefined(Exception):
    """No value here: division by zero, a pole, a branch without a real value."""


@dataclass(frozen=True, slots=True)
class Node:
    head: str
    args: "tuple[Node, ...]" = ()
    value: Any = None


def walk(node: Node) -> Iterator[Node]:
    """Every node of the tree, the root first."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.args)


def symbols(node: Node) -> frozenset[str]:
    return frozenset(n.value for n in walk(node) if n.head == "sym")


def has_constant(node: Node, name: str) -> bool:
    return any(n.head == "const" and n.value == name for n in walk(node))
