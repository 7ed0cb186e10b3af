"""The shape of a tree as text: equal for what is written the same but for order, grouping and trivial parts."""

from fractions import Fraction

from rewards.math.tree import Node


def rational_literal(node: Node) -> Fraction | None:
    """The value of a number as one writes it: 3, 2.5, 3/4, 2\\frac{1}{2}; None for anything else."""
    if node.head == "num":
        return node.value
    if node.head == "dec":
        return node.value[0]
    if node.head == "neg":
        inner = rational_literal(node.args[0]) if node.args[0].head in ("num", "dec") else None
        return None if inner is None else -inner
    if node.head == "div":
        top, bottom = (rational_literal(arg) if arg.head in ("num", "neg") else None for arg in node.args)
        return top / bottom if top is not None and bottom else None
    if node.head == "add" and node.value == "mixed":
        whole, part = (rational_literal(arg) for arg in node.args)
        return None if whole is None or part is None else whole + part
    return None


def shape(node: Node) -> str:
    head, args = node.head, node.args
    if head == "num":
        return str(node.value)
    if head == "dec":
        value = node.value[0]
        return str(value) if value.denominator == 1 else f"dec{value}"
    if head in ("sym", "const"):
        return f"{head}:{node.value}"
    if head in ("add", "mul", "div", "neg"):
        return chain_shape(*chain(node))
    if head == "pow":
        return power(shape(args[0]), shape(args[1]))
    if head == "fn" and node.value == "sqrt":
        return power(shape(args[0]), "*(/2)")
    if head == "fn" and node.value == "root":
        return power(shape(args[0]), f"*(/{shape(args[1])})")
    return f"{head}:{node.value}({','.join(shape(arg) for arg in args)})"


def power(base: str, exponent: str) -> str:
    return base if exponent == "1" else f"^({base},{exponent})"


def chain(node: Node) -> tuple[str, list[str]]:
    """("+", terms) of a sum, ("*", factors) of a product or quotient; a divisor has a `/`, a subtrahend a `-`."""
    members: list[str] = []
    if node.head in ("mul", "div"):
        sign = collect_factors(node, False, members)
        members = [factor for factor in members if factor not in ("1", "/1")]
        return "*", [*(["-1"] if sign else []), *members]
    collect_terms(node, False, members)
    return "+", [term for term in members if term not in ("0", "-0")]


def chain_shape(head: str, members: list[str]) -> str:
    if not members:
        return "0" if head == "+" else "1"
    if len(members) == 1 and not members[0].startswith("/"):
        return members[0]
    return f"{head}({','.join(sorted(members))})"


def collect_terms(node: Node, negative: bool, into: list[str]) -> None:
    if node.head == "add":
        for arg in node.args:
            collect_terms(arg, negative, into)
    elif node.head == "neg":
        collect_terms(node.args[0], not negative, into)
    else:
        text = shape(node)
        if text.startswith("*(-1,"):
            text, negative = chain_shape("*", [m for m in chain(node)[1] if m != "-1"]), not negative
        into.append("-" + text if negative else text)


def collect_factors(node: Node, below: bool, into: list[str]) -> bool:
    """Whether the product's sign is turned."""
    if node.head in ("mul", "div"):
        first = collect_factors(node.args[0], below, into)
        return first != collect_factors(node.args[1], below != (node.head == "div"), into)
    if node.head == "neg":
        return not collect_factors(node.args[0], below, into)
    into.append("/" + shape(node) if below else shape(node))
    return False
