"""A user's own reward, `package.module:function`, in a killable process. It replaces the built-in grading.

    def reward(prompt: str, completion: str, answer: str | None) -> float:

prompt: the rendered prompt, special tokens included. completion: the sampled text, without the stop token. answer: the
task's gold answer, or None. These three are passed by position; annotations may be left out, but must not say something
else. What it asks for beyond them is passed by name:

    row         every column of the problem's row, a dict
    truncated   whether the completion was cut at the token limit
    any other   the column of that name

The result is a finite number, by convention in [0, 1]; a completion is correct when that is above `reward.threshold`
and the completion was not truncated. Or True or False, worth 1 and 0, or a pair (number, whether it is correct). None,
what it raises, and anything else mask the sample out of the loss (`undecided`, `grader_error`).

A function whose second parameter is called `completions` gets all of a prompt's at once, as a list (`truncated` then is
one too), and returns a list of results in their order. `async def` works in both forms. The built-in graders are there
to be called: `rewards.math.grader.score`, `rewards.code.score`.
"""

import asyncio
import importlib
import inspect
import math
import socket
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.sandbox.processes import Died, Failure, Pool, receive, send

SIGNATURE = "reward(prompt: str, completion: str, answer: str | None) -> float"
PARAMETERS: tuple[tuple[str, set[type]], ...] = (
    ("prompt", {str}),
    ("completion", {str}),
    ("answer", {str, type(None)}),
)
ROW, TRUNCATED, GROUP = "row", "truncated", "completions"
RESULTS = {float, int, bool, type(None)}
START_TIMEOUT = 60.0  # seconds to import the user's module, and for a first call


class BadFunction(ValueError):
    """The function cannot be used; the message is one line and names the reason."""


