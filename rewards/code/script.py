"""Tests written in Python, read before any candidate runs: what they take from it, and what is the checker's own.

    statements --symtable--> names that the tests use and do not bind themselves
               --ast------> the same statements, in which every check counts itself

A test takes from the candidate the entry point; without one, what it imports from the solution's module
and the names that nobody else has. Everything else it uses (built-in functions, standard modules,
`Counter`, `isclose`) is the checker's own, whatever the candidate calls by that name. All of it is decided here,
from the tests alone: nothing that a candidate does can change it.
"""

import ast
import builtins
import re
import symtable
import sys
import unittest
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rewards.code.answer import blocks
from rewards.code.checks import RAISES, Itself, called_name, counted, has_check, is_check, is_claim
from rewards.code.refusals import SOLUTION, BadTests, refuse, refuse_missing

# What tests use without importing it, and no task asks for: name -> module (numpy and pandas by their usual names).
USUAL = {
    **dict.fromkeys(("Counter", "defaultdict", "OrderedDict", "deque", "namedtuple", "ChainMap"), "collections"),
    **dict.fromkeys(("isclose", "fabs", "inf", "nan", "pi"), "math"),
    **dict.fromkeys(("List", "Dict", "Set", "Tuple", "Optional", "Union", "Any", "Callable", "Iterable"), "typing"),
    **{"deepcopy": "copy", "Fraction": "fractions", "Decimal": "decimal", "dataclass": "dataclasses", "Enum": "enum"},
}
ALIASES = {"np": "numpy", "pd": "pandas"}
ASSERTIONS = frozenset(name for name in dir(unittest.TestCase) if re.match(r"assert[A-Z]", name))
# Functions of the standard library that a task may ask for by the same name.
SHARED = frozenset(
    "gcd lcm factorial comb perm sqrt isqrt ceil floor log log2 log10 exp sin cos tan prod dist hypot permutations "
    "combinations product accumulate chain groupby islice reduce lru_cache cache partial bisect bisect_left "
    "bisect_right insort heappush heappop heapify nlargest nsmallest mean median mode stdev variance randint choice "
    "sample shuffle uniform copy itemgetter attrgetter".split()
)


class Unnamed(BadTests):
    """The tests do not name the function that they test."""


@dataclass(frozen=True, slots=True)
class Script:
    """Tests to run. steps: (source, whether it holds a check). taken: names that come from the candidate.

    own: name -> module of the checker's own things that are used without an import. candidate: the expression
    that `check(candidate)` gets, e.g. "add" or "Solution().add"; "" where the tests name no one function.
    smoke: test functions without a check in them. called: functions that the tests call themselves. valued: names of
    `taken` that the tests use as more than functions: what the candidate makes of such a name is its doing.
    classes: names of `taken` that are classes by their spelling. errors: those that the tests catch. imported: those
    that they import from the solution's module.
    """

    steps: tuple[tuple[str, bool], ...]
    taken: frozenset[str]
    own: tuple[tuple[str, str], ...]
    candidate: str
    smoke: frozenset[str]
    called: frozenset[str]
    valued: frozenset[str]
    classes: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    imported: frozenset[str] = frozenset()

    @property
    def asked(self) -> frozenset[str]:
        """Names that an answer must define one of."""
        return frozenset({root(self.candidate)}) if self.candidate else self.taken


CLASS_NAME = re.compile(r"_*[A-Z]\w*[a-z]\w*")


def root(expression: str) -> str:
    """The name that an entry point begins with: "Solution" of "Solution().add"."""
    return re.split(r"\W", expression.strip(), maxsplit=1)[0]


