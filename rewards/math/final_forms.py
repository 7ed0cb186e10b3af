"""The forms in which a number may be answered.

`is_final`: whatever is no sum, product or quotient still to be taken. `is_finished`, where the question is known, and
with it that something was to be worked out: one operation on plain numbers, since two of them say any sum or product
again (`\\ln\\frac{e^{47}}{e^{-36}}`, `\\frac{94}{1/18}`, `\\frac{940}{0.04}`).
"""

from collections.abc import Iterator
from fractions import Fraction
from math import gcd, isqrt

from rewards.math.algebra import arithmetic
from rewards.math.shapes import rational_literal, shape
from rewards.math.tree import Node, TooBig, Undefined, symbols, walk

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


# Multiples of pi, roots and the like


def multiplies_on(node: Node, given: frozenset[Fraction] = frozenset()) -> bool:
    """Whether a product or quotient anywhere in a number that is not rational is still to be taken: of two numbers
    (`\\frac43\\pi\\cdot 27`), of an operation on numbers (`\\pi 3^2`, `\\sqrt4\\pi`), of a part with itself (`e e`),
    or within a power (`(3\\sqrt\\pi)^2`). given: the question's numbers; powers of others that are 10 write digits."""
    inner: set[int] = set()
    for part in walk(node):
        if part.head in ("mul", "div") and id(part) not in inner:
            inner.update(id(arg) for arg in chain_links(part))
            if is_unmultiplied(part, given):
                return True
        is_power = part.head == "pow" and rational_literal(part.args[1]) is not None
        if is_power or is_root(part):
            taken = part.args[0].args[0] if part.args[0].head == "neg" else part.args[0]
            undone = taken.head == "pow" or (is_power and (taken.head in ("mul", "div") or is_root(taken)))
            if undone and exact_or_none(taken) is None:
                return True
    return False


def is_root(node: Node) -> bool:
    return node.head == "fn" and node.value in ROOTS


def chain_links(node: Node) -> Iterator[Node]:
    """The products, quotients and signs directly in a product or quotient."""
    for arg in node.args:
        if arg.head in ("mul", "div", "neg"):
            yield arg
            yield from chain_links(arg)


def is_unmultiplied(node: Node, given: frozenset[Fraction]) -> bool:
    above: list[Node] = []
    below: list[Node] = []
    sort_factors(node, above, below)
    if sum(rational_literal(part) != 1 for part in above + below) < 2:
        return False
    for members in (above, below):
        plain = [part for part in members if (value := rational_literal(part)) is not None and value != 1]
        work = [part for part in members if rational_literal(part) is None and exact_or_none(part) is not None]
        if plain and Fraction(10) not in given:
            work = [part for part in work if part.head != "pow" or rational_literal(part.args[0]) != 10]
        if work or len(plain) > 1:
            return True
    others = [factor_base(part) for part in above + below if exact_or_none(part) is None]
    return len(set(others)) < len(others)


def sort_factors(node: Node, above: list[Node], below: list[Node]) -> None:
    if node.head == "neg":
        sort_factors(node.args[0], above, below)
    elif node.head == "mul":
        for arg in node.args:
            sort_factors(arg, above, below)
    elif node.head == "div":
        sort_factors(node.args[0], above, below)
        sort_factors(node.args[1], below, above)
    else:
        above.append(node)


def factor_base(node: Node) -> str:
    """What a factor is a power of."""
    return shape(node.args[0] if node.head == "pow" and rational_literal(node.args[1]) is not None else node)


def exact_or_none(node: Node) -> Fraction | None:
    """`exact`, and 1 for any binomial coefficient; None too for what nobody writes out, or has no value."""
    if node.head == "fn" and node.value == "binom" and None not in [rational_literal(arg) for arg in node.args]:
        return Fraction(1)
    try:
        return exact(node)
    except (TooBig, Undefined):
        return None


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
