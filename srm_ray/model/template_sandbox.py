"""Chat templates come with models from anywhere: they run in Jinja's sandbox, within a budget of steps and characters.

    template text -> compiled(text) -> render(template, variables) -> text, or TooMuch

The environment is that of transformers (trimmed blocks, loop controls, `{% generation %}`, `tojson`,
`raise_exception`, `strftime_now`). A step is a round of a loop, a call, a filter, an operator, or a thousand characters
that one of them reads or makes. What could make much at once (a text times a number, a field of a width, a power) is
refused beforehand. So a template that never ends, or fills the memory, ends after the same step everywhere.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

STEPS = 1_000_000  # of one rendering: hundreds of times those of a long conversation
LONGEST = 4_000_000  # characters of one value, with all that is in it; and of what is rendered
ITEM = 16  # characters that an item of a list counts for, beside its own
WIDEST = 1_000_000  # a number that a filter or method is given
DIGITS = re.compile(r"\d{5,}|\*|:[^{}]*\{")  # widths in a format that are large, or an argument's to say
MADE, SEEN, ROUNDS = "srm_made", "srm_seen", "srm_rounds"  # filters that the tree is given
WIDENING = {"center", "ljust", "rjust", "zfill", "indent", "expandtabs", "tojson"}
# Filters that make something of each item, of a text of each character.
OF_EACH = frozenset(
    "batch groupby join list map max min reject rejectattr select selectattr slice sort sum unique".split()
)
WITHOUT = ("urlize", "wordwrap", "striptags", "random", "pprint")  # slow by themselves, or never the same


class TooMuch(jinja2.TemplateError):
    """The template takes more steps, or makes longer values, than any chat template needs."""


class Budget:
    def __init__(self) -> None:
        self.steps = 0

    def take(self, characters: int) -> None:
        self.steps += 1 + characters // 1000
        if self.steps > STEPS:
            raise TooMuch(f"it takes more than {STEPS:,} steps")


_budget: ContextVar[Budget | None] = ContextVar("template_budget", default=None)


@contextmanager
def budget() -> Iterator[Budget]:
    before = _budget.set(Budget())
    try:
        found = _budget.get()
        assert found is not None
        yield found
    finally:
        _budget.reset(before)


def take(characters: int = 0) -> None:
    found = _budget.get()
    if found is not None:
        found.take(characters)


def fits(size: int) -> None:
    if size > LONGEST:
        raise TooMuch(f"it makes a value longer than {LONGEST:,} characters")


def size_of(value: Any) -> int:
    """Characters of a value, counted as often as they are in it; stops above `LONGEST`."""
    if isinstance(value, str):
        return len(value)
    total, left = 0, [value]
    while left and total <= LONGEST:
        one = left.pop()
        if isinstance(one, str):
            total += len(one)
        elif isinstance(one, Mapping):
            total += ITEM * (1 + len(one))
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            total += ITEM * (1 + len(one))
            left += one
        else:
            total += ITEM
    return total


def made(value: Any) -> Any:
    """A value that the template has made: it is paid for, and not too long."""
    size = size_of(value)
    fits(size)
    take(size)
    return value


def seen(value: Any) -> Any:
    take(size_of(value))
    return value


class Rounds:
    """What a loop goes over: every round is paid for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __iter__(self) -> Iterator[Any]:
        for one in self.value:
            take()
            yield one

    def __len__(self) -> int:
        return len(self.value)


class Accounted(NodeTransformer):
    """The template's tree, in which values that are put together, compared or looped over are paid for."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(cast(nodes.Expr, node.iter), ROUNDS)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, SEEN)
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, SEEN)
        return node

    def _visit_made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else _filtered(node, MADE)

    visit_List = visit_Dict = visit_Tuple = visit_Concat = _visit_made


def _filtered(node: nodes.Expr, name: str) -> nodes.Expr:
    found = nodes.Filter(node, name, [], [], None, None)
    found.set_lineno(node.lineno)
    return found


class Generation(Extension):
    """`{% generation %}` marks the assistant's text; it is rendered as it stands."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[Generation, LoopControls])
        self.filters["tojson"] = tojson
        for name in WITHOUT:
            self.filters.pop(name, None)
        self.filters = {name: paid_for(name, one) for name, one in self.filters.items()}
        self.filters |= {MADE: made, SEEN: seen, ROUNDS: Rounds}
        self.globals.pop("lipsum", None)
        self.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}

    @staticmethod
    def concat(parts: Iterable[str]) -> str:  # type: ignore[override]  # of jinja2, a bound `"".join`
        found = list(parts)
        size = sum(map(len, found))
        fits(size)
        take(size)
        return "".join(found)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return Accounted().visit(super()._parse(source, name, filename))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        check_call(getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None), args, kwargs)
        return made(super().call(__context, __obj, *args, **kwargs))


