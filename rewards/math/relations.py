"""Equations, inequalities and ratios, and what the name on their left side is."""

from fractions import Fraction
from typing import Any

from rewards.math import algebra
from rewards.math.algebra import same_scalar
from rewards.math.names import named_functions
from rewards.math.reals import FLIPPED, SETS, same_reals, variable_of
from rewards.math.shapes import rational_literal
from rewards.math.tree import Node, Undefined, symbols

GEOMETRIC = frozenset(["parallel", "perpendicular"])


def is_equation(node: Node) -> bool:
    """One `=` between two sides, at least one variable."""
    return node.head == "rel" and node.value == ("=",) and bool(symbols(node))


def is_relation(node: Node) -> bool:
    return node.head == "rel"


def same_relation(left: Node, right: Node) -> bool:
    """Equations up to a factor, inequalities in one variable as sets."""
    left, right = named_functions(left), named_functions(right)
    if left.head == right.head == "rel":
        if left.value == right.value == ("=",):
            return same_equation(left, right)
        if {*left.value, *right.value} & GEOMETRIC:
            return left.value == right.value and left.args in (right.args, right.args[::-1])
        variables = {variable_of(left), variable_of(right)}
        if variables != {None}:  # solved for its variable: so must the other be
            return len(variables) == 1 and same_reals(left, right)
        return same_inequality(left, right)
    relation, other = (left, right) if left.head == "rel" else (right, left)
    if variable_of(relation) is None:
        return False
    if other.head in SETS:
        return same_reals(relation, other)
    return False


def same_ratio(left: Node, right: Node) -> bool:
    """In proportion. Nothing is in proportion to 0:0 but by its spelling."""
    if left.head != right.head or len(left.args) != len(right.args):
        return False
    zero = Node("num", (), Fraction(0))
    terms = []
    for pair in zip(left.args, right.args, strict=True):
        empty = [same_scalar(term, zero) for term in pair]
        if empty[0] != empty[1]:
            return False
        if not empty[0]:
            terms.append(pair)
    if not terms:
        return False
    first, second = terms[0]
    return all(same_scalar(Node("mul", (a, second)), Node("mul", (b, first))) for a, b in terms)


def same_as_quotient(answer: Node, gold: Node) -> bool:
    """A ratio against the number that it is, as a question that asks for a ratio may be answered: 7:32 and 7/32."""
    ratio, number = (answer, gold) if value_of(answer).head == "ratio" else (gold, answer)
    ratio, number = value_of(ratio), value_of(number)
    value = rational_literal(number)
    if ratio.head != "ratio" or len(ratio.args) != 2 or value is None:
        return False
    if number is value_of(answer) and number.head == "div" and number.args[1].value != value.denominator:
        return False  # 6/8 is the ratio that was to be simplified
    whole = (Node("num", (), Fraction(part)) for part in (value.numerator, value.denominator))
    return same_ratio(Node("ratio", tuple(whole)), ratio)


def value_of(node: Node) -> Node:
    """What a single equation says that its left side is, e.g. 7:32 of `a:b = 7:32`."""
    return node.args[1] if node.head == "rel" and set(node.value) == {"="} and len(node.args) == 2 else node


def is_solved(node: Node) -> bool:
    """`x = 2` or `2 = x`."""
    heads = {node.args[0].head, node.args[1].head}
    return "sym" in heads and any(not symbols(arg) for arg in node.args)


def same_residue(left: Node, right: Node) -> bool:
    """`n \\equiv 1 \\pmod 3` and `n \\equiv 4 \\pmod 3`: one modulus, and residues that differ by a multiple of it.

    `1 \\pmod 3` is the same for any letter, and not for a number on the left side.
    """
    modulus = algebra.rational(right.args[-1])
    if not modulus or algebra.rational(left.args[-1]) != modulus:
        return False
    names = [node.args[0] for node in (left, right) if len(node.args) == 3]
    if names[:-1] != names[1:] or (len(names) == 1 and names[0].head != "sym"):
        return False
    first, second = algebra.rational(left.args[-2]), algebra.rational(right.args[-2])
    return first is not None and second is not None and ((first - second) / modulus).denominator == 1


def difference(node: Node) -> Node:
    return Node("add", (node.args[0], Node("neg", (node.args[1],))))


def same_equation(left: Node, right: Node) -> bool:
    """Left minus right is the other's up to a constant factor that is not zero.

    `x = 2` is solved: of `2x + 3 = 7`, which has the same solution, it is the answer, not the other way.
    """
    if symbols(left) != symbols(right) or is_solved(left) != is_solved(right) or not symbols(left):
        return False
    factor = factor_between(difference(left), difference(right))
    return factor is not None and factor != 0


def same_inequality(left: Node, right: Node) -> bool:
    """`a < b` in several variables, up to a factor; its sign turns the relation round."""
    if len(left.value) != 1 or len(right.value) != 1 or symbols(left) != symbols(right):
        return False
    if not symbols(left):  # 1 < 2 says no more of 3 < 4 than that both are true
        first, second = left.args, right.args if left.value == right.value else right.args[::-1]
        turned = left.value == right.value or left.value[0] == FLIPPED.get(right.value[0])
        return turned and all(same_scalar(a, b) for a, b in zip(first, second, strict=True))
    factor = factor_between(difference(left), difference(right))
    if factor is None or factor == 0:
        return False
    mine, other = left.value[0], right.value[0]
    if mine == "!=" or other == "!=":
        return mine == other
    if mine not in FLIPPED or other not in FLIPPED:
        return False
    positive = (
        algebra.mpmath().mp.re(factor) > 0
    )  # a factor that only rounding keeps from being real cannot be compared
    return algebra.is_real(factor) and other == (mine if positive else FLIPPED[mine])


def factor_between(first: Node, second: Node) -> Any:
    """c with first = c * second at every point that can be used, or None; None too where both are zero."""
    mp = algebra.mpmath().mp
    names = sorted(symbols(first) | symbols(second))
    factor = None
    used = 0
    for values in algebra.points(names, algebra.seed_of(first, second), algebra.POINTS, real=False):
        try:
            a, b = algebra.number(first, values), algebra.number(second, values)
        except Undefined:
            continue
        if abs(b) < mp.mpf(10) ** -30 or abs(a) < mp.mpf(10) ** -30:
            if abs(a) > mp.mpf(10) ** -30 or abs(b) > mp.mpf(10) ** -30:
                return None
            continue
        if factor is None:
            factor = a / b
        elif not algebra.agree(factor, a / b):
            return None
        used += 1
    return factor if used >= algebra.FEWEST_POINTS else None


# Bases


def same_digits(answer: Node, gold: Node, base: int) -> bool:
    """`1010_2` and `1010` where the question names base 2 and no other."""
    if (answer.head == "based") == (gold.head == "based"):
        return False
    based, bare = (answer, gold) if answer.head == "based" else (gold, answer)
    return bare.head == "num" and based_value(based) == (str(bare.value), base)


def based_value(node: Node) -> tuple[str, int]:
    """Digits and base; equal numbers in different bases are different answers."""
    digits, base = node.value
    return (digits.lstrip("0").upper() or "0", base)
