"""Are two expressions equal? Decided by evaluation, never by rewriting, so that nothing can hang.

1. Exactly, in a prime field: an expression made of numbers, variables, pi, e, i, + - * /, whole
   powers and factorials is mapped to GF(p) at a point (Schwartz-Zippel: two different expressions
   of degree d agree at one of p points with probability d/p, p about 2^64 and 2^128). pi and e are
   treated as further variables, i as a root of -1.
2. Otherwise numerically, with 60 digits, at real points, every variable of either sign, and
   agreement is relative (to 40 digits). At points where either side is not real, both sides'
   branches are a matter of convention and the point is not used, unless i occurs.

The points are a hash of the pair itself: the same pair has the same verdict in every process.

Nothing is computed before its size is known: factorials up to `MAX_FACTORIAL`, exponents up to
`MAX_EXPONENT` bits of result.
"""

from fractions import Fraction
from functools import lru_cache

from rewards.math.numeric import (
    MAX_FACTORIAL,
    agree,
    agree_deeper,
    constant,
    drawn,
    is_real,
    mpmath,
    number,
    points,
    seed_of,
)
from rewards.math.tree import Node, TooBig, Undefined, has_constant, symbols

PRIMES = (2**64 - 59, 2**128 - 159)  # both 1 mod 4, so that -1 has a square root
POINTS = 12
FEWEST_POINTS = 3


def same_expression(left: Node, right: Node) -> bool:
    """Whether two scalar expressions are equal. Raises `Unreadable`, `TooBig` or `Undefined`."""
    seed = seed_of(left, right)
    try:
        return all(in_field(left, p, seed) == in_field(right, p, seed) for p in PRIMES)
    except NotInField:
        return numerically_equal(left, right)


# Exactly, in a prime field


class NotInField(Exception):
    """The expression has a construct that has no value in a prime field."""


def point(name: str, p: int, seed: str) -> int:
    """A residue for a variable, neither 0, 1 nor -1."""
    return 2 + drawn(seed, f"{p}/{name}", p - 4)


