"""Small polynomials with rational coefficients: terms, content, whether two have a factor in common."""

from fractions import Fraction
from math import gcd

from rewards.math.shapes import shape
from rewards.math.tree import Node, symbols

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]
MAX_TERMS = 200
MAX_POWER = 20
PRIMES = (10007, 10037, 10061, 10091, 10111, 10133, 10151, 10169)  # where a letter does not matter


def polynomial(node: Node) -> Polynomial | None:
    """The polynomial that `node` is, a root or a constant taken for a letter; None where it is none, or a large one."""
    head, args = node.head, node.args
    if head == "num":
        return constant(node.value)
    if head == "dec":
        return constant(node.value[0])
    if head == "sym":
        return {((str(node.value), 1),): Fraction(1)}
    if head in ("const", "fn") and not symbols(node):
        return {((shape(node), 1),): Fraction(1)}
    parts = [polynomial(arg) for arg in args] if head in ("neg", "add", "mul", "div", "pow") else []
    if not parts or any(part is None for part in parts):
        return None
    first, *rest = (part for part in parts if part is not None)
    if head == "neg":
        return scaled(first, Fraction(-1))
    if head == "add":
        return added(first, rest[0])
    if head == "mul":
        return product(first, rest[0])
    if set(rest[0]) - {()}:
        return None
    number = rest[0].get((), Fraction(0))
    if head == "div":
        return scaled(first, 1 / number) if number else None
    if number.denominator != 1 or not 0 <= number <= MAX_POWER:
        return None
    power: Polynomial | None = constant(Fraction(1))
    for _ in range(int(number)):
        power = product(power, first) if power is not None else None
    return power


def constant(value: Fraction) -> Polynomial:
    return {(): value} if value else {}


def scaled(one: Polynomial, factor: Fraction) -> Polynomial:
    return {monomial: value * factor for monomial, value in one.items()}


def added(one: Polynomial, other: Polynomial) -> Polynomial:
    total = dict(one)
    for monomial, value in other.items():
        total[monomial] = total.get(monomial, Fraction(0)) + value
    return {monomial: value for monomial, value in total.items() if value}


def product(one: Polynomial, other: Polynomial) -> Polynomial | None:
    if len(one) * len(other) > MAX_TERMS:
        return None
    total: Polynomial = {}
    for left, first in one.items():
        for right, second in other.items():
            powers = dict(left)
            for letter, power in right:
                powers[letter] = powers.get(letter, 0) + power
            if max(powers.values(), default=0) > MAX_POWER:
                return None
            total = added(total, {tuple(sorted(powers.items())): first * second})
    return total


def is_constant(one: Polynomial) -> bool:
    return not set(one) - {()}


def content(one: Polynomial) -> int:
    """The whole number that divides all coefficients; 1 where they are not whole."""
    return gcd(*(int(value) if value.denominator == 1 else 1 for value in one.values())) if one else 1


def monic(one: Polynomial) -> Polynomial:
    return scaled(one, 1 / one[max(one)])


def have_common_factor(one: Polynomial, other: Polynomial) -> bool:
    """Whether a letter stands in a factor of both: all letters but one at a point, the greatest common divisor is
    not constant."""
    letters = {letter for side in (one, other) for monomial in side for letter, _ in monomial}
    return any(degree_in_common(one, other, letter) > 0 for letter in letters)


def degree_in_common(one: Polynomial, other: Polynomial, letter: str) -> int:
    left, right = in_one_letter(one, letter), in_one_letter(other, letter)
    while right:
        while len(left) >= len(right):
            factor = left[-1] / right[-1]
            offset = len(left) - len(right)
            for n, value in enumerate(right):
                left[n + offset] -= factor * value
            while left and not left[-1]:
                left.pop()
        left, right = right, left
    return len(left) - 1


def in_one_letter(one: Polynomial, letter: str) -> list[Fraction]:
    """Coefficients, the lowest first, with every other letter a number."""
    others = sorted({name for monomial in one for name, _ in monomial} - {letter})
    values = {name: PRIMES[sum(map(ord, name)) % len(PRIMES)] + n for n, name in enumerate(others)}
    found: list[Fraction] = [Fraction(0)] * (MAX_POWER + 1)
    for monomial, value in one.items():
        power = 0
        for name, exponent in monomial:
            if name == letter:
                power = exponent
            else:
                value *= values[name] ** exponent
        found[power] += value
    while found and not found[-1]:
        found.pop()
    return found
