"""What an answer names: `x = 5`, `|AB| = 1`, `S_1 : S_2 = 7 : 32`, `f(x) > 2`, `p = 5, q = 2; p = 7, q = 2`."""

import re

from rewards.math import tokens
from rewards.math.tree import Node, symbols, walk

FUNCTION_NAMES = frozenset("fghFGHPQpq")
COORDINATES = frozenset("xyzt")  # an equation in these describes a line or a curve, it names nothing
RATIOS = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "abs", "prime", "sqrt"])
NAMING = frozenset(["mul", "div", "add", "neg", "pow", "ratio", "fn", "sym"])


IN_WORDS = re.compile(
    r"((?:\\(?:text|mathrm|operatorname)\s*\{[A-Za-z ]{2,60}\}|\\?(?:max|min)|[A-Za-z]{3,20}(?: [A-Za-z]{1,20}){0,6}?)"
    r"(?: ?\(?[A-Z]{1,4}\)?)?) ?= ?([^=<>]+)"
)


IS_IN_WORDS = re.compile(
    r"((?:[Tt]he )?[A-Za-z]{3,20}(?: [A-Za-z]{1,20}){0,6}?)(?: (?:is|equals|is equal to) | ?: )"
    r"(-?\s?[\d$\\(](?:[^=<>:;?!]|(?<=[\d}]) ?: ?(?=[\d\\]))*)"  # a ratio or a time of day, too
)


NO_NAME = frozenset("not no except other than but or unless excluding never neither nor if".split())


def without_words(answer: str, gold: str) -> tuple[str, str]:
    """`\\text{Area} = 24`, `Total cost = 24` and `The area is 24` as 24, where the other side names nothing, or the
    same."""
    one, other = (split_words(text) for text in (answer, gold))
    if one and other:
        same = spelled_out(one[0]) == spelled_out(other[0])
        return (one[1], other[1]) if same else (answer, gold)
    if one and "=" not in gold:
        return one[1], gold
    return (answer, other[1]) if other and "=" not in answer else (answer, gold)


def split_words(text: str) -> tuple[str, str] | None:
    """(name, value) where words name what a text gives; a function's value (`sin A = 1/2`) has no such name."""
    found = IN_WORDS.fullmatch(text) if "=" in text else IS_IN_WORDS.fullmatch(text)
    if found is None or r"\le" in text or r"\ge" in text or r"\ne" in text:
        return None
    known = (tokens.FUNCTIONS | tokens.WORDS | NO_NAME) - {"max", "min"}
    return None if any(word in known for word in spelled_out(found[1]).split()) else (found[1], found[2].strip())


def spelled_out(name: str) -> str:
    return " ".join(re.sub(r"\\[a-z]+|[^A-Za-z]", " ", name).casefold().split())


def named(node: Node) -> bool:
    """`name = value`."""
    return node.head == "rel" and node.value == ("=",) and is_name(node.args[0], node.args[1:])


def is_name(first: Node, rest: tuple[Node, ...]) -> bool:
    """Whether `first` only names the quantity whose values the terms of `rest` are."""
    if first.head == "sym":
        return not any(first.value in symbols(term) for term in rest)
    if is_application(first) or is_symbols(first):
        return True
    if first.head == "ratio" and all(arg.head == "sym" for arg in first.args) and all(map(is_known_ratio, rest)):
        return True
    known = symbols(first) - ({"z"} if first.head == "fn" and first.value == "abs" else set())
    return (
        bool(symbols(first))
        and not known & COORDINATES
        and not any(symbols(term) for term in rest)
        and first.head in NAMING
        and not any(counts(part) for part in parts(first))
    )


def parts(node: Node) -> list[Node]:
    """Factors, terms, numerators and the like, but not what a function or a power is taken of."""
    if node.head in ("mul", "div", "add", "neg", "ratio"):
        return [part for arg in node.args for part in parts(arg)]
    if node.head == "pow":
        return parts(node.args[0])
    return [node]


