"""The process of one episode: it holds the environment's object, and ends with it.

    caller --["reset", arguments]--> serve --> object --> ["ok", answer] or ["failed", why]

Forked from a process that has imported the user's modules already (`rewards.sandbox.forkserver`). A call of a tool
that the model got wrong, or that raises, is an answer that says so; what `reset`, `step` or `reward` raise fails the
episode.
"""

import asyncio
import inspect
import json
import math
import random
import socket
import sys
import time
import traceback
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from rewards.sandbox.processes import receive, send
from srm_ray.environments import contract
from srm_ray.environments.contract import BadEnvironment, Contract, Loaded, one_line

ANY_TYPES = ConfigDict(arbitrary_types_allowed=True)
CUT = "\n[cut: {} of {} characters]"


@validate_call(config=ANY_TYPES)
def _one(value: int) -> int:
    return value


_one(1)  # what pydantic imports with its first call is imported before processes are forked, not in each of them


class Player:
    """One episode: the object, made by `reset`."""

    def __init__(self, loaded: Loaded, limit: int):
        self.loaded, self.limit = loaded, limit
        self.object: Any = None
        self.tools: dict[str, Any] = {}
        self.earned = 0.0

    def reset(self, row: dict[str, Any], seed: int) -> str | None:
        random.seed(seed)
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed(seed % 2**32)
        if self.loaded.make is None:
            self.tools = dict(self.loaded.functions)
            return None
        self.object = self.loaded.make()
        names = [name for name in self.loaded.contract.names if name not in self.loaded.functions]
        self.tools = {name: getattr(self.object, name) for name in names} | self.loaded.functions
        observation = finished(self.object.reset(**self.loaded.contract.arguments(row, seed)))
        if observation is None and self.loaded.contract.kind == "tools":
            return None
        return self._cut(text_of(observation))

    def call(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        """What the tool gave, or what is wrong; and whether it is that."""
        if name not in self.tools:
            return f"Error: there is no tool {name!r}; the tools are {', '.join(self.tools)}", True
        try:
            inspect.signature(self.tools[name]).bind(**arguments)
        except TypeError as error:
            return f"Error: {name}: {error}", True
        try:
            call = validate_call(config=ANY_TYPES)(self.tools[name])
            return self._cut(text_of(finished(call(**arguments)))), False
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            return self._cut(f"Error: {name}: {'; '.join(wrong)}"), True
        except Exception as error:  # of the user's own tool: the model sees it, and goes on
            return self._cut(f"Error: {one_line(error)}"), True

    def step(self, text: str) -> dict[str, Any]:
        answer = finished(self.object.step(text))
        if not isinstance(answer, tuple) or len(answer) != 3:
            raise TypeError(f"step must return (observation, reward, done), got {answer!r:.100}")
        observation, reward, done = answer
        value = 0.0 if reward is None else number(reward, "the reward of step")
        self.earned += value
        return {"observation": self._cut(text_of(observation)), "reward": value, "done": bool(done)}

    def reward(self) -> tuple[float, bool | None] | None:
        """What the episode is worth, and whether it is right where the environment says so; None: it does not say."""
        if not self.loaded.contract.rewards:
            return None
        found = getattr(self.object, "reward", self.earned)
        found = finished(found()) if callable(found) else found
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], bool):
            return number(found[0], "reward"), found[1]
        return number(found, "reward"), found if isinstance(found, bool) else None

    def close(self) -> None:
        if callable(close := getattr(self.object, "close", None)):
            finished(close())

    def _cut(self, text: str) -> str:
        return text if len(text) <= self.limit else text[: self.limit] + CUT.format(self.limit, len(text))


def text_of(value: Any) -> str:
    """A value as the model sees it: text as it is, anything else as JSON, surrogates replaced."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def finished(value: Any) -> Any:
    """The result also of what is `async`."""
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value


def number(value: Any, what: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a number, got {value!r:.100}") from None
    if not math.isfinite(found):
        raise ValueError(f"{what} must be finite, got {found}")
    return found


def serve(sock: socket.socket) -> None:
    """Answer until the other side closes. The first message is ["load", name, tools, most characters of an answer, the
    contract where it is known]."""
    player: Player | None = None
    while True:
        what, *arguments = receive(sock)
        began = time.perf_counter()
        try:
            if what == "load":
                name, tools, limit, known = arguments
                if known is None:
                    loaded = contract.load(name, tuple(tools))
                else:
                    loaded = contract.again(name, tuple(tools), Contract.of(known))
                player = Player(loaded, limit)
                answer: Any = loaded.contract.plain()
            else:
                assert player is not None, "load comes first"
                answer = getattr(player, what)(*arguments)
            send(sock, ["ok", answer, time.perf_counter() - began])
        except BadEnvironment as error:
            send(sock, ["bad", str(error), 0.0])
        except Exception as error:  # of the user's own: the episode fails, and says why
            traceback.print_exc()
            send(sock, ["failed", one_line(error), time.perf_counter() - began])
