"""Environments of `verifiers` by name: `--environment srm_ray.environments.verifiers:NAME`.

NAME is what `verifiers.load_environment` knows: an installed environment of the classic kind, which `verifiers` has
up to 0.3 (later ones have another). Rows need no columns: an episode's seed chooses a row of the environment's own data
set; `index` and `split` ("train" or "eval") of a row choose it otherwise.

`verifiers` cannot be installed beside vLLM, which wants mcp from 2 on: give it an environment of its own, whose Python
`--environment.python` names.

    rollout of the environment's own, on a loop of its own --asks its client--> Turns <--step(text)-- the policy
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from rewards.extract import after_thinking
from srm_ray.data.tool_text import results_text, with_tools
from srm_ray.environments.calls import parse

try:
    import verifiers
    from verifiers.clients import Client
    from verifiers.types import Response, ResponseMessage, ToolCall
except ImportError as error:
    raise ImportError(
        f"environments of verifiers want it, up to version 0.3 ({error}): install 'verifiers<0.4' into a Python "
        "environment of its own and name its interpreter, --environment.python FOLDER/bin/python"
    ) from None

KNOWN: dict[str, type["Verifiers"]] = {}


def __getattr__(name: str) -> type["Verifiers"]:
    """The class of the environment `name`, loaded once."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name not in KNOWN:
        KNOWN[name] = type("Verifiers", (Verifiers,), {"environment": verifiers.load_environment(name)})
    return KNOWN[name]


class Turns(Client[None, Any, Any, Any]):
    """A client that waits for the policy's turn. asked: messages that the environment wants answered."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.asked: asyncio.Queue[tuple[list[Any], Sequence[Any]]] = asyncio.Queue()
        self.replies: asyncio.Queue[str] = asyncio.Queue()

    async def get_response(self, prompt: Any, *_: Any, tools: Any = None, **__: Any) -> Response:
        self.asked.put_nowait((list(prompt), tools or ()))
        return response_of(await self.replies.get(), called=bool(tools))

    def _none(self, *_: Any) -> Any:
        raise NotImplementedError

    setup_client = to_native_tool = to_native_prompt = get_native_response = _none
    raise_from_native_response = from_native_response = _none

    async def close(self) -> None: ...


class Verifiers:
    """Turns. The environment's rubric gives the reward at the end."""

    environment: ClassVar[Any]

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.earned = 0.0

    def reset(self, seed: int, index: int = -1, split: str = "train") -> str:
        rows = self.environment.get_eval_dataset() if split == "eval" else self.environment.get_dataset()
        row = dict(rows[(seed if index < 0 else index) % len(rows)])
        self.client = Turns()
        played = self.environment.rollout(row, self.client, "policy", {})
        self.rollout = self.loop.create_task(played)
        found = self._wait()
        if found is None:
            raise RuntimeError("the episode is over before its first turn")
        messages, tools = found
        begun = with_tools([plain(message) for message in messages], [schema_of(tool) for tool in tools])
        return "\n\n".join(message["content"] for message in begun)

    def step(self, text: str) -> tuple[str, float, bool]:
        self.client.replies.put_nowait(text)
        found = self._wait()
        if found is not None:
            return new_words(found[0]), 0.0, False
        state = self.rollout.result()
        if state.get("error"):
            raise RuntimeError(f"the environment failed: {state['error']!r}")
        self.loop.run_until_complete(self.environment.rubric.score_rollout(state))
        last = state.get("final_env_response") or []
        return new_words(list(last)), float(state["reward"]), True

    def close(self) -> None:
        self.rollout.cancel()
        self.loop.run_until_complete(asyncio.gather(self.rollout, return_exceptions=True))

    def _wait(self) -> tuple[list[Any], Sequence[Any]] | None:
        """What is asked next; None when the episode is over."""

        async def next_one() -> tuple[list[Any], Sequence[Any]] | None:
            asked = asyncio.ensure_future(self.client.asked.get())
            await asyncio.wait([asked, self.rollout], return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            asked.cancel()
            return None

        return self.loop.run_until_complete(next_one())


def response_of(text: str, *, called: bool) -> Response:
    """A turn as an answer of a server would have it: thinking apart, calls read where there are tools."""
    visible = after_thinking(text)
    content = (text if visible is None else visible).strip()
    calls = [
        ToolCall(id=f"call{n:05d}", name=call.name, arguments=json.dumps(call.arguments))
        for n, call in enumerate(parse(text, "hermes") if called else ())
    ]
    message = ResponseMessage(
        content=content,
        tool_calls=calls or None,
        finish_reason="tool_calls" if calls else "stop",
        is_truncated=visible is None,
    )
    return Response(id="turn", created=int(time.time()), model="policy", message=message)


def schema_of(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def plain(message: Any) -> dict[str, Any]:
    found = message if isinstance(message, dict) else message.model_dump()
    content = found.get("content") or ""
    if not isinstance(content, str):  # parts, of which a text policy gets the texts
        content = "\n".join(part.get("text", "") for part in content)
    return {"role": found["role"], "content": content}


def new_words(messages: Sequence[Any]) -> str:
    """The messages after the policy's last turn, as one text."""
    new: list[dict[str, Any]] = []
    for message in reversed([plain(message) for message in messages]):
        if message["role"] == "assistant":
            break
        new.insert(0, message)
    results = [message["content"] for message in new if message["role"] == "tool"]
    words = [message["content"] for message in new if message["role"] != "tool"]
    return "\n".join(([results_text(results)] if results else []) + words)
