"""Whether an answer of the gold's value has the form that the question asks for, where the gold shows that form.

    answer, gold (equal trees), question --in_form--> True, False, or None where no form is asked for

"Expand (x+2)(x+3)" with a gold of `x^2+5x+6` is not answered by `x(x+5)+6`, "Factor 12" not by `24/2`; order, signs
and spelling are free. An expression of the question handed back is wrong for whatever question, if the gold is another.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from math import gcd, isqrt

from rewards.math import polynomials
from rewards.math.questions import Asked
from rewards.math.shapes import rational_literal, shape
from rewards.math.tree import Node, symbols, walk

ROOTS = frozenset(["sqrt", "root"])
LOGARITHMS = frozenset(["ln", "log", "log10", "logbase"])
INVERSE = {"ln": "exp", "exp": "ln"}
MAX_TRIAL = 10**8


def in_form(answer: Node, gold: Node, given: list[Node], wanted: list[Node], asked: Asked) -> bool | None:
    """given, wanted: the scalars that answer and gold are made of."""
    if not asked.known or answer == gold:
        return None
    if is_handed_back(answer, gold, given, wanted, asked):
        return False
    if "solve" in asked.forms and (name := name_of(gold)) and answer.head == "rel" and name_of(answer) != name:
        return False
    if "percent" in asked.forms and gold.head == "percent" and answer.head != "percent":
        return rational_literal(answer) == rational_literal(gold.args[0])
    if {"decimal", "fraction"} & asked.forms and has_percent(answer) and not (has_percent(gold) or asked.percent):
        return False
    if not given or not wanted:
        return None
    decided = None
    for word, shows, fits in FORMS:
        if word in asked.forms and all(shows(leaf) for leaf in wanted):
            if not all(fits(leaf, wanted[0]) for leaf in given):
                return False
            decided = True if word in DECIDING else decided
    return decided


def is_handed_back(answer: Node, gold: Node, given: list[Node], wanted: list[Node], asked: Asked) -> bool:
    """For golds with letters; for numbers see `rewards.math.forms`."""
    if not any(map(symbols, wanted)):
        return False
    if answer.head == "rel" and not name_of(answer):
        turned = Node("rel", answer.args[::-1], answer.value)
        return not {shape(answer), shape(turned)}.isdisjoint(asked.shapes) and shape(turned) != shape(gold)
    known = {shape(leaf) for leaf in wanted}
    return any(symbols(leaf) and shape(leaf) in asked.shapes and shape(leaf) not in known for leaf in given)


def name_of(equation: Node) -> str:
    """y for `y = x/2` and for `x/2 = y`; "" for anything else."""
    if equation.head != "rel" or equation.value != ("=",) or len(equation.args) != 2:
        return ""
    for side, other in (equation.args, equation.args[::-1]):
        if side.head == "sym" and side.value not in symbols(other):
            return str(side.value)
    return ""


def has_percent(node: Node) -> bool:
    return any(part.head == "percent" for part in walk(node))


# Parts


def terms(node: Node) -> list[Node]:
    if node.head == "add" and node.value != "mixed":
        return [term for arg in node.args for term in terms(arg)]
    return [term for term in terms(node.args[0])] if node.head == "neg" else [node]


def factors(node: Node, power: int = 1) -> Iterator[tuple[Node, int]]:
    """Every factor with its whole exponent, negative for a divisor."""
    if node.head == "neg":
        yield from factors(node.args[0], power)
    elif node.head in ("mul", "div"):
        yield from factors(node.args[0], power)
        yield from factors(node.args[1], -power if node.head == "div" else power)
    elif node.head == "pow" and (exponent := rational_literal(node.args[1])) is not None and exponent.denominator == 1:
        yield from factors(node.args[0], power * int(exponent))
    else:
        yield node, power


def whole(node: Node) -> int | None:
    value = rational_literal(node)
    return int(value) if value is not None and value.denominator == 1 else None


# Letters


def is_expanded(leaf: Node, gold: Node | None = None) -> bool:
    """A sum of different products of one number and of powers of letters; of logarithms and the like: as many terms
    as the gold's."""
    kinds = []
    for term in terms(leaf):
        found = list(factors(term))
        letters = [shape(factor) for factor, _ in found if symbols(factor)]
        if any(factor.head in ("add", "neg") and symbols(factor) for factor, _ in found):
            return False
        if len(letters) != len(set(letters)) or sum(rational_literal(f) is not None and p > 0 for f, p in found) > 1:
            return False
        kinds.append(tuple(sorted((shape(factor), power) for factor, power in found if symbols(factor))))
    return len(kinds) == len(set(kinds)) and (gold is None or len(kinds) >= len(terms(gold)))


