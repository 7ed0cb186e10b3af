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

import hashlib
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.math.tree import Node, TooBig, Undefined, Unreadable, has_constant, symbols

PRIMES = (2**64 - 59, 2**128 - 159)  # both 1 mod 4, so that -1 has a square root
MAX_FACTORIAL = 5000
MAX_EXPONENT = 10**9
DIGITS = 60
AGREE = 40
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


def seed_of(left: Node, right: Node) -> str:
    """What the points of a pair are drawn from; the same whichever side comes first."""
    texts = sorted((repr(left), repr(right)))
    return hashlib.sha256("\n".join(texts).encode(errors="surrogatepass")).hexdigest()


def drawn(seed: str, name: str, below: int) -> int:
    """A number below `below`, a function of (seed, name) alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest, "big") % below


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


class Point(dict[str, Fraction]):
    """Values of the variables. real: an intermediate result that is not real leaves the point out."""

    def __init__(self, values: dict[str, Fraction], real: bool = False) -> None:
        super().__init__(values)
        self.real = real


def points(names: Sequence[str], seed: str, count: int, real: bool) -> Iterator[Point]:
    """All variables positive at the first third of the points, all negative at the second, then in turn.

    Sizes are from 1 to 10, at every third point below 1.
    """
    for n in range(count):
        values = {}
        for place, name in enumerate(names):
            size = Fraction(1 + drawn(seed, f"{n}/{name}", 10**6), 10**6)
            negative = n * 3 // count == 1 or (n * 3 // count == 2 and (n + place) % 2 == 1)
            values[name] = (-1 if negative else 1) * (size if n % 3 == 0 else 1 + 9 * size)
        yield Point(values, real)


def agree(first: Any, second: Any) -> bool:
    mp = mpmath().mp
    if first == second:
        return True
    if mp.isinf(first) or mp.isinf(second):
        return False
    largest = max(abs(first), abs(second))
    return abs(first - second) <= largest * mp.mpf(10) ** -AGREE


def agree_deeper(left: Node, right: Node, values: dict[str, Fraction]) -> bool:
    """Again with 200 digits, for a difference that cancellation made: both sides may be zero."""
    mp = mpmath().mp
    with mp.workdps(200):
        first, second = number(left, values), number(right, values)
        return agree(first, second) or max(abs(first), abs(second)) < mp.mpf(10) ** -150


def is_real(value: Any) -> bool:
    mp = mpmath().mp
    return abs(mp.im(value)) <= abs(value) * mp.mpf(10) ** -AGREE


@lru_cache(maxsize=1)
def mpmath() -> Any:
    """The module, imported when first needed, with its precision set."""
    import mpmath as module

    module.mp.dps = DIGITS
    return module


def number(node: Node, values: dict[str, Fraction]) -> Any:
    """The value of `node` as mpf or mpc. Raises `Unreadable`, `TooBig` or `Undefined`."""
    mp = mpmath().mp
    head, args = node.head, node.args
    if head in ("num", "dec"):
        value = node.value if head == "num" else node.value[0]
        return mp.mpf(value.numerator) / value.denominator
    if head == "sym":
        if node.value not in values:
            raise Unreadable("not a constant")
        value = values[node.value]
        return mp.mpf(value.numerator) / value.denominator
    if head == "const":
        return {"pi": mp.pi, "e": mp.e, "i": mp.mpc(0, 1), "inf": mp.inf}[node.value] * 1
    if head == "pow":
        return kept_real(power(number(args[0], values), number(args[1], values)), values)
    if head == "fact":
        return factorial(number(args[0], values))
    evaluate = ARITHMETIC.get(head) or (FUNCTIONS.get(node.value) if head == "fn" else None)
    if evaluate is None:
        raise Unreadable(f"no value for {head} {node.value}")
    operands = [number(arg, values) for arg in args]
    if head != "neg" and any(mp.isinf(operand) for operand in operands):
        raise Undefined  # infinity absorbs: no arithmetic with it is an answer
    try:
        result = evaluate(mp, *operands)
    except (ZeroDivisionError, ValueError, ArithmeticError) as error:
        raise Undefined from error
    except TypeError as error:
        raise Unreadable(f"{node.value} of {len(args)} arguments") from error
    if mp.isnan(result) or (head != "neg" and mp.isinf(result)):
        raise Undefined
    return kept_real(result, values)


def kept_real(value: Any, values: dict[str, Fraction]) -> Any:
    if getattr(values, "real", False) and not is_real(value):
        raise Undefined
    return value


def factorial(n: Any) -> Any:
    """n!, by the gamma function where n is a variable's value."""
    mp = mpmath().mp
    n = finite(mp, n)
    if n > MAX_FACTORIAL:
        raise TooBig("factorial")
    if n < 0:
        raise Undefined
    return mp.factorial(n)


