"""Is an equal value an answer, or the question repeated?

    answer, gold (equal trees), question --is_unevaluated--> bool

Where the gold is a number, an answer is a number in a final form: a fraction, root, power, factorial, logarithm, a
multiple of pi, a percentage, with one sign; beside a question none within another (`rewards.math.final_forms`).
`47+36+29` is none, nor is the sine of an angle for a gold without one, nor
a final form that the question shows while the gold has another (`\\frac{224}{2}` for "What is 224/2?", `\\sqrt{50}`
for "Simplify \\sqrt{50}"). Golds that are expressions of variables keep their equivalence, but for what the question
asks to be done (see `rewards.math.asked_form`).
"""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from rewards.math import algebra, asked_form, units
from rewards.math.final_forms import (
    ROOTS,
    exact,
    exact_or_none,
    factors,
    is_final,
    is_finished,
    is_plain,
    is_scientific,
    multiplies_on,
)
from rewards.math.matrices import has_matrix
from rewards.math.names import is_name, named_functions
from rewards.math.questions import Asked, shapes_of
from rewards.math.reals import has_idle_part
from rewards.math.shapes import chain, rational_literal, shape
from rewards.math.tree import Node, TooBig, Undefined, Unreadable, symbols, walk

NUMBER = re.compile(r"-?/?(?:dec)?\d+(?:/\d+)?")
ROUNDED_DIGITS = 6  # significant digits from which on a decimal stands for what rounds to it
STRUCTURE = frozenset(["list", "set", "tuple", "matrix", "cup", "cap", "setminus", "qty", "percent", "deg"])
TRIGONOMETRIC = frozenset(arc + name for arc in ("", "arc") for name in ("sin", "cos", "tan", "cot", "sec", "csc"))
IMAGINARY = Node("const", (), "i")
LOGARITHMS = frozenset(["log", "log10", "logbase", "ln"])
UNDONE = LOGARITHMS | ROOTS | {"abs", "floor", "ceil"}
UNDONE_KINDS = {
    "trigonometric": TRIGONOMETRIC,
    "logarithm": LOGARITHMS,
    "absolute value": {"abs"},
    "rounding": {"floor", "ceil"},
}


def is_unevaluated(answer: Node, gold: Node, asked: Asked) -> bool:
    """Whether `answer`, equal to `gold`, leaves undone what was asked. Raises `TooBig`."""
    if any(has(answer) and not has(gold) for has in (has_operations_of_sets, has_idle_part)):
        return True
    wanted = list(leaves(gold))
    as_asked = asked_form.in_form(answer, gold, list(leaves(answer)), wanted, asked)
    if as_asked is not None:
        return not as_asked
    lettered = any(map(symbols, wanted))
    wanted = [without_letter_unit(leaf) for leaf in wanted]  # 112 m is a number of metres, or m a variable
    if any(map(symbols, wanted)) or not wanted:
        return False
    given = [without_letter_unit(leaf) for leaf in leaves(answer)]
    if lettered:
        if asked.known and any(symbols(leaf) and adds_numbers(leaf) for leaf in given):
            return True
        given = [leaf for leaf in given if not symbols(leaf)]
    if has_sums_of_matrices(answer) and not has_sums_of_matrices(gold):
        return True
    known = {shape(leaf) for leaf in wanted}
    if any(is_compound(leaf, asked) and shape(leaf) not in known for leaf in given):
        return True
    if asked.known and any(leaves_undone(leaf, wanted) for leaf in given):
        return True
    if all(is_plain(leaf) or (leaf.head == "mul" and is_scientific(leaf)) for leaf in wanted):
        values = {value for leaf in wanted for value in numbers(leaf)}
        for leaf in given:
            if is_rounded(leaf, wanted):
                if adds_numbers(leaf) or multiplies_on(leaf, asked.numbers):
                    return True
            elif not (is_finished if asked.known else is_final)(leaf) and not is_worked_out(leaf, values, asked):
                return True
    elif leaves_numbers(given, wanted, asked):
        return True
    known.update(part_shape for leaf in wanted for _, part_shape, _ in shapes_of(leaf))
    rational = all(rational_literal(leaf) is not None for leaf in wanted)
    return any(is_in_question(leaf, known, asked) or (rational and is_function_of(leaf, asked)) for leaf in given)


