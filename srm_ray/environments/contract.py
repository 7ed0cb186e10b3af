"""What an environment is: a class that fits one of two contracts, or functions as tools.

    tools   reset(**columns) -> str | None    what is added to the prompt, if anything
            any public method                 a tool: typed arguments, a docstring that describes each under `Args:`
            reward                            a number, or a method that gives one; read at the end (optional)
    turns   reset(**columns) -> str           the first message
            step(text) -> (observation, reward, done)

A class with `step` is of turns, unless that is annotated to return str, as a tool would be. An episode has an object of
its own. `reset` is given those columns of the row that it names, all of them where it takes `**`; where it names `seed`
and the row has none, an int that is the same for all episodes of a prompt. A reward is a finite number, True or False,
or a pair of a number and whether the episode is right; an episode of turns earns the sum of its steps' rewards unless
the class has `reward`.

This module runs in the processes of environments alone, where the user's modules are imported.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_type_hints

RESERVED = ("reset", "reward", "step", "close")
OWN_COLUMNS = frozenset(  # that rows have for this project, whatever the environment takes
    {
        "prompt", "messages", "question", "answer", "tests", "entry_point", "source", "grader", "gym", "solution",
        "ground_truth",
    }
)  # fmt: skip
FORM = "package.module:Class"


class BadEnvironment(ValueError):
    """An environment or a tool cannot be used; the message is one line and names the reason."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What an environment takes and offers.

    tools: JSON schemas, as chat templates take them. takes, needs: columns that `reset` names, and those without a
    default. any_column: it takes `**`. rewards: it says itself what an episode is worth. closes: it has `close`.
    """

    kind: Literal["tools", "turns"]
    tools: tuple[dict[str, Any], ...] = ()
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    any_column: bool = False
    rewards: bool = False
    closes: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tool["function"]["name"] for tool in self.tools)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def of(plain: dict[str, Any]) -> "Contract":
        lists = {name: tuple(plain[name]) for name in ("tools", "takes", "needs")}
        return Contract(**plain | lists)

    def check_columns(self, columns: set[str]) -> None:
        """Raises `BadEnvironment` where rows of these columns do not fit `reset`."""
        has, taken = ", ".join(sorted(columns)) or "no columns", ", ".join(self.takes) or "none"
        missing = [name for name in self.needs if name not in columns and name != "seed"]
        if missing:
            raise BadEnvironment(f"reset wants the column {missing[0]!r}; the rows have {has}")
        extra = sorted(columns - set(self.takes) - OWN_COLUMNS)
        if extra and self.takes and not self.any_column:
            raise BadEnvironment(
                f"reset does not take the column {extra[0]!r} (it takes {taken}): name it, or take **columns"
            )

    def arguments(self, row: dict[str, Any], seed: int) -> dict[str, Any]:
        """What `reset` is called with."""
        given = dict(row) if self.any_column else {name: row[name] for name in self.takes if name in row}
        return given | ({"seed": seed} if "seed" in self.takes and "seed" not in row else {})


@dataclass(frozen=True, slots=True)
class Loaded:
    """An environment's class (None for functions alone), its stateless tools, and what they fit."""

    make: type[Any] | None
    functions: dict[str, Callable[..., Any]]
    contract: Contract


def load(name: str, tools: tuple[str, ...]) -> Loaded:
    """Import and check. name: the class, "" for none; tools: functions. Raises `BadEnvironment`."""
    functions: dict[str, Callable[..., Any]] = {}
    for tool in tools:
        function = find(tool, "package.module:function")
        if inspect.isclass(function) or not callable(function):
            raise BadEnvironment(f"{tool} is not a function")
        functions[tool.rpartition(":")[2]] = function
    schemas = tuple(schema(functions[tool.rpartition(":")[2]], tool) for tool in tools)
    if not name:
        return Loaded(None, functions, Contract("tools", schemas))
    made = find(name, FORM)
    if not inspect.isclass(made):
        raise BadEnvironment(f"{name} is not a class")
    return Loaded(made, functions, _contract(made, name, schemas, tuple(functions)))


