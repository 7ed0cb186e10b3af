"""Tests neither in Python nor JSON of calls: in fences, doctests, a call beside what it gives, named arguments."""

import ast
import builtins
import doctest
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rewards.code.answer import blocks
from rewards.code.refusals import BadTests

CALLS = ("input", "call", "expression", "test")
JSON_WORDS = {"true": True, "false": False, "null": None}


def as_python(source: str) -> str:
    """A test's text, taken out of its fence, a doctest as assertions; all else as it is. Raises `BadTests`."""
    if tree_of(source) is None and re.search(r"^\s*(```|~~~)", source, re.M):
        source = "\n\n".join(block.code for block in blocks(source)) or source
    if re.match(r"\s*>>>", source):
        return "\n".join(statements(source))
    return source


def statements(source: str) -> Iterator[str]:
    """A doctest's examples; what they print is the answer's, and is in another process."""
    try:
        examples = doctest.DocTestParser().get_examples(textwrap.dedent(source))
    except ValueError as error:
        raise BadTests(f"a doctest cannot be read: {error}") from None
    for example in examples:
        code, wanted = example.source.strip(), example.want.strip()
        if example.exc_msg is not None:
            kind = example.exc_msg.split(":")[0].strip()
            kind = kind if hasattr(builtins, kind) else "Exception"
            yield f"import pytest\nwith pytest.raises({kind}):\n{textwrap.indent(code, '    ')}"
        elif not wanted:
            yield code
        else:
            yield claim(code, wanted)


def claim(code: str, wanted: str) -> str:
    call = tree_of(code, "eval")
    if not isinstance(call, ast.Expression):
        raise BadTests(f"a doctest expects that a statement gives something: {code}")
    body = call.body
    if isinstance(body, ast.Call) and ast.unparse(body.func) == "print" and not body.keywords:
        shown = ", ".join(map(ast.unparse, body.args))
        return f"assert ' '.join(map(str, [{shown}])) == {wanted!r}"
    if is_literal(wanted):
        return f"assert ({code}) == {wanted}"
    if tree_of(wanted, "eval") is None:
        raise BadTests(f"a doctest looks at what the answer prints ({wanted.splitlines()[0]}): use stdin and stdout")
    return f"assert repr({code}) == {wanted!r}"


def beside(tests: Sequence[Any], expected: Sequence[str]) -> list[str] | None:
    """Assertions, of tests that are a call's text beside what it gives, `{"input": "f(1)", "output": "2"}`; else None.

    expected: names of what a call gives, of which the first that is there counts.
    """
    made: list[str] = []
    for test in tests:
        if not isinstance(test, dict):
            return None
        call = next((test[name] for name in CALLS if isinstance(test.get(name), str)), "")
        name = next((name for name in expected if name in test), None)
        if name is None or not is_call(call):
            return None
        made.append(f"assert ({call.strip()}) == {value_of(test[name])!r}")
    return made


def is_call(text: str) -> bool:
    """Whether a text is a call of something that is not built in."""
    tree = tree_of(text.strip(), "eval")
    body = tree.body if isinstance(tree, ast.Expression) else None
    if not isinstance(body, ast.Call):
        return False
    return not isinstance(body.func, ast.Name) or not hasattr(builtins, body.func.id)


def by_name(text: str) -> list[Any] | None:
    """The values of `nums = [2, 7], target = 9`, in their order; None for another text."""
    for one in (text, ", ".join(line.strip().rstrip(",") for line in text.splitlines() if line.strip())):
        tree = tree_of(f"dict({one})", "eval")
        call = tree.body if isinstance(tree, ast.Expression) else None
        if not isinstance(call, ast.Call) or call.args or not call.keywords or ast.unparse(call.func) != "dict":
            continue
        try:
            return [ast.literal_eval(Words().visit(keyword.value)) for keyword in call.keywords if keyword.arg]
        except (ValueError, TypeError):
            return None
    return None


class Words(ast.NodeTransformer):
    """JSON's words for Python's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(JSON_WORDS[node.id]) if node.id in JSON_WORDS else node


def value_of(text: Any) -> Any:
    """What a text of JSON or a literal of Python stands for; the text itself where it is neither."""
    if not isinstance(text, str):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
    return True


def tree_of(text: str, mode: str = "exec") -> ast.AST | None:
    try:
        return ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
