"""Tests written in Python that cannot run here, whoever answers: refused before any candidate runs."""

import ast
import re
import sys
from collections.abc import Collection

from rewards.code.checks import called_name
from rewards.code.inside import arrays

# Names by which tests import what is to be tested.
SOLUTION = frozenset(
    "solution solutions submission submitted candidate answer main my_solution your_solution your_module your_code "
    "__main__ solution_module module_under_test student user_solution generated_code implementation program".split()
)
STAND_INS = frozenset({"pytest", "numpy", "bare_cases"})  # pytests.py, arrays.py, bare_cases.py in `inside/`
STREAMS = frozenset({"redirect_stdout", "redirect_stderr", "capsys", "capfd", "caplog"})
FIXTURES = frozenset(
    "monkeypatch tmp_path tmp_path_factory tmpdir tmpdir_factory request recwarn capsysbinary capfdbinary pytestconfig "
    "record_property cache doctest_namespace testdir pytester mocker benchmark".split()
)  # of pytest and its plugins, which tests may ask for by a parameter's name
STREAM_TEXTS = frozenset({"builtins.input", "builtins.print", "sys.stdin", "sys.stdout"})


class BadTests(ValueError):
    """The tests cannot be run, whoever answers; the message is one line, whatever of the tests it quotes, and says
    why."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def refuse(tree: ast.Module, here: frozenset[str], own: Collection[str], modules: set[str]) -> None:
    """Raises `BadTests`. here: modules besides the standard library's. own: functions of the tests. modules: names by
    which they import the answer's module."""
    refuse_what_is_not_here(tree, here)
    refuse_numpy_s_rest(tree)
    refuse_streams(tree)
    refuse_fixtures(tree, own)
    refuse_what_needs_the_answer_itself(tree, modules)
    refuse_what_runs_an_answer_s_data(tree)


def refuse_what_is_not_here(tree: ast.Module, here: frozenset[str]) -> None:
    optional = {
        id(node)
        for attempt in ast.walk(tree)
        if isinstance(attempt, ast.Try) and attempt.handlers
        for child in attempt.body
        for node in ast.walk(child)
    }
    for node in ast.walk(tree):
        if id(node) in optional:
            continue
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or "."]
        for module in modules:
            refuse_missing(module, here)


def refuse_missing(module: str, here: frozenset[str]) -> None:
    if module.split(".")[0] not in sys.stdlib_module_names | here | STAND_INS:
        raise BadTests(
            f"the tests import {module}, which is not in the sandbox, where Python's standard library alone is: write "
            "them with that (math.isclose, lists), or leave them out"
        )


def refuse_numpy_s_rest(tree: ast.Module) -> None:
    """What the stand-in for numpy does not have."""
    aliases, used = {"np", "numpy"}, set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname for alias in node.names if alias.name == "numpy" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numpy":
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            used |= {f"numpy.{rest}"} if first in aliases else set()
    there = {*arrays.MEMBERS, "testing", *(f"testing.{name}" for name in arrays.TESTING)}
    for name in sorted(used):
        if name.removeprefix("numpy.") not in there:
            raise BadTests(f"the tests use {name}: of numpy, comparisons of numbers and lists alone are in the sandbox")


def dotted(node: ast.AST) -> str:
    """`a.b.c` of names; "" of anything else."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def refuse_streams(tree: ast.Module) -> None:
    """The candidate's standard streams are in another process: a test that looks at them would fail for everyone."""
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        name = node.arg if isinstance(node, ast.arg) else name
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if name in STREAMS or text in STREAM_TEXTS:
            raise BadTests(f"the tests look at the answer's standard streams ({name or text}): use stdin and stdout")


def refuse_fixtures(tree: ast.Module, own: Collection[str]) -> None:
    """`inside/pytests.py` has none of these. own: functions of the tests, which may bear such a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (node.name.startswith("test") or "fixture" in decorators(node)):
            wanted = {arg.arg for arg in node.args.args} & FIXTURES - set(own)
            for name in sorted(wanted - decorators(node)):  # a parameter of `parametrize` may bear such a name
                raise BadTests(f"the tests use pytest's fixture {name}, which is not here")


def decorators(node: ast.FunctionDef) -> set[str]:
    """Names and words in a function's decorators."""
    inside = [part for decorator in node.decorator_list for part in ast.walk(decorator)]
    words = {word for p in inside if isinstance(p, ast.Constant) for word in re.findall(r"\w+", str(p.value))}
    return words | {p.attr if isinstance(p, ast.Attribute) else getattr(p, "id", "") for p in inside}


def refuse_what_needs_the_answer_itself(tree: ast.Module, modules: set[str]) -> None:
    """What works in one process alone: the answer's module as a value, patches of it, its source, its coroutines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in modules:
            raise BadTests(f"the tests use the answer's module {node.id} as a value: import its functions by name")
        runs = called_name(node) == "run_until_complete" or (
            isinstance(node, ast.Attribute) and ast.unparse(node) == "asyncio.run"
        )
        if runs or isinstance(node, ast.AsyncFunctionDef | ast.Await):
            raise BadTests("the tests are asynchronous: the answer's coroutines are in another process")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "inspect":
            raise BadTests(f"the tests look into the answer (inspect.{node.attr}), which is in another process")
        if isinstance(node, ast.Call) and called_name(node) == "patch" and node.args:
            text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            if isinstance(text, str) and text.split(".")[0] in SOLUTION:
                raise BadTests(f"the tests patch {text}, which is in another process")


RUNNERS = {
    **dict.fromkeys(("pickle", "marshal", "shelve"), ("load", "loads", "Unpickler", "open")),
    **dict.fromkeys(("builtins", "__builtins__"), ("eval", "exec", "compile")),
}


def refuse_what_runs_an_answer_s_data(tree: ast.Module) -> None:
    """The checker would run it, and its word is the verdict (`eval` of a text: `inside/texts.py`)."""
    for node in ast.walk(tree):
        module, names = "", []
        if isinstance(node, ast.ImportFrom):
            module, names = node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, names = node.value.id, [node.attr]
        for name in names:
            if name in RUNNERS.get(module, ()):
                raise BadTests(f"the tests would run what an answer returns ({module}.{name})")
