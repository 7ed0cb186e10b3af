"""Structure of answers: lists, sets, points, intervals, relations, matrices, units, text.

    Node x Node --same--> bool, elements and bounds compared by `rewards.math.algebra`

Symmetric but for one rule, which percentages need: a gold of 10 % accepts `10\\%`, `10` and `.1`,
a gold of 10 does not accept `10\\%`.
"""

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from rewards.math import algebra, latex, normalize, units
from rewards.math.algebra import Undefined
from rewards.math.latex import Node, TooBig, Unreadable

THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
DECIMAL_COMMA = re.compile(r"-?(?:\d+,\d{1,2}|0,\d+)")
CHOICE = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
CHOICE_AND_MORE = re.compile(r"\(([A-Z])\)[.:]?\s+\S.*|([A-Z])[).:]\s*\S.*", re.DOTALL)
TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
PLAIN_WORDS = re.compile(r"[A-Za-z][A-Za-z.,'\- ]*")
CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?(?:\s*[ap]\.?m\.?)?", re.I)
VARIABLES = frozenset("abcdfghkmnpqrstuvwxyz")
PHRASES = {
    **dict.fromkeys(("all real numbers", "all reals", "all real x", "any real number"), r"\mathbb{R}"),
    **dict.fromkeys(("no solution", "no solutions", "no real solutions", "empty set", "the empty set"), r"\emptyset"),
}
FUNCTION_NAMES = frozenset("fghFGHPQpq")
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def same_answer(answer: str, gold: str) -> bool:
    """Whether two cleaned answers are equal. Raises `Unreadable`, `TooBig` or `Undefined`."""
    answer, gold = (PHRASES.get(plain(text).casefold(), text) for text in (answer, gold))
    as_text = same_text(answer, gold)
    if as_text is not None:
        return as_text
    decimal = same_decimal_comma(answer, gold)
    if decimal is not None:
        return decimal
    failure: Exception | None = None
    for left in readings(answer):
        for right in readings(gold):
            try:
                if same(latex.parse(left), latex.parse(right)):
                    return True
            except (Unreadable, Undefined) as error:
                failure = error
    if failure is not None:
        raise failure
    return False


def readings(text: str) -> list[str]:
    """A comma between digits separates thousands, or items: both are tried, outside brackets."""
    text = words_to_units(text)
    if not THOUSANDS.search(text):
        return [text]
    joined = THOUSANDS.sub(lambda m: m.group().replace(",", "") if at_top(text, m.start()) else m.group(), text)
    alone = THOUSANDS.fullmatch(text) is not None
    return [joined] if alone or joined == text else [joined, text]


def at_top(text: str, position: int) -> bool:
    """Outside parentheses and square brackets (braces group)."""
    head = text[:position]
    return head.count("(") <= head.count(")") and head.count("[") <= head.count("]") and r"\{" not in head


UNIT_WORDS = re.compile(
    r"(?<=[\d}\s)])\s*(?<![A-Za-z\\{])"
    r"((?:square|sq\.?|cubic)\s+[A-Za-z]{2,}|[a-zA-Z]{2,}(?:\s*/\s*[A-Za-z]+|\s+per\s+[a-z]+)?|[A-Za-z]/[a-z])"
    r"(\s*\^\s*\{?\s*[23]\s*\}?)?$"
)


def words_to_units(text: str) -> str:
    """`15 cm^2`, `3 hours`, `28 percent` with the unit marked as text, as LaTeX would have it."""
    match = UNIT_WORDS.search(text)
    if not match or not any(c.isdigit() for c in text[: match.start()]):
        return text
    name = match.group(1)
    if latex.is_percent(name):
        return text[: match.start()] + r"\%"
    known = units.read(name) is not None or units.words(name) == "radian" or units.is_none(name)
    plural = len(name) > 3 and name.isalpha() and name not in latex.FUNCTIONS and name not in latex.GREEK
    if not known and not (plural and re.fullmatch(r"[\d.,/\s\\$-]+", text[: match.start()])):
        return text
    return text[: match.start()] + r"\text{ " + name + "}" + (match.group(2) or "").replace(" ", "")


# Text


