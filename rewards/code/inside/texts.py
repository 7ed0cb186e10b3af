"""`eval`, `exec` and `compile` as the tests have them: a text that a candidate returned is never run in the checker.

What stands in the tests runs as it does everywhere. Of any other text `eval` reads arithmetic on plain values, without
attributes and with calls of a few functions; the rest, and `exec` and `compile`, are `bad_type`.
"""

import ast
import builtins
import sys
import types

PLAIN = (int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset, type(None))
FUNCTIONS = {
    name: getattr(builtins, name)
    for name in "abs bool divmod float int len list max min pow range round set sorted str sum tuple dict".split()
}
ARITHMETIC = (
    *(ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Load),
    *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Subscript, ast.Slice, ast.Name, ast.Call),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


def members(link, sources):
    """The three names for tests of these `sources`."""

    def own(text):
        return isinstance(text, types.CodeType) or (type(text) is str and any(text in s for s in sources))

    def run(text, space=None, local=None):
        frame = sys._getframe(1)
        space = frame.f_globals if space is None else space
        local = (frame.f_locals if space is frame.f_globals else space) if local is None else local
        if own(text):
            return eval(text, space, local)
        if type(text) is not str:
            raise link.blame("bad_type")
        tree = ast.parse(text.strip(), "answer", "eval")
        return eval(compile(tree, "answer", "eval"), {"__builtins__": FUNCTIONS}, names(tree, {**space, **local}))

    def names(tree, known):
        found = {}
        for node in ast.walk(tree):
            if not isinstance(node, ARITHMETIC) or (isinstance(node, ast.Call) and not calls_a_function(node)):
                raise link.blame("bad_type")
            if isinstance(node, ast.Name) and node.id not in FUNCTIONS and node.id in known:
                if type(known[node.id]) not in PLAIN:
                    raise link.blame("bad_type")
                found[node.id] = known[node.id]
        return found

    def execute(text, space=None, local=None, /, **options):
        if not own(text):
            raise link.blame("bad_type")
        frame = sys._getframe(1)
        space = frame.f_globals if space is None else space
        exec(text, space, (frame.f_locals if space is frame.f_globals else space) if local is None else local)

    def compiled(text, *arguments, **options):
        if not own(text):
            raise link.blame("bad_type")
        return compile(text, *arguments, **options)

    return {"eval": run, "exec": execute, "compile": compiled}


def calls_a_function(node):
    return isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
