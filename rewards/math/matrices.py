"""Sums and products of matrices, entry by entry, into one matrix of unevaluated entries."""

from fractions import Fraction

from rewards.math.tree import Node, TooBig, Unreadable

MAX_ENTRIES = 400


def evaluated(node: Node) -> Node:
    """`A + B`, `A - B`, `2 A`, `A / 2`, `A B`, `A^2` of matrices as a matrix; every other node as it is.

    Raises `Unreadable` where the shapes do not fit, `TooBig` beyond `MAX_ENTRIES`.
    """
    if not has_matrix(node):
        return node
    return value(node)


def has_matrix(node: Node) -> bool:
    """Whether arithmetic is done with matrices somewhere at the top."""
    if node.head in ("add", "mul", "div", "neg", "pow"):
        return any(arg.head == "matrix" or has_matrix(arg) for arg in node.args)
    return False


def value(node: Node) -> Node:
    if node.head == "neg" and has_matrix(node):
        return scaled(value(node.args[0]), Node("num", (), Fraction(-1)))
    if node.head not in ("add", "mul", "div", "pow") or not has_matrix(node):
        return node
    left, right = value(node.args[0]), node.args[1] if node.head == "pow" else value(node.args[1])
    both = left.head == right.head == "matrix"
    if node.head == "add" and both and left.value == right.value:
        pairs = zip(left.args, right.args, strict=True)
        return Node("matrix", tuple(Node("add", pair) for pair in pairs), left.value)
    if node.head == "mul" and both:
        return product(left, right)
    if node.head == "mul" and "matrix" in (left.head, right.head):
        return scaled(*((left, right) if left.head == "matrix" else (right, left)))
    if node.head == "div" and left.head == "matrix" and right.head != "matrix":
        return Node("matrix", tuple(Node("div", (entry, right)) for entry in left.args), left.value)
    if node.head == "pow" and right.head == "num" and right.value in (2, 3, 4):
        result = left
        for _ in range(int(right.value) - 1):
            result = product(result, left)
        return result
    raise Unreadable("no arithmetic of matrices")


def scaled(matrix: Node, factor: Node) -> Node:
    return Node("matrix", tuple(Node("mul", (factor, entry)) for entry in matrix.args), matrix.value)


def product(left: Node, right: Node) -> Node:
    (rows, inner), (height, columns) = left.value, right.value
    if inner != height:
        raise Unreadable("shapes that do not fit")
    if rows * inner * columns > MAX_ENTRIES:
        raise TooBig("a product of large matrices")
    entries = []
    for row in range(rows):
        for column in range(columns):
            terms = [Node("mul", (left.args[row * inner + k], right.args[k * columns + column])) for k in range(inner)]
            total = terms[0]
            for term in terms[1:]:
                total = Node("add", (total, term))
            entries.append(total)
    return Node("matrix", tuple(entries), (rows, columns))
