"""The forms in which a number may be answered.

`is_final`: whatever is no sum, product or quotient still to be taken. `is_finished`, where the question is known, and
with it that something was to be worked out: one operation on plain numbers, since two of them say any sum or product
again (`\\ln\\frac{e^{47}}{e^{-36}}`, `\\frac{94}{1/18}`, `\\frac{940}{0.04}`).
"""

from collections.abc import Iterator
from fractions import Fraction
from math import gcd, isqrt

from rewards.math.algebra import arithmetic
from rewards.math.shapes import rational_literal
from rewards.math.tree import Node, symbols, walk

SCALAR_FUNCTIONS = frozenset(
    ["sqrt", "root", "abs", "ln", "log", "log10", "logbase", "exp", "floor", "ceil", "binom"]
    + [arc + name for arc in ("", "arc") for name in ("sin", "cos", "tan", "cot", "sec", "csc")]
    + ["sinh", "cosh", "tanh", "coth"]
)
ROOTS = frozenset(["sqrt", "root"])


def is_plain(node: Node) -> bool:
    """A rational number as one writes it: 112, -2.5, 3/4, 2 1/2; infinity."""
    body = node.args[0] if node.head == "neg" else node
    return rational_literal(body) is not None or (body.head == "const" and body.value == "inf")


# Without the question


def is_final(node: Node) -> bool:
    """A form in which a rational number may be answered."""
    head, args = node.head, node.args
    if symbols(node):  # \\sin^2 x + \\cos^2 x is 1, but no numbers may be hidden among letters that cancel
        relies = any(part.head in ("fn", "div") for part in walk(node))  # x - x is a way not to say 0
        return relies and not any(part.head in ("num", "dec", "fact") for part in walk_but_exponents(node))
    if head in ("num", "dec", "const"):
        return True
    if head == "neg":
        return args[0].head != "neg" and is_final(args[0])
    if head in ("percent", "deg", "qty", "fact"):
        return is_final(args[0])
    if head == "add":
        return node.value == "mixed"
    if head == "mul":
        return is_scientific(node)
    if head == "ratio":
        return all(is_final(arg) for arg in args)
    if head == "div":
        return all(is_final(arg) for arg in args)
    if head == "pow":
        return is_final(args[0]) and is_argument(args[1])
    return head == "fn" and node.value in SCALAR_FUNCTIONS and all(is_argument(arg) for arg in args)


def is_scientific(node: Node) -> bool:
    """`1.12 \\times 10^2`."""
    factor, power = node.args
    return (
        is_plain(factor)
        and power.head == "pow"
        and rational_literal(power.args[0]) == 10
        and is_plain(power.args[1])
        and power.args[1].head in ("num", "neg")
    )


def is_argument(node: Node) -> bool:
    """What a function or a power may be taken of: a final form, or a multiple of pi, e, i or a root."""
    if node.head == "neg":
        return node.args[0].head != "neg" and is_argument(node.args[0])
    if node.head == "div":
        return all(is_argument(arg) for arg in node.args)
    if node.head == "mul":
        members = factors(node)
        rational = sum(not is_irrational(member) for member in members)
        return rational <= 1 and all(map(is_final, members))
    return is_final(node)


def factors(node: Node) -> list[Node]:
    return [factor for arg in node.args for factor in factors(arg)] if node.head == "mul" else [node]


def is_irrational(node: Node) -> bool:
    return node.head == "const" or (node.head == "div" and node.args[0].head == "const") or node.head == "fn"


def walk_but_exponents(node: Node) -> Iterator[Node]:
    yield node
    for arg in node.args[:1] if node.head == "pow" else node.args:
        yield from walk_but_exponents(arg)


# Beside the question


def is_finished(node: Node) -> bool:
    """A rational number with one sign: plain, a percentage, a fraction of plain numbers, powers, factorials and
    binomial coefficients, or one of these or a root by itself."""
    head, args = node.head, node.args
    if head == "neg":
        return not is_signed(args[0]) and is_finished(args[0])
    if head in ("percent", "deg", "qty"):
        return is_finished(args[0])
    if head in ("num", "const"):
        return True
    if head == "mul":
        return is_scientific(node)
    if head == "ratio":
        return all(map(is_finished, args))
    if head == "div":
        return all(map(is_member, args)) and args[1].head != "dec" and not all(map(is_signed, args))
    return head == "dec" or (head == "add" and node.value == "mixed") or is_operation(node) or is_finished_root(node)


def is_signed(node: Node) -> bool:
    return node.head == "neg" or (node.head in ("div", "pow") and any(map(is_signed, node.args[:2])))


def is_member(node: Node) -> bool:
    """The top or bottom of a fraction."""
    body = node.args[0] if node.head == "neg" else node
    return body.head in ("num", "dec") or (
        is_operation(body) and not any(part.head in ("neg", "div") for part in body.args)
    )


def is_operation(node: Node) -> bool:
    """A power, factorial or binomial coefficient of plain numbers, but one that does nothing."""
    values = [rational_literal(arg) for arg in node.args]
    if node.head not in ("pow", "fact", "fn") or not values or None in values:
        return False
    first, second = values[0], values[-1]
    assert first is not None and second is not None
    if node.head == "pow":
        return second not in (0, 1) and (first.denominator == 1 or second > 0) and is_reduced(node.args[0])
    return node.head == "fact" or (node.value == "binom" and 1 < second < first - 1)


def is_finished_root(node: Node) -> bool:
    values = [rational_literal(arg) for arg in node.args]
    return node.head == "fn" and node.value in ROOTS and None not in values and all(map(is_reduced, node.args))


def is_reduced(node: Node) -> bool:
    """Whether a plain number has no quotient left to take."""
    if node.head == "neg":
        return is_reduced(node.args[0])
    if node.head != "div":
        return True
    top, bottom = (rational_literal(arg) for arg in node.args)
    assert top is not None and bottom is not None
    return bottom > 1 and gcd(top.numerator, bottom.numerator) == 1


# Values


def exact(node: Node) -> Fraction | None:
    """The value of arithmetic and roots of plain numbers, where it is rational. May raise `TooBig`, `Undefined`."""
    if node.head in ("num", "dec"):
        return node.value if node.head == "num" else node.value[0]
    is_root = node.head == "fn" and node.value in ROOTS
    if not is_root and node.head not in ("add", "mul", "div", "neg", "pow", "percent", "fact"):
        return None
    values = [exact(arg) for arg in node.args]
    if None in values:
        return None
    known: list[Fraction] = values  # type: ignore[assignment]
    if is_root:
        return exact_root(known[0], known[1] if len(known) > 1 else Fraction(2))
    if node.head == "pow" and known[1].denominator > 1:
        root = exact_root(known[0], Fraction(known[1].denominator))
        return None if root is None else arithmetic("pow", [root, Fraction(known[1].numerator)])
    return arithmetic(node.head, known)


def exact_root(value: Fraction, index: Fraction) -> Fraction | None:
    if value < 0 or index.denominator != 1 or not 2 <= index <= 64:
        return None
    top, bottom = (whole_root(part, int(index)) for part in (value.numerator, value.denominator))
    return None if top is None or bottom is None else Fraction(top, bottom)


def whole_root(value: int, index: int) -> int | None:
    if index == 2:
        root = isqrt(value)
    elif value.bit_length() > 900:
        return None
    else:
        root = round(value ** (1 / index))
    return root if root**index == value else None