def leaves(node: Node) -> Iterator[Node]:
    """The scalars that an answer is made of: members, coordinates, ends, sides; without units, percent signs, names."""
    if node.head in STRUCTURE or has_matrix(node):
        for arg in node.args:
            yield from leaves(arg)
    elif node.head == "neg" and node.args[0].head in STRUCTURE:
        yield from leaves(node.args[0])
    elif node.head == "rel" and set(node.value) <= {"=", "~"}:
        sides = values_of(node)
        if sides:  # a chain is evaluated once one of its sides is
            yield from leaves(most_final(sides))
        else:
            yield from (leaf for arg in node.args for leaf in leaves(arg))
    elif node.head == "rel":
        yield from (leaf for arg in named_functions(node).args if arg.head != "sym" for leaf in leaves(arg))
    elif node.head == "pm" and rational_literal(node.args[0]) == 0:
        yield from leaves(node.args[1])
    elif node.head not in ("text", "reals", "based"):
        yield node


def most_final(sides: list[Node]) -> Node:
    tests = (is_plain, is_finished, is_final)
    return next((side for test in tests for side in sides if all(map(test, leaves(side)))), sides[-1])


def values_of(equation: Node) -> list[Node]:
    """What `equation` says its name, or a number, equals; [] for an equation in variables, such as that of a line."""
    args = equation.args
    if not symbols(equation):
        return list(args)
    if is_name(args[0], args[1:]):
        return list(args[1:])
    return [args[0]] if len(args) == 2 and is_name(args[1], args[:1]) else []


def without_letter_unit(node: Node) -> Node:
    """`10 m` as 10, for a gold that is a number of metres."""
    if node.head == "mul" and node.args[1].head == "sym" and not symbols(node.args[0]):
        return node.args[0] if units.read(node.args[1].value) else node
    return node


def terms(node: Node) -> list[Node]:
    """The terms of a sum, through signs and nested sums."""
    if node.head == "add" and node.value != "mixed":
        return [term for arg in node.args for term in terms(arg)]
    if node.head == "neg" and node.args[0].head == "add":
        return terms(node.args[0])
    if node.head == "pm":
        return [term for arg in node.args for term in terms(arg)]
    return [node]


def adds_numbers(node: Node) -> bool:
    """Whether a sum anywhere has two terms to be put together, or a product two numbers: `(5 - 3)\\sqrt 2`,
    `\\sqrt 3 + \\sqrt 3`, `1 + 2 + i`, `2 \\cdot 3 \\pi`."""
    for part in walk(node):
        if part.head in ("add", "pm") and part.value != "mixed":
            kinds = [kind_of_term(term) for term in terms(part)]
            if len(set(kinds)) < len(kinds):
                return True
        if part.head == "mul" and sum(factor.head in ("num", "dec") for factor in factors(part)) > 1:
            return True
    return False


def kind_of_term(term: Node) -> tuple[str, ...]:
    """What may be added to `term`: the shapes of its factors, without numbers; () for a rational term."""
    if is_rational(term):
        return ()
    if term.head == "neg":
        return kind_of_term(term.args[0])
    return tuple(sorted(factor for factor in chain(term)[1] if not NUMBER.fullmatch(factor)))


def is_rational(node: Node) -> bool:
    try:
        return exact(node) is not None
    except (TooBig, Undefined):
        return True


