"""Percentages, units, angles: values that come with a word or a sign."""

from collections.abc import Callable
from fractions import Fraction

from rewards.math import algebra, units
from rewards.math.algebra import same_scalar
from rewards.math.tree import Node, has_constant, symbols

Same = Callable[[Node, Node], bool]  # `rewards.math.compare.same`, for what stands before a unit


def same_percent(answer: Node, gold: Node, same: Same) -> bool:
    if answer.head == gold.head:
        return same(answer.args[0], gold.args[0])
    if gold.head == "percent":
        return same(answer, gold.args[0]) or same_scalar(answer, gold)
    return same_scalar(answer, gold)


def without_percent(node: Node) -> Node:
    """Every `x\\%` as x: what a question that asks for a percentage leaves to the writer."""
    if node.head == "percent":
        return node.args[0]
    return Node(node.head, tuple(without_percent(arg) for arg in node.args), node.value) if node.args else node


def quantity(node: Node) -> tuple[Node, str]:
    """Value and unit text; degrees are a unit."""
    if node.head == "deg":
        return node.args[0], "degree"
    if node.head == "qty":
        return node.args[0], node.value
    return node, ""


def same_quantity(answer: Node, gold: Node, same: Same) -> bool:
    """Equal after conversion; where one side names no unit, equal numbers (or radians)."""
    (left, left_unit), (right, right_unit) = quantity(answer), quantity(gold)
    if nested(left) or nested(right):
        left, right = without_units(left), without_units(right)
    if not all(units.is_label(unit) for unit in (left_unit, right_unit)):
        return False
    left, left_unit = letter_unit(left, left_unit, right_unit)
    right, right_unit = letter_unit(right, right_unit, left_unit)
    if not left_unit or not right_unit:
        if same(left, right):
            return True
        return same_angle(answer, gold)
    first, second = units.read_beside(left_unit, right_unit), units.read_beside(right_unit, left_unit)
    if first and second:
        if first[0] != second[0]:
            return False
        return same(times(left, first[1] / second[1]), right)
    if {units.words(left_unit), units.words(right_unit)} & {"radian", "rad"}:
        return same_angle(answer, gold)
    return units.same_words(left_unit, right_unit) and same(left, right)


def nested(node: Node) -> bool:
    return node.head in ("qty", "deg")


def without_units(node: Node) -> Node:
    return node.args[0] if nested(node) else node


def times(node: Node, factor: Fraction) -> Node:
    return node if factor == 1 else Node("mul", (node, Node("num", (), factor)))


def radians(node: Node) -> Node | None:
    """An angle in radians: `90^\\circ` or a multiple of pi; None for other quantities."""
    value, unit = quantity(node)
    if not unit or units.words(unit) in ("radian", "rad"):
        return value
    known = units.read(unit)
    return Node("deg", (value,)) if known and known[0] == "angle" else None


def same_angle(left: Node, right: Node) -> bool:
    """Degrees against radians; a bare number is in radians only where it is a multiple of pi."""
    first, second = radians(left), radians(right)
    if first is None or second is None:
        return False
    for node in (left, right):
        if not quantity(node)[1] and not has_constant(node, "pi"):
            return False
    return algebra.same_scalar(first, second)


def letter_unit(node: Node, unit: str, other: str) -> tuple[Node, str]:
    """`1000 g` beside a side with a unit: its last letter is one too, no variable."""
    if not unit and other and node.head == "mul" and node.args[1].head == "sym":
        name = node.args[1].value
        if units.read(name) and not symbols(node.args[0]):
            return node.args[0], name
    return node, unit