def count_of_factors(leaf: Node) -> int | None:
    """How many polynomials in letters are multiplied; None where a factor is no polynomial, or is divided by."""
    count = 0
    for factor, power in factors(leaf):
        if symbols(factor):
            found = polynomials.polynomial(factor)
            if found is None or power < 0:
                return None
            count += 0 if polynomials.is_constant(found) else power
    return count


def has_content(leaf: Node) -> bool:
    found = [polynomials.polynomial(factor) for factor, _ in factors(leaf) if symbols(factor)]
    return any(part is not None and polynomials.content(part) > 1 for part in found)


def is_product(leaf: Node) -> bool:
    return (count_of_factors(leaf) or 0) > 0 and len(list(factors(leaf))) + (leaf.head == "pow") > 1


def is_factored(leaf: Node, gold: Node) -> bool:
    """As many factors that are no numbers as the gold has, and none with a number in it that could stand before it."""
    count = count_of_factors(leaf)
    return count is not None and count >= (count_of_factors(gold) or 0) and (has_content(gold) or not has_content(leaf))


def has_square(leaf: Node, gold: Node | None = None) -> bool:
    """Letters only in the squares of sums of first degree, each in one of them."""
    squares = [part for term in terms(leaf) for part, power in factors(term) if symbols(part) and power == 2]
    rest = [part for term in terms(leaf) for part, power in factors(term) if symbols(part) and power != 2]
    letters = [letter for part in squares for letter in symbols(part)]
    return bool(squares) and not rest and len(letters) == len(set(letters))


def bottoms(leaf: Node) -> Counter[str] | None:
    """The denominators in letters of a sum's terms."""
    found: Counter[str] = Counter()
    for term in terms(leaf):
        below = polynomials.constant(Fraction(1))
        for factor, power in factors(term):
            part = polynomials.polynomial(factor)
            for _ in range(-power if symbols(factor) else 0):
                joined = None if part is None else polynomials.product(below, part)
                if not joined:
                    return None
                below = joined
        if not polynomials.is_constant(below):
            found[str(sorted(polynomials.monic(below).items()))] += 1
    return found


def is_partial(leaf: Node) -> bool:
    return sum((bottoms(leaf) or Counter()).values()) > 1


def has_same_bottoms(leaf: Node, gold: Node) -> bool:
    return bottoms(leaf) == bottoms(gold)


def is_single(leaf: Node, gold: Node | None = None) -> bool:
    """One term, one logarithm, no fraction within a fraction."""
    logarithms = sum(part.head == "fn" and part.value in LOGARITHMS for part in walk(leaf))
    inner = any(part.head == "div" and symbols(part) for arg in leaf.args for part in walk(arg))
    return len(terms(leaf)) == 1 and logarithms < 2 and not (leaf.head in ("div", "mul") and inner)


# What is left to do


def is_simple(leaf: Node, gold: Node | None = None) -> bool:
    return not any(map(is_loose, walk(leaf))) and (
        gold is None or not functions(leaf) or bool(functions(gold)) or not symbols(gold)
    )


