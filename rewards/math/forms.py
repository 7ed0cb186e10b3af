"""Is an equal value an answer, or the question said again?

    answer, gold (equal trees), question --is_unevaluated--> bool

Where the gold is a number, an answer is a number in a final form: a fraction, root, power, factorial, logarithm, a
multiple of pi, a percentage, with one sign. `47+36+29` is none, nor is a final form that the question shows while the
gold has another (`\\frac{224}{2}` for "What is 224/2?", `\\sqrt{50}` for "Simplify \\sqrt{50}"). Golds that are
expressions of variables keep their equivalence.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from rewards.math import algebra, units
from rewards.math.matrices import has_matrix
from rewards.math.names import is_name, named_functions
from rewards.math.questions import Asked, shapes_of
from rewards.math.shapes import chain, rational_literal, shape
from rewards.math.tree import Node, TooBig, Undefined, symbols, walk

NUMBER = re.compile(r"-?/?(?:dec)?\d+(?:/\d+)?")
STRUCTURE = frozenset(["list", "set", "tuple", "matrix", "cup", "cap", "setminus", "qty", "percent", "deg"])
SCALAR_FUNCTIONS = frozenset(
    ["sqrt", "root", "abs", "ln", "log", "log10", "logbase", "exp", "floor", "ceil", "binom"]
    + [arc + name for arc in ("", "arc") for name in ("sin", "cos", "tan", "cot", "sec", "csc")]
    + ["sinh", "cosh", "tanh", "coth"]
)
UNDONE = frozenset(["sqrt", "root", "abs", "floor", "ceil", "log", "log10", "logbase", "ln"])


def is_unevaluated(answer: Node, gold: Node, asked: Asked) -> bool:
    """Whether `answer`, equal to `gold`, leaves undone what was asked. Raises `TooBig`."""
    wanted = list(leaves(gold))
    if any(symbols(leaf) for leaf in wanted) or not wanted:
        return False
    given = [without_letter_unit(leaf) for leaf in leaves(answer)]
    if has_sums_of_matrices(answer) and not has_sums_of_matrices(gold):
        return True
    known = {shape(leaf) for leaf in wanted}
    if all(is_plain(leaf) or (leaf.head == "mul" and is_scientific(leaf)) for leaf in wanted):
        values = {value for leaf in wanted for value in numbers(leaf)}
        if any(not is_final(leaf) and not is_worked_out(leaf, values, asked) for leaf in given):
            return True
    elif any(adds_numbers(leaf) for leaf in given) and not any(adds_numbers(leaf) for leaf in wanted):
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
            yield from leaves(next((side for side in sides if all(map(is_final, leaves(side)))), sides[-1]))
        else:
            yield from (leaf for arg in node.args for leaf in leaves(arg))
    elif node.head == "rel":
        yield from (leaf for arg in named_functions(node).args if arg.head != "sym" for leaf in leaves(arg))
    elif node.head == "pm" and rational_literal(node.args[0]) == 0:
        yield from leaves(node.args[1])
    elif node.head not in ("text", "reals", "based"):
        yield node


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


# Forms


def is_plain(node: Node) -> bool:
    """A rational number as one writes it: 112, -2.5, 3/4, 2 1/2; infinity."""
    body = node.args[0] if node.head == "neg" else node
    return rational_literal(body) is not None or (body.head == "const" and body.value == "inf")


def is_final(node: Node) -> bool:
    """A form in which a rational number may be answered."""
    head, args = node.head, node.args
    if symbols(node):  # \\sin^2 x + \\cos^2 x is 1, but no numbers may be hidden among letters that cancel
        relies = any(part.head in ("fn", "div") for part in walk(node))  # x - x is a way not to say 0
        return relies and not any(counts(part) for part in walk_but_exponents(node))
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


def counts(node: Node) -> bool:
    return node.head in ("num", "dec", "fact")


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
        return algebra.rational(node) is not None
    except (TooBig, Undefined):
        return True


def has_sums_of_matrices(node: Node) -> bool:
    """Arithmetic of two matrices, which a single one answers; a number times a matrix is a final form."""
    return any(part.head in ("add", "mul", "pow") and matrix_count(part) > (part.head != "pow") for part in walk(node))


def matrix_count(node: Node) -> int:
    return sum(arg.head == "matrix" or (arg.head not in STRUCTURE and matrix_count(arg) > 0) for arg in node.args)


# Against the question


def is_worked_out(leaf: Node, values: set[Fraction], asked: Asked) -> bool:
    """Whether an unevaluated form shows work of its own, as `2^5 - 1` does for the subsets of five things.

    Only where the question is known and is no piece of arithmetic itself: it has a power, factorial or binomial
    coefficient, none of the gold's own `values` (112 + 0), and at most one number from the question.
    """
    if not asked.known or asked.arithmetic or symbols(leaf) or values & set(numbers(leaf)):
        return False
    if any(n.head == "neg" and n.args[0].head == "neg" for n in walk(leaf)):
        return False
    if not any(is_work(part) for part in walk(leaf)):
        return False
    return sum(value in asked.numbers for value in numbers(leaf)) <= 1


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
    for part, part_shape, body in shapes_of(leaf):
        if part_shape in known or (part is not leaf and rational_literal(part) is not None):
            continue
        if part_shape in asked.shapes or is_part(body, asked):
            return True
    return is_quotient_of(leaf, asked)


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
    if body.head in ("pow", "fact"):
        base, *exponent = (set(numbers(arg)) for arg in body.args)
        wanted = base.union(*(found - {2, 3} for found in exponent))  # squares and cubes have words of their own
        return asked.powers and bool(wanted) and wanted <= asked.numbers
    if body.head != "fn" or body.value not in UNDONE:
        return False
    found = set(numbers(body)) - {2, 3, 10}  # bases and indices have words of their own
    return bool(found) and found <= asked.numbers


def is_quotient_of(leaf: Node, asked: Asked) -> bool:
    """`224/2` for "Two share 224": a whole number, left as the quotient of two of the question's numbers."""
    body = leaf.args[0] if leaf.head == "neg" else leaf
    if body.head != "div":
        return False
    value = algebra.rational(body)
    found = set(numbers(body)) - {1}
    return value is not None and value.denominator == 1 and len(found) > 1 and found <= asked.numbers
