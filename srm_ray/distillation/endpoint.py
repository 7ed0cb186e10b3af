"""An OpenAI-compatible server: POST <url>/chat/completions, one request a completion.

A request that fails for a reason that may pass (408, 409, 429, 5xx, a broken connection, too slow) is tried again,
later each time, as the server asks (Retry-After) where it does; one that the server refuses for what it says (400,
413, 422) is on record as refused and not asked again; a wrong key, address or model ends the command, and so does a
server that refuses whatever it is asked.
"""

import asyncio
import os
import random
from collections.abc import Sequence
from typing import Any

from srm_ray.config.distill import EndpointConfig
from srm_ray.distillation.ledger import REFUSED, Answer, whole
from srm_ray.errors import RunError, UserError

LONGEST_WAIT = 120.0  # seconds between two attempts
REFUSALS = (400, 413, 422)
REFUSED_AT_FIRST = 5  # requests, with none answered
MAY_PASS = (408, 409, 425, 429)


class Failed(Exception):
    """Every attempt at a request failed; the message is the last reason."""


class Endpoint:
    """`async with Endpoint(...) as teacher`: checks the server, then answers."""

    def __init__(self, config: EndpointConfig, *, temperature: float, max_new_tokens: int):
        self.config, self.temperature, self.max_new_tokens = config, temperature, max_new_tokens
        base = config.url.rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise UserError(f"--endpoint.url {config.url}: an address begins with http:// or https://")
        self.url = base if base.split("://", 1)[1].count("/") else f"{base}/v1"
        self.model = config.model
        self.room = asyncio.Semaphore(config.concurrency)
        self.session: Any = None
        self.answered = False
        self.refusals: list[str] = []  # why, of each request that was refused

    async def __aenter__(self) -> "Endpoint":
        import aiohttp

        key = os.environ.get(self.config.key, "")
        self.session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=self.config.timeout),
            connector=aiohttp.TCPConnector(limit=self.config.concurrency),
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
        """Raises `UserError` where nothing answers, the key is wrong, or the model is not served."""
        import aiohttp

        try:
            async with self.session.get(f"{self.url}/models") as reply:
                if reply.status in (404, 405, 501) and self.model:
                    return  # not every server lists its models
                if reply.status != 200:
                    raise UserError(f"--endpoint.url {self.url}: {await self._reason(reply)}")
                listed = (await reply.json()).get("data", [])
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError) as error:
            raise UserError(f"--endpoint.url {self.url}: no answer ({error or type(error).__name__})") from None
        names = [str(one.get("id")) for one in listed if isinstance(one, dict)]
        if not self.model and len(names) == 1:
            self.model = names[0]
        if not self.model:
            raise UserError(f"--endpoint.model is needed: the server has {', '.join(names) or 'named none'}")
        if names and self.model not in names:
            raise UserError(f"--endpoint.model {self.model}: the server has {', '.join(names[:10])}")

    async def answer(self, messages: Sequence[dict[str, str]], seed: int) -> Answer:
        """Raises `Failed` after the last attempt."""
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": self.temperature,
            "max_tokens": self.max_new_tokens,
            "seed": seed & 0x7FFFFFFF,  # servers differ in how large a seed may be
            **self.config.body,
        }
        problem, asked = "", 0.0
        async with self.room:
            for attempt in range(self.config.attempts):
                if attempt:
                    await asyncio.sleep(self._wait(attempt, asked, seed))
                answer, problem, asked = await self._post(body)
                if answer is not None:
                    self._judge(answer, problem)
                    return answer
        raise Failed(f"{problem} ({self.config.attempts} attempts)")

    def _judge(self, answer: Answer, problem: str) -> None:
        """Raises `UserError` where the server has refused everything so far: it is not the prompts that are wrong."""
        if answer.finish != REFUSED:
            self.answered = True
            return
        self.refusals.append(problem)
        if not self.answered and len(self.refusals) >= REFUSED_AT_FIRST:
            raise UserError(f"--endpoint.url {self.url} refuses every request: {problem}")

    def _wait(self, attempt: int, asked: float, seed: int) -> float:
        """Seconds before the next attempt: doubled each time, spread so that requests do not come back together."""
        spread = 0.5 + random.Random(f"{seed}/{attempt}").random()
        return min(LONGEST_WAIT, max(asked, self.config.backoff * 2 ** (attempt - 1) * spread))

    async def _post(self, body: dict[str, Any]) -> tuple[Answer | None, str, float]:
        """The answer, or why there is none yet and the seconds that the server asks to wait."""
        import aiohttp

        try:
            async with self.session.post(f"{self.url}/chat/completions", json=body) as reply:
                if reply.status == 200:
                    return read_answer(await reply.json(), self.url), "", 0.0
                problem = await self._reason(reply)
                if reply.status in REFUSALS:
                    return Answer("", REFUSED, 0, 0), problem, 0.0
                if reply.status not in MAY_PASS and reply.status < 500:
                    raise UserError(f"--endpoint.url {self.url}: {problem}")
                return None, problem, seconds_asked(reply.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}".rstrip(": "), 0.0

    @staticmethod
    async def _reason(reply: Any) -> str:
        text = " ".join((await reply.text(errors="replace")).split())[:200]
        return f"HTTP {reply.status} {text}".rstrip()


def seconds_asked(header: str) -> float:
    """Retry-After in seconds; 0 for none, and for the form that is a date."""
    return float(header) if header.strip().isdigit() else 0.0


def read_answer(reply: Any, url: str) -> Answer:
    """A chat completion's text and tokens. Raises `RunError` for anything else."""
    try:
        choice = reply["choices"][0]
        message, usage = choice["message"], reply.get("usage") or {}
        text = whole(message.get("content") or "", message.get("reasoning_content") or message.get("reasoning") or "")
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
        return Answer(text, finish, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise RunError(f"endpoint {url}: not a chat completion: {str(reply)[:200]}") from None
