"""Values of expressions with 60 digits, at points that are the pair's own."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rewards.math.tree import Node, TooBig, Undefined, Unreadable

MAX_FACTORIAL = 5000
MAX_EXPONENT = 10**9
DIGITS = 60
AGREE = 40


def seed_of(left: Node, right: Node) -> str:
    """What the points of a pair are drawn from; the same whichever side comes first."""
    texts = sorted((repr(left), repr(right)))
    return hashlib.sha256("\n".join(texts).encode(errors="surrogatepass")).hexdigest()


def drawn(seed: str, name: str, below: int) -> int:
    """A number below `below`, a function of (seed, name) alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest, "big") % below


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
