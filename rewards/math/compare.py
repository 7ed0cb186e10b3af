"""Structure of answers: lists, sets, points, intervals, relations, matrices, units, text.

    Node x Node --same--> bool, elements and bounds compared by `rewards.math.algebra`

Symmetric but for one rule, which percentages need: a gold of 10 % accepts `10\\%`, `10` and `.1`,
a gold of 10 does not accept `10\\%`.
"""

import re
from collections.abc import Iterable

from rewards.math import algebra, families, forms, latex, matrices, names, normalize, spoken, units, vectors
from rewards.math.algebra import same_scalar
from rewards.math.families import Family
from rewards.math.quantities import same_percent, same_quantity, without_percent
from rewards.math.questions import asked_of
from rewards.math.readings import readings
from rewards.math.reals import inequality, is_conjunction, is_real_set, same_reals
from rewards.math.relations import (
    based_value,
    is_equation,
    is_relation,
    same_as_quotient,
    same_digits,
    same_equation,
    same_ratio,
    same_relation,
    same_residue,
)
from rewards.math.tree import Node, TooBig, Undefined, Unreadable, symbols, walk
from rewards.math.words import clock, phrase, plain, same_text, same_words
from rewards.verdict import CORRECT, WRONG, Verdict, judged

PAIR = re.compile(r"-?[1-9]\d*,\d")
EUROPEAN = re.compile(r"-?[1-9]\d{0,2}(?:\.\d{3})+,\d{1,2}")
DECIMAL_COMMA = re.compile(r"-?(?:\d+,\d{1,2}|0,\d+)")


def same_answer(answer: str, gold: str, question: str = "") -> Verdict:
    """Whether two cleaned answers are equal, "unevaluated" where they are, but the answer only repeats the question.

    question: its text, or "". Raises `Unreadable`, `TooBig` or `Undefined`.
    """
    asked = asked_of(question)
    answer, gold, repeated = spoken.in_figures(answer, gold, question)
    if repeated:
        return Verdict(False, "unevaluated") if same_answer(answer, gold).correct else WRONG
    answer, gold = map(phrase, names.without_words(phrase(answer), phrase(gold)))
    as_text = None if asked.ratio else same_text(answer, gold)
    if as_text is not None:
        again = as_text and plain(answer) != plain(gold) and clock(plain(answer)) and plain(answer) in question
        return Verdict(False, "unevaluated") if again else judged(as_text)
    decimal = same_decimal_comma(answer, gold)
    if decimal is not None:
        return judged(decimal)
    failure: Exception | None = None
    unevaluated = False
    one, other = families.split(answer), families.split(gold)
    for left in readings(one.text):
        for right in readings(other.text):
            try:
                first = families.with_parameter(latex.parse(left), one, other)
                second = families.with_parameter(latex.parse(right), other, one)
                first, second = vectors.as_points(first, second)
                as_asked = (
                    (asked.percent and same(without_percent(first), second))
                    or (asked.ratio and same_as_quotient(first, second))
                    or (asked.base and same_digits(first, second, asked.base))
                )
                if as_asked or same_family(first, second, one, other):
                    if not forms.is_unevaluated(first, second, asked):
                        return CORRECT
                    unevaluated = True
            except (Unreadable, Undefined) as error:
                failure = error
    if unevaluated:
        return Verdict(False, "unevaluated")
    if failure is not None:
        raise failure
    return WRONG


def same_family(answer: Node, gold: Node, one: Family, other: Family) -> bool:
    """`same`, for any way to count a family of answers."""
    if one.numbers and other.numbers and one.numbers != other.numbers:
        return False
    return answer == gold or any(
        same(variant, gold) for variant in families.variants(answer, one.numbers or other.numbers)
    )


def same_decimal_comma(answer: str, gold: str) -> bool | None:
    """`2,74` against `2.74`: a comma is a point where the other side has one; but a gold of `1,2` is two numbers."""
    for text, other in ((answer, gold), (gold, answer)):
        if EUROPEAN.fullmatch(text) and (value := normalize.number(other)) is not None:  # 1.234,50
            return value == normalize.number(text.replace(".", "").replace(",", "."))
        if DECIMAL_COMMA.fullmatch(text) and not (text == gold and PAIR.fullmatch(text)):
            value = normalize.number(other)
            if value is not None and "." in other:
                return value == normalize.number(text.replace(",", "."))
    return None


# Structure