@lru_cache(maxsize=256)
def read(sources: tuple[str, ...], entry: str | None, prompt: str | None, here: frozenset[str]) -> Script:
    """Statements of tests, or one script. prompt: code of the prompt (`code_of_prompt`), whose helpers are the tests'.

    here: modules that tests may import besides the standard library's. Raises `BadTests`.
    """
    trees = [parsed(source) for source in sources]
    imports = Imports()
    trees = [imports.visit(tree) for tree in trees]
    outer = functions_of(trees)
    for tree in trees:
        refuse(tree, here, outer.keys(), imports.modules)
    helpers = parsed(prompt or "")
    bound, used = names_of([*trees, helpers])
    bound -= {root(entry)} if entry else set()
    free = used - bound
    taken, known = divided(free, trees, entry, imports.taken, imports.any)
    for module in known.values():
        if module:
            refuse_missing(module.split(":")[0], here)
    candidate = entry or (next(iter(taken)) if len(taken) == 1 else "") or named_by(prompt, taken)
    if "check" in outer and not candidate and takes_one(outer["check"]):
        raise Unnamed("nothing names the function that check(candidate) tests: give entry_point")
    if not taken:
        raise BadTests("the tests use nothing of the answer")
    for base in bases(trees) & taken:
        raise BadTests(f"the tests derive a class from {base}, which is in another process")
    if not any(has_check(tree) for tree in trees):
        raise BadTests("the tests assert nothing and compare nothing")
    itself, checks = Itself(trees, frozenset(taken)), [n for tree in trees for n in ast.walk(tree) if is_check(n)]
    if checks and all(map(itself.compared, checks)):
        raise BadTests("the tests compare the answer with itself alone: compare with values of their own")
    functions = {n.name: n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    smoke = frozenset(name for name, node in functions.items() if not has_check(node))
    called = frozenset(called_name(node) for tree in trees for node in at_once(tree))
    checking = functions.keys() - smoke
    is_test = [any(is_check(node) or called_name(node) in checking for node in at_once(tree)) for tree in trees]
    steps = tuple((counted(tree), test) for tree, test in zip(trees, is_test, strict=True))
    own = tuple(sorted((name, module) for name, module in known.items() if module))
    valued = frozenset(name for tree in trees for name in used_as_values(tree, {"check", *functions}))
    errors = frozenset(taken) & caught(trees)
    classes = frozenset(name for name in taken - errors if CLASS_NAME.fullmatch(name) and name != "Solution")
    return Script(
        steps,
        frozenset(taken),
        own,
        candidate,
        smoke,
        called,
        valued & taken,
        classes,
        errors,
        frozenset(imports.taken),
    )


def parsed(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            compile(tree, "tests", "exec")
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"a test is not Python: {' '.join(str(error).split())[:100]}") from None


# Names


class Imports(ast.NodeTransformer):
    """Imports from the solution's module become plain names. taken: those. any: whether there are any, or a star."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.modules: set[str] = set()
        self.any = False

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if (node.module or "").split(".")[-1] not in SOLUTION and not (node.level and not node.module):
            return node
        self.any = True
        names = [alias for alias in node.names if alias.name != "*"]
        self.taken |= {alias.name for alias in names}
        renamed = [alias for alias in names if alias.asname and alias.asname != alias.name]
        return [ast.parse(f"{alias.asname} = {alias.name}").body[0] for alias in renamed] or ast.Pass()

    def visit_Import(self, node: ast.Import) -> Any:
        ours = [alias for alias in node.names if alias.name.split(".")[0] in SOLUTION]
        self.modules |= {alias.asname or alias.name for alias in ours}
        self.any = self.any or bool(ours)
        node.names = [alias for alias in node.names if alias not in ours]
        return node if node.names else ast.Pass()

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in self.modules:
            self.taken.add(node.attr)
            return ast.copy_location(ast.Name(node.attr, node.ctx), node)
        return node


def names_of(trees: Iterable[ast.Module]) -> tuple[set[str], set[str]]:
    """Global names that the code binds, and those that it uses."""
    bound: set[str] = set()
    used: set[str] = set()

    def visit(table: symtable.SymbolTable) -> None:
        module = table.get_type() == "module"
        for symbol in table.get_symbols():
            if not module and not symbol.is_global():
                continue
            if symbol.is_assigned() or symbol.is_imported() or (module and symbol.is_namespace()):
                bound.add(symbol.get_name())
            elif symbol.is_referenced():
                used.add(symbol.get_name())
        for child in table.get_children():
            visit(child)

    for tree in trees:
        visit(symtable.symtable(ast.unparse(ast.fix_missing_locations(tree)), "tests", "exec"))
    return bound, used


def divided(
    free: set[str], trees: list[ast.Module], entry: str | None, imported: set[str], explicit: bool
) -> tuple[set[str], dict[str, str]]:
    """The free names that come from the candidate; and the checker's own, with the module of each ("": built in)."""
    own = {name: module for name in free if (module := owner(name, trees)) is not None}
    unknown = free - own.keys()
    if entry or imported & free:
        taken = ({root(entry)} if entry else set()) | (unknown - SHARED) | (imported & free)
    elif unknown - SHARED:
        taken = unknown - SHARED
    elif unknown:
        taken = in_every_assert(trees, unknown) or unknown
    elif explicit:  # `from solution import *`, and nothing but names that everyone has
        raise BadTests("the tests do not say which function they test: give entry_point")
    else:
        taken = in_every_assert(trees, {name for name in own if hasattr(builtins, name)})
        if len(taken) > 1:
            raise BadTests(f"the tests may mean any of {', '.join(sorted(taken))}: give entry_point")
    known = {name: module for name, module in own.items() if name not in taken}
    for name in unknown - taken:
        known[name] = next(f"{module}:{name}" for module in SHARED_MODULES if hasattr(__import__(module), name))
    return taken, known


SHARED_MODULES = ("math", "itertools", "functools", "bisect", "heapq", "statistics", "random", "copy", "operator")


def owner(name: str, trees: list[ast.Module]) -> str | None:
    """Where the checker has `name` from: "" a built-in, else the module; None where nobody but the candidate has it."""
    if hasattr(builtins, name) or name.startswith("__"):
        return ""
    if name in USUAL:
        return f"{USUAL[name]}:{name}"
    if name in ALIASES:
        return ALIASES[name]
    if name in ASSERTIONS or name == "self":
        return f"bare_cases:{'case' if name == 'self' else name}"
    if name in sys.stdlib_module_names and not any(calls(tree, name) for tree in trees):
        return name
    return None


def caught(trees: Iterable[ast.Module]) -> set[str]:
    """Names of exceptions that the tests expect: `except E`, `raises(E)`, `assertRaises(E)`."""
    kinds: list[ast.expr | None] = []
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ExceptHandler):
            kinds.append(node.type)
        elif isinstance(node, ast.Call) and called_name(node) in RAISES:
            kinds += node.args[:1]
    named = [e for kind in kinds for e in (kind.elts if isinstance(kind, ast.Tuple) else [kind])]
    return {name.id for name in named if isinstance(name, ast.Name)}