def counts(part: Node) -> bool:
    """Whether a part of a left side is more than a name: `2 a = 6` is to be solved."""
    return part.head != "sym" and not (part.head == "fn" and part.value in RATIOS)


def is_application(node: Node) -> bool:
    """`f(x)`, `f(3)`, `f'(x)`, which parse as a product."""
    if node.head != "mul":
        return False
    name = node.args[0]
    while name.head == "fn" and name.value == "prime":
        name = name.args[0]
    return name.head == "sym" and name.value in FUNCTION_NAMES


def is_known_ratio(node: Node) -> bool:
    return node.head == "ratio" and not symbols(node)


def is_symbols(node: Node) -> bool:
    return node.head in ("tuple", "list") and bool(node.args) and all(arg.head == "sym" for arg in node.args)


def named_functions(node: Node) -> Node:
    """`1 < f(x) < 3` with `f(x)` as one name."""
    if node.head != "rel":
        return node
    return Node("rel", tuple(one_name(arg) for arg in node.args), node.value)


def one_name(node: Node) -> Node:
    if is_application(node) and node.args[1].head == "sym":
        return Node("sym", (), f"{node.args[0].value}({node.args[1].value})")
    return node


# Several unknowns


def as_points(one: Node, other: Node) -> tuple[Node, Node] | None:
    """Both sides as points, or as lists of points, where one assigns values to several names.

    `x = 1, y = 2` is (1, 2), and `p = 5, q = 2; p = 7, q = 2` is (5, 2), (7, 2). Two sides that assign must assign
    to the same names; None where neither does.
    """
    first, second = assignments(one), assignments(other)
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        order = sorted(first[0])
        if sorted(second[0]) != order:
            return Node("text", (), "left"), Node("text", (), "right")  # other unknowns: never equal
        return points(first, order), points(second, order)
    known = first or second
    assert known is not None
    order = list(known[0])
    if len(known) == 1 and all(name.startswith("x_") for name in order):  # the roots of one unknown have no order
        roots = Node("list", tuple(known[0].values()))
        return (roots, other) if first is not None else (one, roots)
    if is_run(order):
        order.sort()
    return (points(known, order), other) if first is not None else (one, points(known, order))


def is_run(order: list[str]) -> bool:
    """Letters with a customary order: x, y, z; a, b, c; m, n; a_1, a_2."""
    letters = sorted(order)
    run = all(len(name) == 1 for name in letters) and ord(letters[-1]) - ord(letters[0]) == len(letters) - 1
    return run or all(name[:2] == f"{letters[0][0]}_" for name in letters)


def assignments(node: Node) -> list[dict[str, Node]] | None:
    """The solutions that a list of assignments gives, each with a value for every one of two or more names."""
    if node.head == "rel" and node.value == ("=",) and is_symbols(node.args[0]):
        node = Node("list", (node,))
    if node.head != "list" or not all(arg.head == "rel" and arg.value == ("=",) for arg in node.args):
        return None
    found: list[dict[str, Node]] = []
    for equation in node.args:
        left, right = equation.args
        if is_symbols(left) and right.head in ("tuple", "list") and len(right.args) == len(left.args):
            pairs = [(str(name.value), value) for name, value in zip(left.args, right.args, strict=True)]
        elif is_name(left, (right,)):
            pairs = [(spelling(left), right)]
        else:
            return None
        if not found or any(name in found[-1] for name, _ in pairs):
            found.append({})
        found[-1].update(pairs)
    unknowns = set(found[0])
    if len(unknowns) < 2 or any(set(solution) != unknowns for solution in found):
        return None
    return found


def points(solutions: list[dict[str, Node]], order: list[str]) -> Node:
    items = tuple(Node("tuple", tuple(one[name] for name in order), ("(", ")")) for one in solutions)
    return items[0] if len(items) == 1 else Node("list", items)


def spelling(node: Node) -> str:
    return str(node.value) if node.head == "sym" else "".join(f"{n.head}{n.value}" for n in walk(node))