def paid_for(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter within the budget. name: in templates."""

    @wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        given = args[1:] if hasattr(function, "jinja_pass_arg") else args
        value = given[0] if given else None
        if name == "join" and not isinstance(value, str):
            value = list(value or ())
            args = (*args[: len(args) - len(given)], value, *given[1:])
        check_call(name, value, given[1:], kwargs)
        return made(function(*args, **kwargs))

    return within


# What could make much in one step


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Raises TooMuch for an operation whose result is longer than `LONGEST`."""
    if operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(other, int):
                fits(size_of(one) * max(0, other))
        if isinstance(left, int) and isinstance(right, int):
            _fits_bits(left.bit_length() + right.bit_length())
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _fits_bits(left.bit_length() * abs(right))
    elif operator == "%" and isinstance(left, str):
        check_format(left)
    elif operator == "+" and isinstance(left, str | list | tuple):
        fits(size_of(left) + size_of(right))


def check_call(name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raises TooMuch for a filter, method or function that could make more than `LONGEST`. value: what it is of."""
    given = [*args, *kwargs.values()]
    take(size_of([value, given]))
    if name in OF_EACH and isinstance(value, str):
        take(1000 * len(value))
    numbers = [abs(one) for one in given if isinstance(one, int)]
    if name not in ("safe_range", "range") and any(number > WIDEST for number in numbers):
        raise TooMuch(f"{name} is given a number above {WIDEST:,}")
    if name in WIDENING and numbers:
        pieces = 1 + (value.count("\n") + value.count("\t") if isinstance(value, str) else size_of(value))
        fits(max(numbers) * pieces)
    elif name == "indent" and args and isinstance(args[0], str) and isinstance(value, str):
        fits(len(args[0]) * (1 + value.count("\n")))
    elif name == "tojson" and any(isinstance(one, str) for one in given):
        fits(max(len(one) for one in given if isinstance(one, str)) * size_of(value))
    elif name == "replace" and len(args) > 1 and isinstance(value, str):
        old, new = str(args[0]), str(args[1])
        fits(len(value) + (value.count(old) if old else len(value) + 1) * len(new))
    elif name == "join":
        parts = value if isinstance(value, list) else args[0] if args else ()
        between = value if isinstance(value, str) else next((one for one in given if isinstance(one, str)), "")
        if isinstance(parts, list | tuple):
            fits(size_of(parts) + len(between) * len(parts))
    elif name == "translate" and args and isinstance(value, str):
        fits(len(value) * max(1, size_of(args[0])))
    elif name in ("format", "format_map") and isinstance(value, str):
        check_format(value)


def check_format(text: str) -> None:
    if found := DIGITS.search(text):
        raise TooMuch(f"a format with the width {found[0][:20]!r}")


def _fits_bits(bits: int) -> None:
    if bits > 10_000:
        raise TooMuch("it makes a number of more than 10,000 bits")


# What transformers gives its templates


def tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


@lru_cache(maxsize=16)
def compiled(template: str) -> jinja2.Template:
    """Raises jinja2.TemplateError."""
    if len(template) > LONGEST:
        raise TooMuch(f"it is longer than {LONGEST:,} characters")
    with budget():
        return Environment().from_string(template)


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Raises jinja2.TemplateError, of which TooMuch is one, and what Python raises in a template (TypeError, ...)."""
    one = compiled(template)
    with budget():
        parts, size = [], 0
        for part in one.generate(**variables):
            size += len(part)
            fits(size)
            parts.append(part)
        return "".join(parts)
