"""A user's own reward, `package.module:function`, in a killable process.

    def reward(prompt: str, completion: str, answer: str | None) -> float:

prompt: the rendered prompt, special tokens included. completion: the sampled text, without the stop
token. answer: the task's gold answer, or None. Returns a finite number, by convention in [0, 1].
Parameters are passed by position; annotations may be left out, but must not say something else.
What it raises, or a result that is no finite number, masks the sample (`grader_error`).
"""

import importlib
import inspect
import math
import socket
import traceback
import types
import typing
from collections.abc import Callable
from typing import Any

from rewards.sandbox.processes import Died, Failure, Pool, receive, send

SIGNATURE = "reward(prompt: str, completion: str, answer: str | None) -> float"
PARAMETERS: tuple[tuple[str, set[type]], ...] = (
    ("prompt", {str}),
    ("completion", {str}),
    ("answer", {str, type(None)}),
)
RESULTS = {float, int, bool}
START_TIMEOUT = 60.0  # seconds to import the user's module


class BadFunction(ValueError):
    """The function cannot be used; the message is one line and names the reason."""


class Function:
    """A checked user function and the processes that run it. Thread-safe; `close` ends them.

    Raises `BadFunction` when the name, the import or the signature is wrong.
    """

    def __init__(self, name: str, processes: int = 1, timeout: float = 5.0, memory: int = 4 << 30) -> None:
        module, colon, attribute = name.partition(":")
        if not (module and colon and attribute):
            raise BadFunction(f"{name!r} is not of the form package.module:function")
        self.name, self.timeout = name, timeout
        self.pool = Pool("rewards.user:serve", ["rewards.user"], processes, memory)
        try:
            problem = self.ask(["check"], START_TIMEOUT)
            if isinstance(problem, Failure) or problem:
                reason = f"importing it ended with {problem.reason}" if isinstance(problem, Failure) else problem
                raise BadFunction(f"{name}: {reason}")
        except BaseException:
            self.pool.close()
            raise

    def __call__(self, prompt: str, completion: str, answer: str | None) -> float | Failure:
        """The reward, or why there is none: "timeout", "worker_died" or "grader_error"."""
        reply = self.ask(["call", prompt, completion, answer], self.timeout)
        if isinstance(reply, Failure):
            return reply
        return float(reply) if isinstance(reply, int | float) else Failure("grader_error")

    def ask(self, item: list[Any], timeout: float) -> Any:
        try:
            return self.pool.run([item], timeout, shared=self.name)[0]
        except Died:
            return Failure("worker_died")

    def close(self) -> None:
        self.pool.close()


# In the worker process


def serve(sock: socket.socket) -> None:
    function: Callable[..., Any] | None = None
    while True:
        name, items = receive(sock)
        for item in items:
            if item[0] == "check":
                send(sock, problem_with(name))
                continue
            if function is None:
                function = load(name)
            send(sock, call(function, item[1:]))


def load(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = importlib.import_module(module)  # type: ignore[assignment]
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def call(function: Callable[..., Any], arguments: list[Any]) -> float | str:
    try:
        result = function(*arguments)
        value = float(result)
    except Exception:  # the user's own error: logged, reported, counted
        traceback.print_exc()
        return "grader_error"
    return value if math.isfinite(value) else "grader_error"


def problem_with(name: str) -> str:
    """What is wrong with the function, in one line, or ""."""
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
    try:
        signature.bind(*(parameter for parameter, _ in PARAMETERS))
    except TypeError as error:
        return f"it must be callable as {SIGNATURE}: {error}"
    for parameter, (name_, wanted) in zip(signature.parameters.values(), PARAMETERS, strict=False):
        hint = hints.get(parameter.name)
        if hint is not None and not accepts(hint, wanted):
            return f"parameter {parameter.name} takes {hint}, but {name_} is {' or '.join(t.__name__ for t in wanted)}"
    result = hints.get("return")
    if result is not None and result is not Any and not members(result) <= RESULTS:
        return f"it returns {result}, but float is needed"
    if inspect.iscoroutinefunction(function):
        return "it is a coroutine function; a plain function is needed"
    return ""


def accepts(hint: Any, wanted: set[type]) -> bool:
    return hint is Any or hint is object or wanted <= members(hint)


def members(hint: Any) -> set[Any]:
    """The types of a union, or of the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set(typing.get_args(hint))
    return {hint}