def again(name: str, tools: tuple[str, ...], contract: Contract) -> Loaded:
    """As `load`, of what has been checked before: only the objects are looked up."""
    functions = {tool.rpartition(":")[2]: find(tool, "package.module:function") for tool in tools}
    return Loaded(find(name, FORM) if name else None, functions, contract)


def find(name: str, form: str) -> Any:
    """The object that `name` names. Raises `BadEnvironment`."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise BadEnvironment(f"{name!r} is not of the form {form}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise BadEnvironment(f"{name}: there is no module {error.name}") from None
        raise BadEnvironment(f"{name}: importing it failed: {one_line(error)}") from None
    except Exception as error:  # a module of the user's may raise anything
        raise BadEnvironment(f"{name}: importing it failed: {one_line(error)}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise BadEnvironment(f"{name}: {module} has no {attribute}")
        found = getattr(found, part)
    return found


def _contract(made: type[Any], name: str, shared: tuple[dict[str, Any], ...], taken: tuple[str, ...]) -> Contract:
    reset = getattr(made, "reset", None)
    if not callable(reset):
        raise BadEnvironment(
            f"{name} has no reset: an environment has reset(**columns) and either tools (public methods with typed "
            "arguments and docstrings) or step(text) -> (observation, reward, done)"
        )
    try:
        one = made()
    except Exception as error:  # of the user's own
        raise BadEnvironment(f"{name}() cannot be made without arguments: {one_line(error)}") from None
    parameters = list(inspect.signature(reset).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes = tuple(parameter.name for parameter in named)
    needs = tuple(parameter.name for parameter in named if parameter.default is parameter.empty)
    any_column = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    rewards = hasattr(one, "reward")
    closes = callable(getattr(made, "close", None))
    if is_turns(made):
        if shared:
            raise BadEnvironment(f"{name} answers by step(text), so it takes no tools")
        _check_step(made, name)
        return Contract("turns", (), takes, needs, any_column, True, closes)
    public = {key: getattr(made, key) for key in dir(made) if not key.startswith("_") and key not in RESERVED}
    if callable(step := getattr(made, "step", None)):
        public["step"] = step
    own = {key: value for key, value in public.items() if inspect.isroutine(value)}
    if twice := sorted(set(own) & set(taken)):
        raise BadEnvironment(f"{name} and the tools both have {twice[0]!r}")
    if not own and not shared:
        raise BadEnvironment(
            f"{name} has neither tools (public methods with typed arguments and docstrings) nor "
            "step(text) -> (observation, reward, done)"
        )
    schemas = tuple(schema(value, f"{name}.{key}") for key, value in own.items())
    return Contract("tools", schemas + shared, takes, needs, any_column, rewards, closes)


def is_turns(made: type[Any]) -> bool:
    step = getattr(made, "step", None)
    if not callable(step):
        return False
    try:
        return get_type_hints(step).get("return") is not str
    except Exception:  # annotations that name what does not exist
        return True


def _check_step(made: type[Any], name: str) -> None:
    try:
        inspect.signature(made.step).bind(None, "text")
    except TypeError as error:
        raise BadEnvironment(f"{name}.step must take the text of a turn alone: {error}") from None


def schema(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """The JSON schema of a tool from its annotations and its docstring. Raises `BadEnvironment`."""
    try:
        from transformers.utils import get_json_schema
    except ImportError:
        raise BadEnvironment(f"transformers describes tools, and {sys.executable} lacks it: install it there") from None
    if not (function.__doc__ or "").strip():
        raise BadEnvironment(f"the tool {name} has no docstring: the model learns from it what the tool does")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise BadEnvironment(f"the tool {name}: {parameter} cannot be described to a model: name every argument")
        if parameter.annotation is parameter.empty and parameter.name != "self":
            raise BadEnvironment(f"the tool {name}: its argument {parameter.name!r} has no type annotation")
    try:
        return dict(get_json_schema(function))
    except Exception as error:  # transformers has a class of its own for each kind of trouble
        raise BadEnvironment(f"the tool {name} cannot be described to a model: {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
