"""Vectors written in unit vectors, `i + 2j` or `\\mathbf{i} - 3\\mathbf{k}`, as the points (1, 2) and (1, 0, -3)."""

from fractions import Fraction

from rewards.math.tree import Node, symbols

UNITS = (Node("const", (), "i"), Node("sym", (), "j"), Node("sym", (), "k"))
ZERO, ONE = Node("num", (), Fraction(0)), Node("num", (), Fraction(1))


def as_points(answer: Node, gold: Node) -> tuple[Node, Node]:
    """Both as they are, but for a vector beside a point, or beside a matrix of one column or row."""
    return beside(answer, gold), beside(gold, answer)


def beside(node: Node, other: Node) -> Node:
    other = value_of(other)
    row = other.head == "matrix" and 1 in other.value
    return (point(value_of(node), len(other.args)) if row or other.head == "tuple" else None) or node


def value_of(node: Node) -> Node:
    """Of `v = i + 2j` the right side."""
    named = node.head == "rel" and node.value == ("=",) and len(node.args) == 2 and node.args[0].head == "sym"
    return node.args[1] if named else node


def point(node: Node, length: int) -> Node | None:
    """The point of `length` coordinates that a sum of multiples of i, j and k is; None where it is none.

    Each of them once at most, and not i alone, which is a complex number's.
    """
    if length not in (2, 3) or not symbols(node) & {"j", "k"}:
        return None
    found: dict[Node, Node] = {}
    for term in terms(node):
        part = multiple(term, UNITS[:length])
        if part is None or part[0] in found or symbols(part[1]) & {"j", "k"}:
            return None
        found[part[0]] = part[1]
    return Node("tuple", tuple(found.get(unit, ZERO) for unit in UNITS[:length]), ("(", ")"))


def terms(node: Node) -> list[Node]:
    if node.head == "add" and node.value != "mixed":
        return [term for arg in node.args for term in terms(arg)]
    return [node]


def multiple(term: Node, units: tuple[Node, ...]) -> tuple[Node, Node] | None:
    """(unit vector, what it is multiplied by)."""
    if term in units:
        return term, ONE
    if term.head not in ("neg", "mul", "div"):
        return None
    first, *rest = term.args
    if (found := multiple(first, units)) is not None:
        unit, factor = found
        if term.head == "mul" and factor == ONE:
            return unit, rest[0]
        return unit, Node(term.head, (factor, *rest), term.value)
    if term.head == "mul" and (found := multiple(rest[0], units)) is not None:
        unit, factor = found
        return unit, first if factor == ONE else Node("mul", (first, factor))
    return None
