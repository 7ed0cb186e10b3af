"""An OpenAI-compatible server as `Speaker`: POST <url>/chat/completions, one request a completion, each with its seed.

What the server keeps apart as reasoning (`reasoning_content`, or `reasoning`) is put back in front of the answer
between think tags, so that the graders and the rates see the completion as a whole. Requests that fail for a reason
that may pass (429, 5xx, a broken connection) are tried again, five times in all, 1, 2, 4 and 8 seconds apart.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from rewards.extract import CLOSE, OPEN
from srm_ray.errors import RunError, UserError
from srm_ray.inference.completers import Decoding, Messages, Said

ATTEMPTS = 5
TIMEOUT = 600.0  # seconds one completion may take


class Endpoint:
    """`async with Endpoint(...) as speaker`. url: with or without /v1. key: environment variable that holds the key."""

    def __init__(self, url: str, model: str, key: str) -> None:
        base = url.rstrip("/")
        self.url = base if base.endswith("/v1") else f"{base}/v1"
        self.model = model
        secret = os.environ.get(key, "")
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self.session: Any = None

    async def __aenter__(self) -> "Endpoint":
        import aiohttp

        limits = aiohttp.ClientTimeout(total=TIMEOUT)
        self.session = aiohttp.ClientSession(
            headers=self.headers, timeout=limits, connector=aiohttp.TCPConnector(limit=64)
        )
        try:
            await self._check()
        except BaseException:
            await self.session.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.session.close()

    async def _check(self) -> None:
        """Whether the server answers and knows the model. Raises `UserError`."""
        import aiohttp

        try:
            async with self.session.get(f"{self.url}/models") as answer:
                if answer.status == 404:
                    return  # not every server lists its models
                if answer.status != 200:
                    raise UserError(f"--endpoint {self.url}: {answer.status} {await _reason(answer)}")
                known = [one.get("id") for one in (await answer.json()).get("data", [])]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise UserError(f"--endpoint {self.url}: {error or type(error).__name__}") from None
        if known and self.model not in known:
            raise UserError(f"--model {self.model}: the endpoint serves {', '.join(map(str, known))}")

    async def prepare(self) -> None:
        """A server is there already."""

    async def answer(self, messages: Messages, seeds: Sequence[int], decoding: Decoding) -> list[Said]:
        return list(await asyncio.gather(*(self._one(messages, seed, decoding) for seed in seeds)))

    async def _one(self, messages: Messages, seed: int, decoding: Decoding) -> Said:
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_new_tokens,
            "seed": seed & 0x7FFFFFFF,  # servers differ in how large a seed may be
        }
        found = await self._post(body)
        try:
            choice = found["choices"][0]
            message = choice["message"]
            content = message.get("content") or ""
            thought = message.get("reasoning_content") or message.get("reasoning") or ""
            truncated = choice.get("finish_reason") == "length"
            tokens = int((found.get("usage") or {}).get("completion_tokens") or 0)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise RunError(f"endpoint {self.url}: not a chat completion: {str(found)[:200]}") from None
        if thought:
            content = f"{OPEN}\n{thought.strip()}" + (f"\n{CLOSE}\n{content}" if content or not truncated else "")
        return Said(messages[-1]["content"], content, tokens, truncated, seed)

    async def _post(self, body: dict[str, Any]) -> Any:
        import aiohttp

        for attempt in range(ATTEMPTS):
            try:
                async with self.session.post(f"{self.url}/chat/completions", json=body) as answer:
                    if answer.status == 200:
                        return await answer.json()
                    problem = f"{answer.status} {await _reason(answer)}"
                    if answer.status not in (408, 409, 429) and answer.status < 500:
                        raise RunError(f"endpoint {self.url}: {problem}")
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                problem = str(error) or type(error).__name__
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(2.0**attempt)
        raise RunError(f"endpoint {self.url}: {problem} ({ATTEMPTS} attempts)")


async def _reason(answer: Any) -> str:
    return " ".join((await answer.text()).split())[:200]