def same_text(answer: str, gold: str) -> bool | None:
    """Words, multiple choice, clock times; None where at least one side is a formula."""
    left, right = plain(answer), plain(gold)
    if left and left.casefold() == right.casefold() and len(left) > 1:
        return True
    if CLOCK.fullmatch(left) and CLOCK.fullmatch(right):
        return clock(left) == clock(right)
    first, second = choice(answer), choice(gold)
    if first and second and ("(" in answer + gold or r"\text" in answer + gold or first.isupper() or second.isupper()):
        return first.upper() == second.upper() if "(" in gold or r"\text" in gold else first == second
    for text, letter in ((answer, second), (gold, first)):
        more = CHOICE_AND_MORE.fullmatch(TEXT_COMMAND.sub(r" \1 ", text).strip())
        if more and letter and letter.isupper():
            return (more.group(1) or more.group(2)) == letter
    if is_words(answer) and is_words(gold):
        if all(set(side) <= VARIABLES and len(side) <= 4 for side in (left, right)) and r"\text" not in answer + gold:
            return None
        return spelled(left) == spelled(right)
    return None


def plain(text: str) -> str:
    """Without `\\text{}` and the quotes and full stops around words."""
    return normalize.SPACES.sub(" ", TEXT_COMMAND.sub(r" \1 ", text)).strip().strip("\"'.").strip()


def choice(text: str) -> str:
    """The letter of a multiple-choice answer: `(C)`, `\\text{(C)}`, `C.`; "" if it is none."""
    match = CHOICE.fullmatch(plain(text).replace(" ", ""))
    return match.group(1) if match else ""


def is_words(text: str) -> bool:
    words = plain(text)
    if not PLAIN_WORDS.fullmatch(words) or len(words) < 2:
        return False
    return r"\text" in text or not any(part in latex.FUNCTIONS | latex.WORDS for part in words.split())


def spelled(words: str) -> str:
    text = re.sub(r"^(?:the|a|an) ", "", re.sub(r"[^a-z0-9]+", " ", words.casefold()).strip())
    return text.replace(" and ", " ")


def clock(text: str) -> str:
    return re.sub(r"[\s.]", "", text.casefold()).lstrip("0")


def same_decimal_comma(answer: str, gold: str) -> bool | None:
    """`2,74` against `2.74`: a comma is a decimal point where the other side has one."""
    for text, other in ((answer, gold), (gold, answer)):
        if DECIMAL_COMMA.fullmatch(text):
            value = normalize.number(other)
            if value is not None and "." in other:
                return value == normalize.number(text.replace(",", "."))
    return None


# Structure


def same(answer: Node, gold: Node) -> bool:
    """Whether two trees are the same answer (see the module's docstring for the one asymmetry)."""
    if has_pm(answer) or has_pm(gold):
        return same_items(flat(answer), flat(gold), ordered=False)
    if is_equation(answer) and is_equation(gold):
        try:
            return same_equation(answer, gold)
        except (Unreadable, Undefined):  # sides that are no scalars: (x, y) = (1, 2)
            pass
    answer, gold = simplified(answer), simplified(gold)
    if "qty" in (answer.head, gold.head) or "deg" in (answer.head, gold.head):
        return same_quantity(answer, gold)
    if "percent" in (answer.head, gold.head):
        return same_percent(answer, gold)
    if "based" in (answer.head, gold.head):
        return answer.head == gold.head and based_value(answer) == based_value(gold)
    if is_relation(answer) or is_relation(gold):
        return same_relation(answer, gold)
    if is_real_set(answer) or is_real_set(gold) or is_conjunction(answer) or is_conjunction(gold):
        return same_reals(answer, gold)
    for head, compare in COMPOUND.items():
        if head in (answer.head, gold.head):
            return compare(answer, gold)
    if "text" in (answer.head, gold.head):
        return answer.head == gold.head and spelled(answer.value) == spelled(gold.value)
    return same_scalar(answer, gold)


def same_scalar(left: Node, right: Node) -> bool:
    return algebra.same_expression(left, right) or same_rounded(left, right) or same_rounded(right, left)