def power(base: Any, exponent: Any) -> Any:
    mp = mpmath().mp
    if base == 0:
        if mp.im(exponent) == 0 and mp.re(exponent) > 0:
            return mp.mpf(0)
        raise Undefined
    if mp.isinf(base) or mp.isinf(exponent):
        raise Undefined
    if abs(exponent) * (abs(mp.log(abs(base), 2)) + 1) > MAX_EXPONENT:
        raise TooBig("power")
    return mp.power(base, exponent)


def real_root(mp: Any, x: Any, n: Any) -> Any:
    """The real root where there is one (the cube root of -8 is -2), else the principal one."""
    if mp.im(x) == 0 and mp.re(x) < 0 and n == int(mp.re(n)) and int(mp.re(n)) % 2:
        return -mp.root(-x, int(mp.re(n)))
    return mp.power(x, 1 / n)


def guarded(name: str, bound: float = 1e6) -> Any:
    """A function of mpmath whose argument stays below `bound` (range reduction costs memory)."""

    def evaluate(mp: Any, x: Any) -> Any:
        if abs(x) > bound:
            raise TooBig(name)
        return getattr(mp, name)(x)

    return evaluate


def finite(mp: Any, x: Any) -> Any:
    if mp.isinf(x) or abs(x) > mp.mpf(10) ** 50 or mp.im(x) != 0:
        raise Undefined
    return x


def binomial(mp: Any, n: Any, k: Any) -> Any:
    n, k = finite(mp, n), finite(mp, k)
    if n < 0 or k < 0:
        raise Undefined
    return mp.binomial(n, k)


ARITHMETIC: dict[str, Any] = {
    "add": lambda mp, a, b: a + b,
    "mul": lambda mp, a, b: a * b,
    "div": lambda mp, a, b: a / b,
    "neg": lambda mp, a: -a,
    "percent": lambda mp, a: a / 100,
    "deg": lambda mp, a: a * mp.pi / 180,
}
FUNCTIONS: dict[str, Any] = {
    "sqrt": lambda mp, x: mp.sqrt(x),
    "root": real_root,
    "abs": lambda mp, x: abs(x),
    "ln": lambda mp, x: mp.log(x),
    "log": lambda mp, x: mp.log(x),
    "log10": lambda mp, x: mp.log(x, 10),
    "logbase": lambda mp, x, b: mp.log(x) / mp.log(b),
    "exp": guarded("exp"),
    "floor": lambda mp, x: mp.floor(finite(mp, x)),
    "ceil": lambda mp, x: mp.ceil(finite(mp, x)),
    "binom": binomial,
    "gcd": lambda mp, *xs: mp.mpf(math.gcd(*(int(finite(mp, x)) for x in xs))),
    "lcm": lambda mp, *xs: mp.mpf(math.lcm(*(int(finite(mp, x)) for x in xs))),
    "min": lambda mp, *xs: min(finite(mp, x) for x in xs),
    "max": lambda mp, *xs: max(finite(mp, x) for x in xs),
    "re": lambda mp, x: mp.re(x),
    "im": lambda mp, x: mp.im(x),
}
for _name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth"):
    FUNCTIONS[_name] = guarded(_name)
for _name, _of in (
    ("sin", "asin"),
    ("cos", "acos"),
    ("tan", "atan"),
    ("cot", "acot"),
    ("sec", "asec"),
    ("csc", "acsc"),
):
    FUNCTIONS["arc" + _name] = guarded(_of, 1e50)


def constant(node: Node) -> Any:
    """The value of an expression without variables, as mpf or mpc (or +-inf)."""
    return number(node, {})


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