def leaves_numbers(given: list[Node], wanted: list[Node], asked: Asked) -> bool:
    """Whether `given` add or multiply numbers that `wanted`, which are no plain numbers, do not."""
    if any(map(adds_numbers, given)) and not any(map(adds_numbers, wanted)):
        return True
    return any(multiplies_on(leaf, asked.numbers) for leaf in given) and not any(map(multiplies_on, wanted))


def has_operations_of_sets(node: Node) -> bool:
    """Whether finite sets are united, cut or taken from each other, which a single one answers."""
    return any(
        part.head in ("cup", "cap", "setminus") and sum(arg.head == "set" for arg in part.args) > 1
        for part in walk(node)
    )


def leaves_undone(leaf: Node, wanted: list[Node]) -> bool:
    """`\\cos 60^\\circ` for 1/2, which is `\\sin 30^\\circ` too; `1 + 2i + i^2` for 2i; `\\log_4 64` for 3. Not where
    the gold has such a part itself, or is a decimal."""
    parts = {kind for gold in wanted for part in walk(gold) if (kind := undone(part))}
    if symbols(leaf) or any(part.head == "dec" for gold in wanted for part in walk(gold)):
        return False
    return any(kind not in parts for part in walk(leaf) if (kind := undone(part)))


def undone(part: Node) -> str:
    if part.head == "fn":
        return next((kind for kind, names in UNDONE_KINDS.items() if part.value in names), "")
    return "power of i" if part.head == "pow" and IMAGINARY in walk(part.args[0]) else ""


def is_rounded(leaf: Node, wanted: list[Node]) -> bool:
    """Whether a gold is a decimal that only stands for `leaf`, as 9.42477796 does for 3 pi."""
    digits = [body.value[2] for gold in wanted if (body := gold.args[0] if gold.head == "neg" else gold).head == "dec"]
    if not digits or max(digits) < ROUNDED_DIGITS or rational_literal(leaf) is not None:
        return False
    try:
        return not any(algebra.same_expression(leaf, gold) for gold in wanted)
    except (Unreadable, Undefined):
        return False


def is_compound(leaf: Node, asked: Asked) -> bool:
    """`5 feet 3 inches` for "How many inches are 5 feet 3 inches?", `47 weeks 36 days` and `0.47 m 36 cm` for any."""
    if leaf.head != "add" or leaf.value != "mixed" or leaf.args[0].head != "mul":
        return False
    (larger, factor), smaller = (rational_literal(arg) for arg in leaf.args[0].args), rational_literal(leaf.args[1])
    if larger is None or factor is None or smaller is None:
        return False
    return larger.denominator > 1 or smaller >= factor or {larger, smaller} <= asked.numbers


def has_sums_of_matrices(node: Node) -> bool:
    """Arithmetic of two matrices, which a single one answers; a number times a matrix is a final form."""
    return any(part.head in ("add", "mul", "pow") and matrix_count(part) > (part.head != "pow") for part in walk(node))


def matrix_count(node: Node) -> int:
    return sum(arg.head == "matrix" or (arg.head not in STRUCTURE and matrix_count(arg) > 0) for arg in node.args)


# Against the question


def is_worked_out(leaf: Node, values: set[Fraction], asked: Asked) -> bool:
    """Whether an unevaluated form shows work of its own, as `2^5 - 1` does for the subsets of five things.

    Only where the question is known and is no piece of arithmetic itself: it has a power, factorial or binomial
    coefficient, beside them one number and ones, none of the gold's own `values` (112 + 0), and at most one number
    from the question.
    """
    if not asked.known or asked.arithmetic or symbols(leaf) or values & set(numbers(leaf)):
        return False
    parts = list(parts_of(leaf))
    work = [part for part in parts if is_work(part)]
    plain = [value for part in parts if (value := rational_literal(part)) is not None]
    if not work or len(work) + len(plain) < len(parts) or sum(value != 1 for value in plain) > 1:
        return False
    return sum(value in asked.numbers for value in numbers(leaf)) <= 1


