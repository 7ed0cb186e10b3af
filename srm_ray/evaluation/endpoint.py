"""An OpenAI-compatible server as `ChatCompleter`: one request a completion, each with its seed.

What the server keeps apart as reasoning is put back in front of the answer between think tags, so that the graders
and the rates see the completion as a whole.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from rewards.extract import CLOSE, OPEN
from srm_ray.environments.dialogue import Ask, TurnReply, asking
from srm_ray.errors import RunError, UserError
from srm_ray.inference.completers import ChatCompletion, Messages, Sampling
from srm_ray.inference.openai_client import Failed, OpenAIClient, Refused, Reply, Server


class Endpoint(OpenAIClient):
    """`async with Endpoint(...) as completer`. key: environment variable that holds the key."""

    def __init__(self, url: str, model: str, key: str) -> None:
        super().__init__(Server(url, model, key))

    async def prepare(self) -> None:
        """A server is there already."""

    async def answer(self, messages: Messages, seeds: Sequence[int], sampling: Sampling) -> list[ChatCompletion]:
        return list(await asyncio.gather(*(self._one(messages, seed, sampling) for seed in seeds)))

    def asking(self, sampling: Sampling) -> Ask:
        """For episodes, turn by turn; tools are offered as OpenAI's."""
        ask = asking(self, temperature=sampling.temperature, top_p=sampling.top_p)

        async def asked(messages: Any, tools: Any, seed: int, most: int) -> TurnReply:
            try:
                return await ask(messages, tools, seed, most)
            except (Failed, Refused, UserError) as error:
                raise RunError(f"endpoint {self.url}: {error}") from None

        return asked

    async def _one(self, messages: Messages, seed: int, sampling: Sampling) -> ChatCompletion:
        """Raises `RunError` where the server does not answer."""
        try:
            reply = await self.complete(
                messages,
                seed,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
            )
        except (Failed, Refused, UserError) as error:
            raise RunError(f"endpoint {self.url}: {error}") from None
        return ChatCompletion(messages[-1]["content"], whole(reply), reply.tokens_out, reply.finish == "length", seed)


def whole(reply: Reply) -> str:
    """The completion with its thinking in tags, closed where the server says that the answer began."""
    if not reply.reasoning:
        return reply.content
    closed = reply.content or reply.finish != "length"
    return f"{OPEN}\n{reply.reasoning.strip()}" + (f"\n{CLOSE}\n{reply.content}" if closed else "")