def same_rounded(cut: Node, exact: Node) -> bool:
    """A decimal of at least six significant digits stands for what rounds to it (1.41421 for sqrt 2).

    Only where the other side is no decimal with fewer or as many places: two decimals that differ
    in a digit both write are different numbers.
    """
    sign, literal = (-1, cut.args[0]) if cut.head == "neg" else (1, cut)
    if literal.head != "dec" or literal.value[2] < 6 or algebra.symbols(exact):
        return False
    value, places, _ = literal.value
    if places <= 0 or (algebra.rational(exact) is not None and exact.head in ("num", "neg")):
        return False
    other = exact.args[0] if exact.head == "neg" else exact
    if other.head == "dec" and other.value[1] <= places:
        return False
    number = algebra.constant(exact)
    mp = algebra.mpmath().mp
    if mp.isinf(number) or not algebra.is_real(number):
        return False
    difference = abs(mp.re(number) - sign * mp.mpf(value.numerator) / value.denominator)
    return bool(difference <= mp.mpf(10) ** -places * mp.mpf("0.5000001"))


def simplified(node: Node) -> Node:
    """Without the parts that say nothing: `x =`, `f(x) =`, a one-item list, words for no unit."""
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
        if inner is None and node.head == "qty" and latex.is_percent(node.value):
            inner = Node("percent", node.args)
        if inner is None and node.head == "neg" and node.args[0].head in ("percent", "qty", "deg"):
            body = node.args[0]
            inner = Node(body.head, (Node("neg", body.args),), body.value)
        if inner is None:
            return node
        node = inner


def assigned(node: Node) -> Node | None:
    """The right side of `x = 5`, `f(x) = 2x`, `(x, y) = (1, 2)`, `2 + 3 = 5`; None for other nodes.

    In a chain every term after the name must agree: `x = 2 + 3 = 5` is 5, `x = 4 = 5` is nothing.
    """
    if node.head != "rel" or not set(node.value) <= {"=", "~"}:
        return None
    first, rest = node.args[0], node.args[1:]
    if "~" in node.value:  # x = 1/3 ~ 0.33 is 1/3; x ~ 11 is 11
        rest = rest[: max(node.value.index("~"), 1)]
    is_name = first.head == "sym" or is_application(first) or is_symbols(first)
    if first.head == "fn" or not is_name:
        if algebra.symbols(node) or any(arg.head not in SCALARS for arg in node.args):
            return None
        rest = (first, *rest) if "~" not in node.value else (first,)
    elif any(first.value in algebra.symbols(term) for term in rest if first.head == "sym"):
        return None
    try:
        agreed = all(same(simplified(term), simplified(rest[-1])) for term in rest[:-1])
    except (Unreadable, Undefined):
        return None
    return rest[-1] if agreed else None


SCALARS = frozenset(["num", "dec", "const", "add", "mul", "div", "neg", "pow", "fact", "fn", "percent", "deg"])


def is_application(node: Node) -> bool:
    """`f(x)`, which parses as f times x."""
    return node.head == "mul" and all(a.head == "sym" for a in node.args) and node.args[0].value in FUNCTION_NAMES


def is_symbols(node: Node) -> bool:
    return node.head in ("tuple", "list") and bool(node.args) and all(arg.head == "sym" for arg in node.args)


# Plus-minus, lists, sets, points, matrices


def has_pm(node: Node) -> bool:
    return any(n.head == "pm" for n in algebra.walk(node))


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
        return both and same_items(left.args, right.args, ordered=True)
    if left.head != right.head:
        return False
    if "and" in (left.value, right.value) and all(arg.head == "rel" for arg in left.args + right.args):
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
    """Equal shape and entries; a matrix of one row or column is also the point of its entries."""
    if left.head == right.head:
        return left.value == right.value and same_items(left.args, right.args, ordered=True)
    matrix, other = (left, right) if left.head == "matrix" else (right, left)
    if other.head != "tuple" or other.value != ("(", ")") or 1 not in matrix.value:
        return False
    return same_items(left.args, right.args, ordered=True)


COMPOUND = {"matrix": same_matrix, "set": same_set, "list": same_list, "tuple": same_tuple}


def based_value(node: Node) -> tuple[str, int]:
    """Digits and base; equal numbers in different bases are different answers."""
    digits, base = node.value
    return (digits.lstrip("0").upper() or "0", base)


# Percentages and quantities