def parts_of(node: Node) -> Iterator[Node]:
    """What sums, products and quotients are made of."""
    if node.head in ("add", "mul", "div") or (node.head == "neg" and node.args[0].head != "neg"):
        for arg in node.args:
            yield from parts_of(arg)
    else:
        yield node


def is_work(node: Node) -> bool:
    values = [rational_literal(arg) for arg in node.args]
    if node.head == "fact":
        return values[0] is not None and values[0] > 2
    if node.head == "fn" and node.value == "binom":
        return None not in values and 1 < values[1] < values[0] - 1  # type: ignore[operator]
    return node.head == "pow" and None not in values and values[0] > 1 and values[1] > 1  # type: ignore[operator]


def numbers(node: Node) -> list[Fraction]:
    return [n.value if n.head == "num" else n.value[0] for n in walk(node) if n.head in ("num", "dec")]


def is_in_question(leaf: Node, known: set[str], asked: Asked) -> bool:
    """Whether the question shows this form, or a part of it, and the gold does not."""
    if not asked.known or shape(leaf) in known:
        return False
    value = rational_literal(leaf)
    if value is not None and leaf.head != "div" and abs(value) in asked.numbers:
        return True  # 0.75 for 3/4, 90 degrees for pi/2, 5 km for 5000 m, 1024 for 2^10
    body = leaf.args[0] if leaf.head == "neg" else leaf
    if body.head == "pow" and exact_or_none(body) in asked.power_values:
        return True  # 4^5 for 2^10
    for part, part_shape, members in shapes_of(leaf):
        if part_shape in known or (part is not leaf and rational_literal(part) is not None):
            continue
        if part_shape in asked.shapes or is_part(members, asked):
            return True
    return bool(asked.numbers) and is_whole_quotient(leaf)


def is_part(body: tuple[str, Counter[str]] | None, asked: Asked) -> bool:
    """Whether a sum's terms, or a product's factors, are among those of one in the question."""
    if body is None:
        return False
    head, members = body
    return any(head == other and members <= whole for other, whole in asked.chains)


def is_function_of(leaf: Node, asked: Asked) -> bool:
    """`\\sqrt{144}` for "the square root of 144", `5!` for "five factorial": what equals a rational gold, left as the
    root, logarithm, absolute value, rounding, power or factorial that the question has in words, of its own numbers."""
    body = leaf.args[0] if leaf.head == "neg" else leaf
    if body.head == "fn" and body.value == "binom":
        top, bottom = (rational_literal(arg) for arg in body.args)
        return (top, bottom) in asked.choices or (top is not None and (top, top - (bottom or 0)) in asked.choices)
    if is_root(body) or (body.head == "div" and all(arg.head == "fn" and arg.value in UNDONE for arg in body.args)):
        found = set(numbers(body.args[0])) - {2, 3, 10}
        return bool(found) and found <= asked.numbers
    if body.head in ("pow", "fact"):
        base, *exponent = (set(numbers(arg)) for arg in body.args)
        wanted = base.union(*(found - {2, 3} for found in exponent))  # squares and cubes have words of their own
        return asked.powers and bool(wanted) and wanted <= asked.numbers
    if body.head != "fn" or body.value not in UNDONE:
        return False
    found = set(numbers(body)) - {2, 3, 10}  # bases and indices have words of their own
    return bool(found) and found <= asked.numbers


def is_root(node: Node) -> bool:
    """`8^{1/3}`."""
    exponent = rational_literal(node.args[1]) if node.head == "pow" else None
    return exponent is not None and exponent.denominator > 1


def is_whole_quotient(leaf: Node) -> bool:
    """`224/2` for "Two share 224", `47000/2` for 940 times 25: a whole number, left as a quotient that is to be taken
    (2/1 is a ratio)."""
    body = leaf.args[0] if leaf.head == "neg" else leaf
    value = algebra.rational(body) if body.head == "div" else None
    if value is None or value.denominator != 1:
        return False
    return all(set(numbers(arg)) - {1} for arg in body.args)