def same(answer: Node, gold: Node) -> bool:
    """Whether two trees are the same answer (see the module's docstring for the one asymmetry)."""
    if has_pm(answer) or has_pm(gold):
        return same_items(flat(answer), flat(gold), ordered=False)
    points = names.as_points(answer, gold)
    if points is not None:
        return same(*points)
    if is_equation(answer) and is_equation(gold):
        if not scalar(answer) or not scalar(gold):
            return answer.args[0] == gold.args[0] and same(answer.args[1], gold.args[1])
        return same_equation(answer, gold)
    answer, gold = simplified(answer), simplified(gold)
    if "qty" in (answer.head, gold.head) or "deg" in (answer.head, gold.head):
        return same_quantity(answer, gold, same)
    if "percent" in (answer.head, gold.head):
        return same_percent(answer, gold, same)
    if "based" in (answer.head, gold.head):
        return answer.head == gold.head and based_value(answer) == based_value(gold)
    if "mod" in (answer.head, gold.head):
        return answer.head == gold.head and same_residue(answer, gold)
    if "ratio" in (answer.head, gold.head):
        return same_ratio(answer, gold)
    if is_relation(answer) or is_relation(gold):
        return same_relation(answer, gold)
    if is_real_set(answer) or is_real_set(gold) or is_conjunction(answer) or is_conjunction(gold):
        return same_reals(answer, gold)
    for head, compare in COMPOUND.items():
        if head in (answer.head, gold.head):
            return compare(answer, gold)
    if "text" in (answer.head, gold.head):
        return answer.head == gold.head and same_words(answer.value, gold.value)
    return same_scalar(answer, gold)


def scalar(node: Node) -> bool:
    return not any(n.head in ("tuple", "list", "ratio", "matrix", "set", "text", "qty") for n in walk(node))


def simplified(node: Node) -> Node:
    """Without the parts that say nothing: `x =`, `f(x) =`, a one-item list, words for no unit; matrices added up."""
    node = matrices.evaluated(node)
    while True:
        inner = assigned(node)
        if (
            inner is None
            and node.head in ("list", "tuple")
            and len(node.args) == 1
            and node.value in (None, ("(", ")"))
        ):
            inner = node.args[0]
        if inner is None and node.head == "qty" and units.is_none(node.value):
            inner = node.args[0]
        if inner is None and node.head == "qty" and units.is_percent(node.value):
            inner = Node("percent", node.args)
        if inner is None and node.head == "neg" and node.args[0].head in ("percent", "qty", "deg"):
            body = node.args[0]
            inner = Node(body.head, (Node("neg", body.args),), body.value)
        if inner is None:
            return node
        node = inner


def assigned(node: Node) -> Node | None:
    """The right side of `x = 5`, `f(x) = 2x`, `|AB| = 1`, `(x, y) = (1, 2)`, `2 + 3 = 5`; None for other nodes.

    In a chain every term after the name must agree: `x = 2 + 3 = 5` is 5, `x = 4 = 5` is nothing.
    """
    if node.head != "rel" or not set(node.value) <= {"=", "~"}:
        return None
    first, rest = node.args[0], node.args[1:]
    if "~" in node.value:  # x = 1/3 ~ 0.33 is 1/3; x ~ 11 is 11
        rest = rest[: max(node.value.index("~"), 1)]
    if not symbols(node):
        if any(arg.head not in SCALARS for arg in node.args):
            return None
        if "~" in node.value and not close(first, rest[-1]):
            return None
        rest = (first, *rest) if "~" not in node.value else (first,)
    elif not names.is_name(first, rest):
        return None
    try:
        agreed = all(same(simplified(term), simplified(rest[-1])) for term in rest[:-1])
    except (Unreadable, Undefined):
        return None
    return rest[-1] if agreed else None


def close(one: Node, other: Node) -> bool:
    """Whether one number is about the other: within a twentieth."""
    try:
        first, second = algebra.constant(one), algebra.constant(other)
        return bool(abs(first - second) <= abs(first) / 20)
    except (Unreadable, Undefined):
        return False


SCALARS = frozenset(["num", "dec", "const", "add", "mul", "div", "neg", "pow", "fact", "fn", "percent", "deg"])


# Plus-minus, lists, sets, points, matrices


def has_pm(node: Node) -> bool:
    return any(n.head == "pm" for n in walk(node))


def flat(node: Node) -> list[Node]:
    """The values that an answer with plus-minus stands for: `1 \\pm 2` gives 3 and -1."""
    node = simplified(node) if not has_pm(node) else strip_name(node)
    if node.head in ("list", "set"):
        return [item for arg in node.args for item in flat(arg)]
    if not has_pm(node):
        return [node]
    return [with_sign(node, 1), with_sign(node, -1)]


def strip_name(node: Node) -> Node:
    if node.head == "rel" and node.value == ("=",) and node.args[0].head == "sym":
        return node.args[1]
    return node


