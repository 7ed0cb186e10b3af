"""Sets of real numbers as sorted, disjoint intervals: `0 \\le x < 1`, `(1,2)\\cup\\{3\\}`, `x \\ne 2`."""

from collections.abc import Iterator
from typing import Any

from rewards.math import algebra
from rewards.math.tree import Node, Undefined, Unreadable, symbols

MAX_PARTS = 50  # of a union that are looked at
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


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
    if len(names) != 1 or any(symbols(arg) for arg in others) or len(node.args) - len(others) != 1:
        return None
    return str(names.pop())


def same_reals(left: Node, right: Node) -> bool:
    """Two sets of reals as sorted lists of disjoint intervals with equal ends."""
    if left.head not in SETS or right.head not in SETS:
        return False
    first, second = merged(intervals(left)), merged(intervals(right))
    if not first or not second:  # no solution is stated by name, not by conditions that none fulfils
        return is_empty_set(left) and is_empty_set(right)
    if everything() in (first, second):  # nor are all of them stated by `x = 5 or x \ne 5`
        return first == second and is_one_range(left) and is_one_range(right)
    return len(first) == len(second) and all(
        a[1] == b[1] and a[3] == b[3] and ends_agree(a[0], b[0]) and ends_agree(a[2], b[2])
        for a, b in zip(first, second, strict=True)
    )


def has_idle_part(node: Node) -> bool:
    """`x<3, x=1`, `(2,\\infty)\\cup\\{5\\}`: whether a union has a part that lies within the others, which is a second
    answer beside the first, not more of it."""
    parts = list(united(node))
    if not 1 < len(parts) <= MAX_PARTS:
        return False
    try:
        pieces = [intervals(part) for part in parts]
    except (Unreadable, Undefined):
        return False
    whole = merged([interval for piece in pieces for interval in piece])
    rests = [merged([i for other in pieces if other is not piece for i in other]) for piece in pieces]
    return whole != everything() and whole in rests


def united(node: Node) -> Iterator[Node]:
    """What a union is made of, by its sign, by "or", or by commas; the node itself where it is none."""
    named = node.head == "rel" and node.value == ("in",)
    conditions = node.head == "list" and node.value != "and" and all(arg.head == "rel" for arg in node.args)
    union = node.head == "cup" or (conditions and any(arg.value != ("=",) for arg in node.args))
    for arg in node.args if union else ():
        yield from united(arg)
    if named:
        yield from united(node.args[1])
    elif not union:
        yield node


def is_empty_set(node: Node) -> bool:
    return node.head == "set" and not node.args


def is_one_range(node: Node) -> bool:
    """`\\mathbb{R}`, `(-\\infty, \\infty)`, `x \\in` either, `-\\infty < x < \\infty`."""
    if node.head == "rel" and node.value == ("in",):
        return is_one_range(node.args[1])
    return node.head in ("reals", "tuple", "rel")


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
        return everything()
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
        union = [interval for arg in args for interval in intervals(arg)]
        if node.value is None and merged(union) == everything():  # `x > 1, x < 3`: a comma that joins conditions
            return intervals(Node("list", args, "and"))
        return union
    if head == "rel":
        return solution(node)
    raise Unreadable("not a set of real numbers")


def everything() -> list[Interval]:
    return [(*infinite(-1), *infinite(1))]


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
    result = everything()
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
