"""Are two expressions equal? Decided by evaluation, never by rewriting, so that nothing can hang.

1. Exactly, in a prime field: an expression made of numbers, variables, pi, e, i, + - * /, whole
   powers and factorials is mapped to GF(p) at random points (Schwartz-Zippel: two different
   expressions of degree d agree at one point with probability d/p, p about 2^64 and 2^128). pi and
   e are treated as further variables, i as a root of -1.
2. Otherwise numerically, with 60 digits, at random real points, positive and of both signs, and
   agreement is relative (to 40 digits). At points where either side is not real, both sides'
   branches are a matter of convention and the point is not used, unless i occurs.

Nothing is computed before its size is known: factorials up to `MAX_FACTORIAL`, exponents up to
`MAX_EXPONENT` bits of result.
"""

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.math.latex import Node, TooBig, Unreadable

PRIMES = (2**64 - 59, 2**128 - 159)  # both 1 mod 4, so that -1 has a square root
MAX_FACTORIAL = 5000
MAX_EXPONENT = 10**9
DIGITS = 60
AGREE = 40
SALT = random.SystemRandom().getrandbits(64)


class Undefined(Exception):
    """No value here: division by zero, a pole, a branch without a real value."""


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


def same_expression(left: Node, right: Node) -> bool:
    """Whether two scalar expressions are equal. Raises `Unreadable`, `TooBig` or `Undefined`."""
    try:
        return all(in_field(left, p, p) == in_field(right, p, p) for p in PRIMES)
    except NotInField:
        return numerically_equal(left, right)


# Exactly, in a prime field


class NotInField(Exception):
    """The expression has a construct that has no value in a prime field."""


@lru_cache(maxsize=4096)
def point(name: str, p: int, seed: int) -> int:
    """A random non-zero residue for a variable; the same for the same (name, p, seed)."""
    return random.Random(f"{SALT}/{name}/{p}/{seed}").randrange(2, p - 2)


@lru_cache(maxsize=8)
def root_of_minus_one(p: int) -> int:
    for base in range(2, 100):
        root = pow(base, (p - 1) // 4, p)
        if root * root % p == p - 1:
            return root
    raise AssertionError("p must be 1 mod 4")


def in_field(node: Node, p: int, seed: int) -> int:
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


def field_power(node: Node, p: int, seed: int) -> int:
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
    """Agreement at six or more random points. Raises `Undefined` where no point can be used."""
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
    for seed in range(12 if names else 1):
        values = Point({name: sample(name, seed) for name in names}, real)
        try:
            first, second = number(left, values), number(right, values)
            if not agree(first, second) and not agree_deeper(left, right, values):
                return False
        except Undefined:
            continue
        used += 1
    return True if used else None


class Point(dict[str, Fraction]):
    """Values of the variables. real: an intermediate result that is not real leaves the point out."""

    def __init__(self, values: dict[str, Fraction], real: bool = False) -> None:
        super().__init__(values)
        self.real = real


def sample(name: str, seed: int) -> Fraction:
    """Positive for the first six seeds, then of either sign; also small and large ones."""
    source = random.Random(f"{SALT}/{name}/{seed}")
    size = Fraction(source.randrange(10**6, 10**7), 10**6) if seed % 3 else Fraction(source.randrange(1, 10**6), 10**6)
    return -size if seed >= 6 and source.random() < 0.7 else size


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
    try:
        result = evaluate(mp, *operands)
    except (ZeroDivisionError, ValueError, ArithmeticError) as error:
        raise Undefined from error
    except TypeError as error:
        raise Unreadable(f"{node.value} of {len(args)} arguments") from error
    if mp.isnan(result):
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