def with_sign(node: Node, sign: int) -> Node:
    args = tuple(with_sign(arg, sign) for arg in node.args)
    if node.head == "pm":
        positive = node.value * sign > 0
        return Node("add", (args[0], args[1] if positive else Node("neg", (args[1],))))
    return Node(node.head, args, node.value)


def same_items(left: Iterable[Node], right: Iterable[Node], ordered: bool) -> bool:
    """Elementwise when ordered, else a matching (each item once)."""
    first, second = list(left), list(right)
    if len(first) != len(second) or len(first) > 200:
        return False
    if ordered:
        return all(same(a, b) for a, b in zip(first, second, strict=True))
    for item in first:
        for index, other in enumerate(second):
            if same_kind(item, other):
                del second[index]
                break
        else:
            return False
    return True


def same_kind(left: Node, right: Node) -> bool:
    """`same`, where a pair that cannot be compared (5 with an interval) is a difference."""
    try:
        return same(left, right)
    except (Unreadable, Undefined):
        return False


def distinct(items: Iterable[Node]) -> list[Node]:
    kept: list[Node] = []
    for item in items:
        if len(kept) > 100:
            raise TooBig("a set of more than 100")
        if not any(same_kind(item, other) for other in kept):
            kept.append(item)
    return kept


def same_set(left: Node, right: Node) -> bool:
    """`\\{1, 2\\}` equals `\\{2, 1, 1\\}` and the list `1, 2`; never the point `(1, 2)`."""
    if left.head == "set" and right.head == "set":
        return same_items(distinct(left.args), distinct(right.args), ordered=False)
    if left.head == "tuple" or right.head == "tuple":
        return False
    first, second = (distinct(n.args if n.head in ("set", "list") else (n,)) for n in (left, right))
    return same_items(first, second, ordered=False)


def same_list(left: Node, right: Node) -> bool:
    """A bare list is unordered (solutions of an equation); against a point the order counts."""
    if "tuple" in (left.head, right.head):
        both = all(node.head in ("list", "tuple") for node in (left, right))
        if any(node.head == "tuple" and len(node.args) == 2 and node.value == ("[", "]") for node in (left, right)):
            return False  # an interval
        return both and same_items(left.args, right.args, ordered=True)
    if left.head != right.head:
        return False
    if all(arg.head == "tuple" for arg in left.args + right.args):  # points that solve: each counts once
        return same_items(distinct(left.args), distinct(right.args), ordered=False)
    if "and" in (left.value, right.value) and all(inequality(arg) for arg in left.args + right.args):
        return same_reals(left, right)
    return same_items(left.args, right.args, ordered=False)


def same_tuple(left: Node, right: Node) -> bool:
    """Points and vectors; the brackets count where they say which ends an interval has."""
    if left.head != right.head:
        return False
    brackets = {left.value, right.value}
    if len(brackets) > 1:
        return False
    return same_items(left.args, right.args, ordered=True)


def same_matrix(left: Node, right: Node) -> bool:
    """Equal shape and entries. One row or column is also the point of its entries, `[[1, 2], [3, 4]]` the rows."""
    if left.head == right.head:
        return left.value == right.value and same_items(left.args, right.args, ordered=True)
    matrix, other = (left, right) if left.head == "matrix" else (right, left)
    if other.head not in ("tuple", "list") or (other.head == "tuple" and other.value not in (("(", ")"), ("[", "]"))):
        return False
    rows, columns = matrix.value
    if all(arg.head in ("tuple", "list") for arg in other.args):
        if len(other.args) != rows or any(len(row.args) != columns for row in other.args):
            return False
        entries = tuple(entry for row in other.args for entry in row.args)
    elif 1 in matrix.value:
        entries = other.args
    else:
        return False
    pair = (matrix.args, entries) if matrix is left else (entries, matrix.args)
    return same_items(*pair, ordered=True)


def same_cases(left: Node, right: Node) -> bool:
    """Functions by cases: the same values under the same conditions, in any order."""
    if left.head != right.head:
        return False
    first, second = (
        [Node("case", (node.args[n], node.args[n + 1])) for n in range(0, len(node.args), 2)] for node in (left, right)
    )
    return same_items(first, second, ordered=False)


def same_case(left: Node, right: Node) -> bool:
    return left.head == right.head and all(same_kind(a, b) for a, b in zip(left.args, right.args, strict=True))


COMPOUND = {
    "piecewise": same_cases,
    "case": same_case,
    "matrix": same_matrix,
    "set": same_set,
    "list": same_list,
    "tuple": same_tuple,
}