@dataclass(frozen=True, slots=True)
class Own:
    """What the function gave a completion. correct: its own word on that, or None."""

    value: float
    correct: bool | None


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the function is called with: a prompt, its completions, and the row that it came from."""

    prompt: str
    completions: tuple[str, ...]
    answer: str | None = None
    truncated: tuple[bool, ...] = ()
    row: dict[str, Any] | None = None


class Function:
    """A checked user function and the processes that run it. Thread-safe; `close` ends them.

    known: what it gets by name whatever the row. group: whether it takes all completions of a prompt at once. Raises
    `BadFunction` when the name, the import or the signature is wrong.
    """

    def __init__(
        self,
        name: str,
        processes: int = 1,
        timeout: float = 5.0,
        memory: int = 4 << 30,
        known: dict[str, Any] | None = None,
    ) -> None:
        module, colon, attribute = name.partition(":")
        if not (module and colon and attribute):
            raise BadFunction(f"{name!r} is not of the form package.module:function")
        self.name, self.timeout, self.known = name, timeout, known or {}
        self.pool = Pool("rewards.user:serve", ["rewards.user"], processes, memory)
        try:
            found = self._ask(["check"], START_TIMEOUT)
            if isinstance(found, Failure):
                raise BadFunction(f"{name}: importing it ended with {found.reason}")
            if isinstance(found, str):
                raise BadFunction(f"{name}: {found}")
        except BaseException:
            self.pool.close()
            raise
        self.group: bool = found["group"]
        self.wants: list[str] = found["wants"]
        self.needs: list[str] = [name for name in found["needs"] if name not in self.known]

    def __call__(self, sampled: Sampled) -> list[Own | Failure]:
        """One for each completion; a failure is "timeout", "worker_died", "grader_error" or "undecided"."""
        timeout = self.timeout * (len(sampled.completions) if self.group else 1)
        calls = [sampled] if self.group else singles(sampled)
        return [one for call in calls for one in self._call(call, timeout)]

    def _call(self, sampled: Sampled, timeout: float) -> list[Own | Failure]:
        reply = self._ask(["call", *self._arguments(sampled)], timeout)
        if isinstance(reply, Failure):
            return [reply] * len(sampled.completions)
        if isinstance(reply, str):
            return [Failure("grader_error")] * len(sampled.completions)
        return [Own(*result) if isinstance(result, list) else Failure(result) for result in reply]

    def _arguments(self, sampled: Sampled) -> list[Any]:
        row = sampled.row or {}
        named = {name: row[name] for name in self.wants if name in row} | self.known
        if ROW in self.wants:
            named[ROW] = row
        if TRUNCATED in self.wants:
            truncated = list(sampled.truncated) or [False] * len(sampled.completions)
            named[TRUNCATED] = truncated if self.group else truncated[0]
        completions = list(sampled.completions) if self.group else sampled.completions[0]
        return [sampled.prompt, completions, sampled.answer, named]

    def check(self, samples: Sequence[Sampled]) -> None:
        """Call it with each. Raises `BadFunction` for a missing column, what it raises or a result of no use."""
        for sampled in samples:
            missing = [name for name in self.needs if name not in (sampled.row or {})]
            if missing:
                has = ", ".join(sampled.row or {}) or "none"
                raise BadFunction(f"{self.name} wants the column {missing[0]!r}; the first rows have {has}")
            for call in [sampled] if self.group else singles(sampled):
                reply = self._ask(["call", *self._arguments(call)], START_TIMEOUT)
                problem = reply.reason if isinstance(reply, Failure) else reply if isinstance(reply, str) else ""
                if problem:
                    given = " and ".join(repr(text[:60]) for text in call.completions)
                    raise BadFunction(f"{self.name}, called with {given} and the answer {call.answer!r}: {problem}")

    def _ask(self, item: list[Any], timeout: float) -> Any:
        try:
            return self.pool.run([item], timeout, shared=self.name)[0]
        except Died:
            return Failure("worker_died")

    def close(self) -> None:
        self.pool.close()


def singles(sampled: Sampled) -> list[Sampled]:
    """One for each completion."""
    truncated = sampled.truncated or (False,) * len(sampled.completions)
    return [
        Sampled(sampled.prompt, (completion,), sampled.answer, (cut,), sampled.row)
        for completion, cut in zip(sampled.completions, truncated, strict=True)
    ]


# In the worker process


def serve(sock: socket.socket) -> None:
    function: Callable[..., Any] | None = None
    while True:
        name, items = receive(sock)
        for item in items:
            if item[0] == "check":
                send(sock, examined(name))
                continue
            if function is None:
                function = load(name)
            send(sock, call(function, *item[1:]))


def load(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = importlib.import_module(module)  # type: ignore[assignment]
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def call(function: Callable[..., Any], prompt: str, completions: Any, answer: Any, named: dict[str, Any]) -> Any:
    """[[value, correct or None] or a reason for each], or, in words, why there is nothing."""
    try:
        result = function(prompt, completions, answer, **named)
        if inspect.isawaitable(result):
            result = asyncio.run(awaited(result))
    except Exception as error:  # the user's own error: logged, reported, counted
        traceback.print_exc()
        return " ".join(f"it raised {type(error).__name__}: {error}".split())[:300]
    if not isinstance(completions, list):
        return [one(result)] if useful(result) else f"it returned {result!r}"[:300]
    if not isinstance(result, list | tuple) or len(result) != len(completions):
        return f"it returned {result!r}"[:200] + f", not a list of {len(completions)} results"
    bad = [value for value in result if not useful(value)]
    return [one(value) for value in result] if not bad else f"it returned {bad[0]!r}"[:300]


async def awaited(result: Any) -> Any:
    return await result


def useful(result: Any) -> bool:
    return result is None or isinstance(one(result), list)


def one(result: Any) -> list[Any] | str:
    """[value, correct or None], or the reason why there is none."""
    if result is None:
        return "undecided"
    value, correct = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if isinstance(value, bool) and correct is None:
        correct = value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "grader_error"
    if isinstance(value, str) or not math.isfinite(number):
        return "grader_error"
    return [number, None if correct is None else bool(correct)]


def examined(name: str) -> dict[str, Any] | str:
    """What the function takes, or, in one line, what is wrong with it.

    group: whether it takes a group; wants: what it is passed by name; needs: columns among that without a default.
    """
    try:
        function = load(name)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    if not callable(function):
        return "it is not a function"
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function)
    except (TypeError, ValueError, NameError) as error:
        return f"its signature cannot be read: {error}"
    parameters = list(signature.parameters.values())
    group = len(parameters) > 1 and parameters[1].name == GROUP
    more = [p for p in parameters[3:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    try:
        signature.bind(*(parameter for parameter, _ in PARAMETERS), **{p.name: None for p in more})
    except TypeError as error:
        return f"it must be callable as {SIGNATURE}: {error}"
    problem = problem_with(parameters, hints, group)
    if problem:
        return problem
    wants = [p.name for p in more]
    needs = [p.name for p in more if p.default is p.empty and p.name not in (ROW, TRUNCATED)]
    return {"group": group, "wants": wants, "needs": needs}


def problem_with(parameters: list[inspect.Parameter], hints: dict[str, Any], group: bool) -> str:
    """What its annotations say that is not so, in one line, or ""."""
    for place, (parameter, (name, wanted)) in enumerate(zip(parameters, PARAMETERS, strict=False)):
        hint = hints.get(parameter.name)
        if hint is None or (group and place == 1):
            continue
        if not accepts(hint, wanted):
            return f"parameter {parameter.name} takes {hint}, but {name} is {' or '.join(t.__name__ for t in wanted)}"
    result = hints.get("return", Any)
    if result is Any or typing.get_origin(result) in (tuple, list) or result in (tuple, list):
        return ""
    plain = {member for member in members(result) if typing.get_origin(member) is not tuple}
    return "" if plain <= RESULTS else f"it returns {result}, but float is needed"


def accepts(hint: Any, wanted: set[type]) -> bool:
    return hint is Any or hint is object or wanted <= members(hint)


def members(hint: Any) -> set[Any]:
    """The types of a union, or of the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set(typing.get_args(hint))
    return {hint}
