"""Where tests written in Python check something, and the same tests with every check counting itself.

A test that checked nothing never passes, and a check that failed has failed whoever swallows its exception. The names
that are put in (`__checked__` and its like) are the checker's (`inside/checker.py`).
"""

import ast
import builtins
from typing import Any

RAISES = frozenset({"raises", "assertRaises", "assertRaisesRegex", "assertWarns", "assert_raises", "warns"})
EXITS = frozenset({"exit", "quit", "fail", "_exit"})


def is_claim(node: ast.AST) -> bool:
    """A comparison that stands alone as a statement: what is meant is that it holds."""
    if not isinstance(node, ast.Expr):
        return False
    value = node.value
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
        return True
    if isinstance(value, ast.Call):
        return called_name(value) in ("isinstance", "isclose", "allclose", "array_equal", "all", "any")
    if isinstance(value, ast.BoolOp):
        return any(isinstance(node, ast.Compare) for node in ast.walk(value))
    return isinstance(value, ast.Compare)


def called_name(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def is_builtin(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and hasattr(builtins, call.func.id)


def is_assertion_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and called_name(node.value).lower().startswith("assert")


def is_raises(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any(called_name(item.context_expr) in RAISES for item in node.items)


def is_guard(node: ast.AST) -> bool:
    """`if wrong: raise`, or exit."""
    if not isinstance(node, ast.If):
        return False
    inside = [n for statement in [*node.body, *node.orelse] for n in ast.walk(statement)]
    return any(isinstance(n, ast.Raise) or called_name(n) in EXITS for n in inside)


def claim_of(test: ast.expr) -> ast.expr | None:
    """What an assertion claims: of `assert (claim, "message")`, which is always true, the claim; None for nothing."""
    if isinstance(test, ast.Tuple) and len(test.elts) == 2 and is_text(test.elts[1]):
        return test.elts[0]
    always = (
        (
            isinstance(test, ast.Tuple | ast.List | ast.Set)
            and any(not isinstance(element, ast.Starred) for element in test.elts)
        )
        or (isinstance(test, ast.Dict) and any(key is not None for key in test.keys))
        or (isinstance(test, ast.Constant) and bool(test.value))
        or isinstance(test, ast.GeneratorExp | ast.Lambda)
    )
    return None if always else test


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def is_check(node: ast.AST) -> bool:
    return (
        (isinstance(node, ast.Assert) and claim_of(node.test) is not None)
        or is_claim(node)
        or is_assertion_call(node)
        or is_raises(node)
        or is_guard(node)
        or (isinstance(node, ast.Expr) and called_name(node.value) in RAISES)
    )


def has_check(tree: ast.AST) -> bool:
    return any(is_check(node) for node in ast.walk(tree))


class Itself:
    """Which checks compare the answer with nothing but itself: `assert f() == P(1, 2)`, where `P` is the answer's too.

    taken: the answer's names. Beside them, names of the tests' that stand for nothing but what its calls gave.
    """

    def __init__(self, trees: list[ast.Module], taken: frozenset[str]) -> None:
        self.taken, self.names = taken, set[str]()
        given: dict[str, list[ast.expr]] = {}
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                given.setdefault(node.targets[0].id, []).append(node.value)
        while found := {name for name, values in given.items() if all(map(self.gave, values))} - self.names:
            self.names |= found

    def gave(self, value: ast.expr) -> bool:
        """Whether a value is the answer's word: what a call of it gave, or an attribute of that."""
        if isinstance(value, ast.Call):
            return self.gave(value.func) or (isinstance(value.func, ast.Name) and value.func.id in self.taken)
        if isinstance(value, ast.Attribute):
            return self.gave(value.value)
        return isinstance(value, ast.Name) and value.id in self.names

    def compared(self, node: ast.AST) -> bool:
        sides: list[ast.expr] = []
        if isinstance(node, ast.Assert | ast.Expr):
            claim = node.test if isinstance(node, ast.Assert) else node.value
            if isinstance(claim, ast.Compare):
                sides = [claim.left, *claim.comparators]
            elif isinstance(claim, ast.Call) and called_name(claim).startswith("assert"):
                sides = claim.args[:2]
        return len(sides) > 1 and all(map(self.gave, sides))


class Counting(ast.NodeTransformer):
    """Every check is reported to the checker; one that fails is remembered, whoever swallows its exception.

    Not remembered: a check in a `try` whose handlers check or raise in their turn (either of two answers is right).
    A handler that is reached is a check itself: passed where the test wants the exception (it names its class, or has
    an `assert False` behind the call), else failed. An assertion of what is always true is no check (`claim_of`);
    `assert True` is one in a `try` alone, where it says that this is the place to come to.
    """

    def __init__(self) -> None:
        self.soft = 0
        self.tries = 0

    def visit_Try(self, node: ast.Try) -> Any:
        self.tries += 1
        checks = any(has_check(statement) for statement in [*node.body, *node.orelse])
        expected = any(is_refusal(statement) for statement in [*node.body, *node.orelse])
        handled = any(has_check(handler) or is_raising(handler) for handler in node.handlers)
        self.soft += handled
        node.body = self.all(node.body)
        self.soft -= handled
        for handler in node.handlers:
            handler.body = self.all(handler.body)
            if checks and not handled:
                marker = "counted" if expected or not is_broad(handler) else "failed"
                handler.body[:0] = ast.parse(f"__{marker}__()").body
        node.orelse, node.finalbody = self.all(node.orelse), self.all(node.finalbody)
        self.tries -= 1
        return node

    def all(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in statements:
            new = self.visit(statement)
            found += new if isinstance(new, list) else [new]
        return found

    def wrapped(self, value: ast.expr) -> ast.expr:
        name = "__softly__" if self.soft else "__checked__"
        return ast.Call(ast.Name(name, ast.Load()), [value], [])

    def visit_Assert(self, node: ast.Assert) -> Any:
        claim = claim_of(node.test)
        if claim is None and self.tries and isinstance(node.test, ast.Constant):
            claim = node.test
        if claim is not None:
            node.test = self.wrapped(claim)
        return node

    def visit_If(self, node: ast.If) -> Any:
        if is_guard(node):
            node.test = ast.Call(ast.Name("__softly__", ast.Load()), [node.test], [])
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> Any:
        if is_claim(node):
            return ast.Assert(self.wrapped(node.value), None)
        if is_assertion_call(node) or called_name(node.value) in RAISES:
            return [node, *ast.parse("__counted__()").body]
        call = node.value
        if isinstance(call, ast.Call) and any(isinstance(one, ast.Name) for one in call.args) and not is_builtin(call):
            # Its value is dropped, so it is called for what it does to its arguments.
            node.value = ast.Call(ast.Name("__in_place__", ast.Load()), [call.func, *call.args], call.keywords)
        return node

    def visit_With(self, node: ast.With) -> Any:
        self.generic_visit(node)
        return [node, *ast.parse("__counted__()").body] if is_raises(node) else node


BROAD = frozenset({"Exception", "BaseException", "AssertionError"})


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)


def is_refusal(statement: ast.stmt) -> bool:
    """`assert False`, `raise` or `fail()`: the line before should have raised."""
    constant = (
        isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Constant) and not statement.test.value
    )
    return (
        constant
        or isinstance(statement, ast.Raise)
        or (isinstance(statement, ast.Expr) and called_name(statement.value) in EXITS)
    )


def is_raising(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Raise | ast.Return) or called_name(n) in EXITS for n in ast.walk(node))


def counted(tree: ast.Module) -> str:
    return ast.unparse(ast.fix_missing_locations(Counting().visit(tree)))