@lru_cache(maxsize=8)
def root_of_minus_one(p: int) -> int:
    for base in range(2, 100):
        root = pow(base, (p - 1) // 4, p)
        if root * root % p == p - 1:
            return root
    raise AssertionError("p must be 1 mod 4")


def in_field(node: Node, p: int, seed: str) -> int:
    """The residue of `node` at a random point. Raises `NotInField`, `TooBig` or `Undefined`."""
    head, args = node.head, node.args
    if head == "num":
        return residue(node.value, p)
    if head == "dec":
        return residue(node.value[0], p)
    if head == "sym":
        return point(node.value, p, seed)
    if head == "const":
        if node.value == "inf":
            raise NotInField
        return root_of_minus_one(p) if node.value == "i" else point("const " + node.value, p, seed)
    if head == "pow":
        return field_power(node, p, seed)
    if head == "fact":
        return field_factorial(args[0], p)
    if head not in ("add", "mul", "div", "neg", "percent"):
        raise NotInField
    values = [in_field(arg, p, seed) for arg in args]
    if head == "add":
        return (values[0] + values[1]) % p
    if head == "mul":
        return values[0] * values[1] % p
    if head == "neg":
        return -values[0] % p
    if head == "percent":
        return values[0] * pow(100, -1, p) % p
    if values[1] == 0:
        raise Undefined
    return values[0] * pow(values[1], -1, p) % p


def residue(value: Fraction, p: int) -> int:
    if value.denominator % p == 0:
        raise NotInField
    return value.numerator * pow(value.denominator, -1, p) % p


def field_power(node: Node, p: int, seed: str) -> int:
    base = in_field(node.args[0], p, seed)
    exponent = whole(node.args[1])
    if exponent is None:
        raise NotInField
    if base == 0 and exponent <= 0:
        raise Undefined
    return pow(base, exponent, p)


def field_factorial(arg: Node, p: int) -> int:
    n = whole(arg)
    if n is None:
        raise NotInField
    if n < 0:
        raise Undefined
    if n > MAX_FACTORIAL:
        raise TooBig(f"factorial of more than {MAX_FACTORIAL}")
    result = 1
    for k in range(2, n + 1):
        result = result * k % p
    return result


def whole(node: Node) -> int | None:
    """The integer that `node` is, if it is made of small integers; None if it is something else."""
    value = rational(node)
    return int(value) if value is not None and value.denominator == 1 else None


def rational(node: Node) -> Fraction | None:
    """The exact value of arithmetic on plain numbers; None where there is more. May raise TooBig."""
    if node.head == "num":
        return node.value
    if node.head == "dec":
        return node.value[0]
    if node.head not in ("add", "mul", "div", "neg", "pow", "percent", "fact"):
        return None
    values = [rational(arg) for arg in node.args]
    if any(value is None for value in values):
        return None
    known: list[Fraction] = values  # type: ignore[assignment]
    result = arithmetic(node.head, known)
    if result is not None and max(result.numerator.bit_length(), result.denominator.bit_length()) > 20_000:
        raise TooBig("more than 6,000 digits")
    return result


def arithmetic(head: str, values: list[Fraction]) -> Fraction | None:
    first = values[0]
    if head == "add":
        return first + values[1]
    if head == "mul":
        return first * values[1]
    if head == "neg":
        return -first
    if head == "percent":
        return first / 100
    if head == "fact":
        return exact_factorial(first)
    if head == "div":
        if values[1] == 0:
            raise Undefined
        return first / values[1]
    exponent = values[1]
    if exponent.denominator != 1:
        return None
    if first == 0 and exponent <= 0:
        raise Undefined
    size = max(first.numerator.bit_length(), first.denominator.bit_length())
    if size > 1 and abs(exponent) * size > 20_000:
        raise TooBig("more than 6,000 digits")
    return first ** int(exponent % 2 if abs(first) == 1 else exponent)


def exact_factorial(n: Fraction) -> Fraction | None:
    if n.denominator != 1 or n < 0:
        return None
    if n > 1500:
        raise TooBig("factorial")
    result = 1
    for k in range(2, int(n) + 1):
        result *= k
    return Fraction(result)


# Numerically


def numerically_equal(left: Node, right: Node) -> bool:
    """Agreement at every point that can be used. Raises `Undefined` where too few can."""
    names = sorted(symbols(left) | symbols(right))
    real = bool(names) and not has_constant(left, "i") and not has_constant(right, "i")
    verdict = compare_at_points(left, right, names, real)
    if verdict is None and real:  # nowhere real, as (-1)^n: compare what there is
        verdict = compare_at_points(left, right, names, False)
    if verdict is None:
        raise Undefined
    return verdict


def compare_at_points(left: Node, right: Node, names: list[str], real: bool) -> bool | None:
    """Whether both agree wherever both have a value; None where there is no such point."""
    used = 0
    for values in points(names, seed_of(left, right), POINTS if names else 1, real):
        try:
            first, second = number(left, values), number(right, values)
            if not agree(first, second) and not agree_deeper(left, right, values):
                return False
        except Undefined:
            continue
        used += 1
    return True if used >= (FEWEST_POINTS if names else 1) else None


# Two scalars as answers


def same_scalar(left: Node, right: Node) -> bool:
    return same_expression(left, right) or same_rounded(left, right) or same_rounded(right, left)


def same_rounded(cut: Node, exact: Node) -> bool:
    """A decimal of at least six significant digits stands for what rounds to it (1.41421 for sqrt 2).

    Only where the other side is no decimal with fewer or as many places: two decimals that differ
    in a digit both write are different numbers.
    """
    sign, literal = (-1, cut.args[0]) if cut.head == "neg" else (1, cut)
    if literal.head != "dec" or literal.value[2] < 6 or symbols(exact):
        return False
    value, places, _ = literal.value
    if places <= 0 or (rational(exact) is not None and exact.head in ("num", "neg")):
        return False
    other = exact.args[0] if exact.head == "neg" else exact
    if other.head == "dec" and other.value[1] <= places:
        return False
    number = constant(exact)
    mp = mpmath().mp
    if mp.isinf(number) or not is_real(number):
        return False
    difference = abs(mp.re(number) - sign * mp.mpf(value.numerator) / value.denominator)
    return bool(difference <= mp.mpf(10) ** -places * mp.mpf("0.5000001"))