def functions(leaf: Node) -> set[str]:
    return {str(part.value) for part in walk(leaf) if part.head == "fn" and part.value not in ROOTS | {"abs"}}


def is_loose(part: Node) -> bool:
    """Whether something at the top of `part` can be carried out: like terms, a factor twice, an idle 0 or 1."""
    head, args = part.head, part.args
    if head == "neg":
        return args[0].head == "neg"
    if head == "ratio":
        return gcd(*(whole(arg) or 1 for arg in args)) > 1
    if head == "pow":
        return args[0].head == "pow" or rational_literal(args[1]) in (0, 1)
    if head == "fn":
        inner = args[0]
        return (inner.head == "fn" and INVERSE.get(str(part.value)) == inner.value) or is_loose_root(part)
    if head == "add" and part.value != "mixed":
        found = [tuple(sorted((shape(f), p) for f, p in factors(term) if whole(f) is None)) for term in terms(part)]
        return len(found) != len(set(found)) or any(rational_literal(term) == 0 for term in terms(part))
    return head in ("mul", "div") and is_loose_product(part)


def is_loose_product(part: Node) -> bool:
    found = list(factors(part))
    bases = [shape(factor) for factor, _ in found if whole(factor) is None]
    above = [number for factor, power in found if power > 0 and (number := whole(factor)) is not None]
    below = [number for factor, power in found if power < 0 and (number := whole(factor)) is not None]
    if len(bases) != len(set(bases)) or len(above) > 1 or len(below) > 1:
        return True
    if 0 in above or 1 in below or (above and (1 in above) and (len(found) > 1 + len(below)) and part.head == "mul"):
        return True
    if above and below and gcd(above[0], below[0]) > 1:
        return True
    if sum(factor.head == "fn" and factor.value == "sqrt" and not symbols(factor) for factor, _ in found) > 1:
        return True
    if part.head == "div" and any(arg.head == "div" for arg in part.args):
        return True
    return part.head == "div" and can_be_reduced(*part.args)


def can_be_reduced(top: Node, bottom: Node) -> bool:
    one, other = polynomials.polynomial(top), polynomials.polynomial(bottom)
    if not one or not other:
        return False
    if gcd(polynomials.content(one), polynomials.content(other)) > 1:
        return True
    return not polynomials.is_constant(other) and polynomials.have_common_factor(one, other)


def is_loose_root(part: Node) -> bool:
    """`\\sqrt{50}`, `\\sqrt{1/3}`: a square in the number, a fraction below the root."""
    if part.value != "sqrt":
        return False
    number = rational_literal(part.args[0])
    if number is None:
        return False
    value = abs(int(number))
    if number.denominator != 1 or value < 2 or isqrt(value) ** 2 == value:
        return True
    return any(value % (n * n) == 0 for n in range(2, min(isqrt(value), 1000) + 1))


def is_rationalised(leaf: Node, gold: Node | None = None) -> bool:
    """No root below a fraction line, nor a fraction below a root."""
    for part in walk(leaf):
        if part.head == "div" and any(is_root(inner) for inner in walk(part.args[1])):
            return False
        power = rational_literal(part.args[1]) if part.head == "pow" else None
        if power is not None and power < 0 and (power.denominator > 1 or any(map(is_root, walk(part.args[0])))):
            return False
        if is_root(part) and any(inner.head in ("div", "dec") for inner in walk(part.args[0])):
            return False
    return True


def is_root(node: Node) -> bool:
    if node.head == "pow" and (power := rational_literal(node.args[1])) is not None:
        return power.denominator > 1
    return node.head == "fn" and node.value in ROOTS


# Numbers


def is_fraction(leaf: Node, gold: Node | None = None) -> bool:
    body = leaf.args[0] if leaf.head == "neg" else leaf
    return body.head == "div" and all(whole(arg) is not None for arg in body.args)


def is_fraction_or_mixed(leaf: Node, gold: Node) -> bool:
    return is_fraction(leaf) or is_mixed(leaf)