def same_percent(answer: Node, gold: Node) -> bool:
    if answer.head == gold.head:
        return same(answer.args[0], gold.args[0])
    if gold.head == "percent":
        return same(answer, gold.args[0]) or same_scalar(answer, gold)
    return same_scalar(answer, gold)


def quantity(node: Node) -> tuple[Node, str]:
    """Value and unit text; degrees are a unit."""
    if node.head == "deg":
        return node.args[0], "degree"
    if node.head == "qty":
        return node.args[0], node.value
    return node, ""


def same_quantity(answer: Node, gold: Node) -> bool:
    """Equal after conversion; where one side names no unit, equal numbers (or radians)."""
    (left, left_unit), (right, right_unit) = quantity(answer), quantity(gold)
    if nested(left) or nested(right):
        left, right = without_units(left), without_units(right)
    left, left_unit = letter_unit(left, left_unit, right_unit)
    right, right_unit = letter_unit(right, right_unit, left_unit)
    if not left_unit or not right_unit:
        if same(left, right):
            return True
        return same_angle(answer, gold)
    first, second = units.read(left_unit), units.read(right_unit)
    if first and second:
        if first[0] != second[0]:
            return False
        return same(times(left, first[1] / second[1]), right)
    if {units.words(left_unit), units.words(right_unit)} & {"radian", "rad"}:
        return same_angle(answer, gold)
    one, other = units.words(left_unit), units.words(right_unit)
    return (one == other or one.split()[-1:] == other.split()[-1:] or one in other or other in one) and same(
        left, right
    )


def nested(node: Node) -> bool:
    return node.head in ("qty", "deg")


def without_units(node: Node) -> Node:
    return node.args[0] if nested(node) else node


def times(node: Node, factor: Fraction) -> Node:
    return node if factor == 1 else Node("mul", (node, Node("num", (), factor)))


def radians(node: Node) -> Node | None:
    """An angle in radians: `90^\\circ` or a multiple of pi; None for other quantities."""
    value, unit = quantity(node)
    if not unit or units.words(unit) in ("radian", "rad"):
        return value
    known = units.read(unit)
    return Node("deg", (value,)) if known and known[0] == "angle" else None


def same_angle(left: Node, right: Node) -> bool:
    """Degrees against radians; a bare number is in radians only where it is a multiple of pi."""
    first, second = radians(left), radians(right)
    if first is None or second is None:
        return False
    for node in (left, right):
        if not quantity(node)[1] and not algebra.has_constant(node, "pi"):
            return False
    return same_scalar(first, second)


def letter_unit(node: Node, unit: str, other: str) -> tuple[Node, str]:
    """`1000 g` beside a side with a unit: its last letter is one too, no variable."""
    if not unit and other and node.head == "mul" and node.args[1].head == "sym":
        name = node.args[1].value
        if units.read(name) and not algebra.symbols(node.args[0]):
            return node.args[0], name
    return node, unit


# Relations and sets of real numbers


def is_equation(node: Node) -> bool:
    """One `=` between two sides, at least one variable."""
    return node.head == "rel" and node.value == ("=",) and bool(algebra.symbols(node))


def is_relation(node: Node) -> bool:
    return node.head == "rel"


def same_relation(left: Node, right: Node) -> bool:
    """Equations up to a factor, inequalities in one variable as sets, ratios in proportion."""
    if left.head == right.head == "rel":
        if left.value == right.value == (":",) or set(left.value) == set(right.value) == {":"}:
            return same_ratio(left, right)
        if left.value == right.value == ("=",):
            return same_equation(left, right)
        variables = {variable_of(left), variable_of(right)}
        if None not in variables:
            return len(variables) == 1 and same_reals(left, right)
        return same_inequality(left, right)
    relation, other = (left, right) if left.head == "rel" else (right, left)
    if variable_of(relation) is None:
        return False
    if other.head in ("list", "set", "tuple", "cup", "cap", "setminus", "reals"):
        return same_reals(relation, other)
    return False


def same_ratio(left: Node, right: Node) -> bool:
    if len(left.args) != len(right.args):
        return False
    first, second = left.args[0], right.args[0]
    return all(
        same_scalar(Node("mul", (a, second)), Node("mul", (b, first)))
        for a, b in zip(left.args, right.args, strict=True)
    )