def bases(trees: Iterable[ast.Module]) -> set[str]:
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}


def calls(tree: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name for n in ast.walk(tree))


def in_every_assert(trees: list[ast.Module], names: set[str]) -> set[str]:
    """Those of `names` that every assertion calls."""
    asserts = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Assert) or is_claim(node)]
    called = [
        {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        for node in asserts
    ]
    return set.intersection(*called) & names if called else set()


def named_by(prompt: str | None, taken: set[str]) -> str:
    """The one function of `taken` that the prompt defines."""
    defined = functions_of([parsed(prompt or "")]).keys() & taken
    return next(iter(defined)) if len(defined) == 1 else ""


def functions_of(trees: Iterable[ast.Module]) -> dict[str, ast.FunctionDef]:
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def takes_one(function: ast.FunctionDef) -> bool:
    return len(function.args.args) - len(function.args.defaults) > 0


def used_as_values(tree: ast.Module, functions: set[str]) -> Iterator[str]:
    """Names that are neither called nor handed to one of the tests' own `functions`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    handed = {id(one) for call in calls if called_name(call) in functions for one in call.args}
    called = {id(call.func) for call in calls}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in called | handed:
            yield node.id


def at_once(tree: ast.Module) -> Iterator[ast.AST]:
    """What is run with the module, `if __name__ == "__main__"` included; not the bodies of what it defines."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


# Code of a prompt

TURNS = re.compile(
    r"<\|[^|>\n]*\|>|<(?:start|end)_of_turn>|\[/?INST\]"
)  # marks of chat templates, around a bare prompt
KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


ASKED = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+([^\W\d]\w*)[ \t]*\(", re.M)


def function_of_prompt(prompt: str | None) -> str | None:
    """The last function that a prompt begins, which is the one that it asks for."""
    names = ASKED.findall(prompt or "")
    return names[-1] if names else None


@lru_cache(maxsize=256)
def code_of_prompt(prompt: str | None, entry: str | None) -> str:
    """Imports, helpers and constants that a prompt gives, without the function that it asks for; "" if none.

    prompt: code, text with code in fences, or either of them rendered by a chat template.
    """
    if not prompt:
        return ""
    kept: list[ast.stmt] = []
    for part in [block.code for block in blocks(prompt)] or TURNS.split(prompt):
        try:
            body = parsed(part).body
        except BadTests:
            continue
        kept += [n for n in body if isinstance(n, KEPT) and getattr(n, "name", None) != (root(entry) if entry else "")]
    return ast.unparse(ast.Module(kept, [])) if kept else ""