def is_mixed(leaf: Node, gold: Node | None = None) -> bool:
    body = leaf.args[0] if leaf.head == "neg" else leaf
    if body.head != "add" or body.value != "mixed" or rational_literal(body) is None:
        return False
    part = rational_literal(body.args[1])
    return part is not None and part < 1


def is_decimal(leaf: Node, gold: Node | None = None) -> bool:
    body = leaf.args[0] if leaf.head == "neg" else leaf
    return body.head in ("dec", "num")


def is_scientific(leaf: Node, gold: Node | None = None) -> bool:
    """`1.5 \\times 10^3`, one digit before the point."""
    body = leaf.args[0] if leaf.head == "neg" else leaf
    if body.head != "mul" or body.args[1].head != "pow":
        return False
    factor, (base, power) = rational_literal(body.args[0]), body.args[1].args
    return factor is not None and 1 <= abs(factor) < 10 and whole(base) == 10 and whole(power) is not None


def primes(leaf: Node) -> Counter[int] | None:
    found: Counter[int] = Counter()
    for factor, power in factors(leaf):
        number = whole(factor)
        if number is None or power < 1 or power > 10_000 or not is_prime(number):
            return None
        found[number] += power
    return found


@lru_cache(maxsize=1024)
def is_prime(number: int) -> bool:
    return 1 < number < MAX_TRIAL and all(number % n for n in range(2, isqrt(number) + 1))


def is_prime_product(leaf: Node) -> bool:
    return sum((primes(leaf) or Counter()).values()) > 1


def is_same_primes(leaf: Node, gold: Node) -> bool:
    return primes(leaf) is not None


def has_no_ends(leaf: Node) -> bool:
    return is_simple(leaf)


def is_carried_out(leaf: Node) -> bool:
    return bool(symbols(leaf)) and is_simple(leaf)


def has_radical(leaf: Node, gold: Node | None = None) -> bool:
    return any(part.head == "fn" and part.value in ROOTS for part in walk(leaf)) and not bases(leaf, fractional=True)


def has_exponent(leaf: Node) -> bool:
    return bool(bases(leaf)) and not any(part.head == "fn" and part.value in ROOTS for part in walk(leaf))


def has_same_powers(leaf: Node, gold: Node) -> bool:
    return has_exponent(leaf) and set(bases(leaf)) == set(bases(gold)) and is_simple(leaf)


def bases(leaf: Node, fractional: bool = False) -> list[str]:
    """What powers are taken of; fractional: those that are roots."""
    return [shape(part.args[0]) for part in walk(leaf) if part.head == "pow" and (is_root(part) or not fractional)]


def is_number_without_root_below(leaf: Node) -> bool:
    return not symbols(leaf) and is_rationalised(leaf)


# The form's word in `Asked.forms`; whether the gold shows it; whether an answer has it.
FORMS: list[tuple[str, Callable[[Node], bool], Callable[[Node, Node], bool]]] = [
    ("primes", is_prime_product, is_same_primes),
    ("factor", is_product, is_factored),
    ("expand", is_expanded, is_expanded),
    ("square", has_square, has_square),
    ("partial", is_partial, has_same_bottoms),
    ("single", is_single, is_single),
    ("simplify", has_no_ends, is_simple),
    ("simplify", is_number_without_root_below, is_rationalised),
    ("carry out", is_carried_out, is_simple),
    ("radical", has_radical, has_radical),
    ("exponent", has_exponent, has_same_powers),
    ("rationalise", is_rationalised, is_rationalised),
    ("improper", is_fraction, is_fraction),
    ("mixed", is_mixed, is_mixed),
    ("fraction", is_fraction, is_fraction_or_mixed),
    ("decimal", is_decimal, is_decimal),
    ("scientific", is_scientific, is_scientific),
]
DECIDING = frozenset(["primes"])  # `2 \\cdot 2 \\cdot 3` is what `2^2 \\cdot 3` is