def difference(node: Node) -> Node:
    return Node("add", (node.args[0], Node("neg", (node.args[1],))))


def same_equation(left: Node, right: Node) -> bool:
    """Left minus right is the other's up to a constant factor that is not zero."""
    if algebra.symbols(left) != algebra.symbols(right):
        return False
    factor = factor_between(difference(left), difference(right))
    return factor is not None and factor != 0


def same_inequality(left: Node, right: Node) -> bool:
    """`a < b` in several variables, up to a factor; its sign turns the relation round."""
    if len(left.value) != 1 or len(right.value) != 1 or algebra.symbols(left) != algebra.symbols(right):
        return False
    factor = factor_between(difference(left), difference(right))
    if factor is None or factor == 0:
        return False
    mine, other = left.value[0], right.value[0]
    if mine == "!=" or other == "!=":
        return mine == other
    if mine not in FLIPPED or other not in FLIPPED:
        return False
    return algebra.is_real(factor) and other == (mine if factor > 0 else FLIPPED[mine])


def factor_between(first: Node, second: Node) -> Any:
    """c with first = c * second at every point tried, or None."""
    mp = algebra.mpmath().mp
    names = sorted(algebra.symbols(first) | algebra.symbols(second))
    factor = None
    used = 0
    for seed in range(10):
        values = {name: algebra.sample(name, seed) for name in names}
        try:
            a, b = algebra.number(first, values), algebra.number(second, values)
        except Undefined:
            continue
        if abs(b) < mp.mpf(10) ** -30 or abs(a) < mp.mpf(10) ** -30:
            if abs(a) > mp.mpf(10) ** -30 or abs(b) > mp.mpf(10) ** -30:
                return None
            continue
        if factor is None:
            factor = a / b
        elif not algebra.agree(factor, a / b):
            return None
        used += 1
    return factor if used >= 3 else None


def is_real_set(node: Node) -> bool:
    if node.head in ("cup", "cap", "setminus", "reals"):
        return True
    return node.head == "tuple" and len(node.args) == 2 and node.value in (("(", "]"), ("[", ")"))


def is_conjunction(node: Node) -> bool:
    """`x > 1 and x < 3`."""
    return node.head == "list" and node.value == "and" and bool(node.args) and all(inequality(arg) for arg in node.args)


def inequality(node: Node) -> bool:
    return node.head == "rel" and set(node.value) <= set(FLIPPED)


def variable_of(node: Node) -> str | None:
    """The one variable that a relation is about (`0 \\le x < 1`, `x \\in ...`), or None."""
    if node.head == "list":
        names = {variable_of(arg) for arg in node.args if arg.head == "rel"}
        return names.pop() if len(names) == 1 and all(arg.head == "rel" for arg in node.args) else None
    if node.head != "rel":
        return None
    names = {arg.value for arg in node.args if arg.head == "sym"}
    others = [arg for arg in node.args if arg.head != "sym"]
    if len(names) != 1 or any(algebra.symbols(arg) for arg in others) or len(node.args) - len(others) != 1:
        return None
    return str(names.pop())


def same_reals(left: Node, right: Node) -> bool:
    """Two sets of reals as sorted lists of disjoint intervals with equal ends."""
    if left.head not in SETS or right.head not in SETS:
        return False
    first, second = merged(intervals(left)), merged(intervals(right))
    return len(first) == len(second) and all(
        a[1] == b[1] and a[3] == b[3] and ends_agree(a[0], b[0]) and ends_agree(a[2], b[2])
        for a, b in zip(first, second, strict=True)
    )


SETS = frozenset({"cup", "cap", "setminus", "reals", "set", "tuple", "list", "rel"})
Interval = tuple[Any, bool, Any, bool]  # low, low included, high, high included


def intervals(node: Node) -> list[Interval]:
    """The intervals of a set of reals. Raises `Unreadable` for anything else."""
    head, args = node.head, node.args
    if head == "cup":
        return intervals(args[0]) + intervals(args[1])
    if head == "cap":
        return intersection(merged(intervals(args[0])), merged(intervals(args[1])))
    if head == "setminus":
        return intersection(merged(intervals(args[0])), complement(merged(intervals(args[1]))))
    if head == "reals" and node.value == "R":
        return [(*infinite(-1), *infinite(1))]
    if head == "set":
        return [(x, True, x, True) for x in (end(arg) for arg in args)]
    if head == "tuple" and len(args) == 2:
        low, high = end(args[0]), end(args[1])
        if low > high:
            raise Unreadable("the ends are in the wrong order")
        return [(low, node.value[0] == "[", high, node.value[1] == "]")]
    if head == "list" and args and node.value == "and":
        result = merged(intervals(args[0]))
        for arg in args[1:]:
            result = intersection(result, merged(intervals(arg)))
        return result
    if head == "list" and args and all(arg.head == "rel" for arg in args):
        return [interval for arg in args for interval in intervals(arg)]
    if head == "rel":
        return solution(node)
    raise Unreadable("not a set of real numbers")


def infinite(sign: int) -> tuple[Any, bool]:
    return (sign * algebra.mpmath().mp.inf, False)


def end(node: Node) -> Any:
    """A bound as a real mpf, or infinity."""
    value = algebra.constant(node)
    if not algebra.mpmath().mp.isinf(value) and not algebra.is_real(value):
        raise Unreadable("a bound that is not real")
    return algebra.mpmath().mp.re(value)


def solution(node: Node) -> list[Interval]:
    """`0 \\le x < 1`, `x \\in S`, `x \\ne 2`, `x = 3` as intervals of x."""
    if variable_of(node) is None:
        raise Unreadable("not a relation in one variable")
    if node.value == ("in",):
        return intervals(node.args[1])
    result = [(*infinite(-1), *infinite(1))]
    position = next(n for n, arg in enumerate(node.args) if arg.head == "sym")
    for index, operator in enumerate(node.value):
        if position == index:  # x op bound
            bound = end(node.args[index + 1])
        elif position == index + 1:  # bound op x
            bound, operator = end(node.args[index]), FLIPPED.get(operator, operator)
        else:
            raise Unreadable("a chain that does not hold the variable in the middle")
        result = intersection(result, half_line(operator, bound))
    return result


def half_line(operator: str, bound: Any) -> list[Interval]:
    below, above = infinite(-1), infinite(1)
    if operator in ("<", "<="):
        return [(*below, bound, operator == "<=")]
    if operator in (">", ">="):
        return [(bound, operator == ">=", *above)]
    if operator == "=":
        return [(bound, True, bound, True)]
    if operator == "!=":
        return [(*below, bound, False), (bound, False, *above)]
    raise Unreadable(f"relation {operator}")


def ends_agree(a: Any, b: Any) -> bool:
    return bool(algebra.agree(a, b))


def before(a: Any, b: Any) -> bool:
    return bool(a < b) and not ends_agree(a, b)


def merged(items: list[Interval]) -> list[Interval]:
    """Sorted, disjoint, as few as possible; empty intervals dropped."""
    kept = [i for i in items if before(i[0], i[2]) or (ends_agree(i[0], i[2]) and i[1] and i[3])]
    kept.sort(key=lambda i: (i[0], not i[1]))
    result: list[Interval] = []
    for low, low_in, high, high_in in kept:
        if result:
            last = result[-1]
            touches = ends_agree(last[2], low) and (last[3] or low_in)
            if touches or before(low, last[2]):
                if ends_agree(last[2], high):
                    result[-1] = (last[0], last[1], high, high_in or last[3])
                elif before(last[2], high):
                    result[-1] = (last[0], last[1], high, high_in)
                continue
        result.append((low, low_in, high, high_in))
    return result


def intersection(left: list[Interval], right: list[Interval]) -> list[Interval]:
    result = []
    for a in left:
        for b in right:
            low = max((a[0], not a[1]), (b[0], not b[1]))
            high = min((a[2], a[3]), (b[2], b[3]))
            result.append((low[0], not low[1], high[0], high[1]))
    return merged(result)


def complement(items: list[Interval]) -> list[Interval]:
    result, (low, low_in) = [], infinite(-1)
    for start, start_in, stop, stop_in in items:
        result.append((low, low_in, start, not start_in))
        low, low_in = stop, not stop_in
    result.append((low, low_in, *infinite(1)))
    return merged(result)
