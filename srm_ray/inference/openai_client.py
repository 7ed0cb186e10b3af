"""The one client of OpenAI-compatible servers: POST <url>/chat/completions, one request a completion.

    messages, seed -> OpenAIClient.complete -> Reply (content, reasoning, calls of tools, finish, tokens)

The `openai` package speaks the protocol. What is ours is what it leaves open:

- A request that fails for a reason that may pass (408, 409, 425, 429, 5xx, a broken connection, too slow, an answer
  that is no chat completion) is tried again, later each time, as the server asks (Retry-After) where it does. One that
  the server refuses for its content (400, 413, 422) is `Refused`. A wrong key, address or model is a `UserError`.
- A server that answers is not trusted: bodies are bounded while they are read, packed ones while they are unpacked,
  JSON by its depth before it is parsed, token counts by what a completion can have. No redirect is followed, so no
  key goes to an address that the user did not name; nor does a proxy of the environment see one. What a server says
  reaches messages as printable text of bounded length.
"""

import asyncio
import json
import os
import random
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from srm_ray.config.endpoints import EndpointConfig
from srm_ray.errors import UserError, printable

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

LONGEST_BODY = 16 << 20  # bytes of an answer, unpacked: some millions of tokens
DEEPEST = 64  # levels of an answer's JSON; a chat completion has six
MOST_TOKENS = 1 << 32  # that an answer may report as its cost
LONGEST_REASON = 200  # characters of a server's own words in a message
LONGEST_WAIT = 120.0  # seconds between two attempts
HIDDEN = "[the key]"
HALF = re.compile("[\ud800-\udfff]")
REFUSALS = (400, 413, 422)
MAY_PASS = (408, 409, 425, 429)


class Failed(Exception):
    """Every attempt at a request failed; the message is the last reason."""


class Refused(Exception):
    """The server will not answer this request, whenever it is asked; the message is why."""


class _Fault(ValueError):
    """An answer that is not read further."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and how patiently.

    url: as the user gave it; without a path, /v1 is added. model: "" for the only one that it serves. key: name of the
    environment variable that holds the key. concurrency: requests under way at once. timeout: seconds of one attempt.
    backoff: seconds before the second attempt, doubled for each further one. url_option, model_option: what messages
    call them.
    """

    url: str
    model: str
    key: str
    concurrency: int = 64
    timeout: float = 600.0
    attempts: int = 5
    backoff: float = 1.0
    url_option: str = "--endpoint"
    model_option: str = "--model"

    @staticmethod
    def of(config: EndpointConfig, option: str) -> "Server":
        """As a section of a config names it. option: the section's place, for messages."""
        return Server(
            config.url,
            config.model,
            config.key,
            concurrency=config.concurrency,
            timeout=config.timeout,
            attempts=config.attempts,
            backoff=config.backoff,
            url_option=f"--{option}.url",
            model_option=f"--{option}.model",
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """A chat completion. content, reasoning: as the server keeps them apart. finish: "stop" or "length".

    tokens_in, tokens_out: as billed; 0 where the server does not say. calls: of tools, `{"id", "type", "function":
    {"name", "arguments": JSON as text}}` each; what the model wrote in them is not looked at.
    """

    content: str
    reasoning: str
    finish: str
    tokens_in: int
    tokens_out: int
    calls: tuple[dict[str, Any], ...] = ()


class OpenAIClient:
    """`async with OpenAIClient(server) as client`: checks address, key and model, then answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        base = server.url.rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise UserError(f"{server.url_option} {printable(server.url)}: an address begins with http:// or https://")
        self.url = base if "/" in base.split("://", 1)[1] else f"{base}/v1"
        self.model = server.model
        self._slots = asyncio.Semaphore(server.concurrency)
        self._client: Any = None
        self._headers: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        import httpx2
        import openai

        key = os.environ.get(self.server.key, "")
        # Not from the environment, as they are by default: they name an account of one company.
        self._headers = dict.fromkeys(["OpenAI-Organization", "OpenAI-Project"], openai.Omit())
        if not key:
            self._headers["Authorization"] = openai.Omit()
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=key or "none",
            max_retries=0,
            timeout=self.server.timeout,
            http_client=httpx2.AsyncClient(
                transport=bounded_transport(self.server.concurrency, secret=key),
                follow_redirects=False,
                trust_env=False,
            ),
        )
        try:
            await self._check()
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._client.close()

    async def complete(self, messages: Sequence[Mapping[str, Any]], seed: int, **body: Any) -> Reply:
        """One completion. body: further fields of the request. Raises `Failed` after the last attempt, `Refused`."""
        request = {
            "model": self.model,
            "messages": list(messages),
            "seed": seed & 0x7FFFFFFF,  # servers differ in how large a seed may be
            **body,
        }
        return await self.ask("/chat/completions", request, read_reply, seed)

    async def ask(self, path: str, request: dict[str, Any], read: Callable[[Any], T], seed: int = 0) -> T:
        """What `read` makes of the server's answer, whose ValueError counts as an answer that is none; tried again as
        often as the server's options say. Raises as `complete` does. seed: of the spread of the waits."""
        problem, asked = "", 0.0
        async with self._slots:
            for attempt in range(self.server.attempts):
                if attempt:
                    await asyncio.sleep(self._wait(attempt, asked, seed))
                try:
                    return await self._attempt(path, request, read)
                except _TryAgain as again:
                    problem, asked = str(again), again.after
        raise Failed(f"{problem} ({self.server.attempts} attempts)")

    async def _attempt(self, path: str, request: dict[str, Any], read: Callable[[Any], T]) -> T:
        import openai

        try:
            return read(await self._send("post", path, request))
        except openai.APIStatusError as error:
            problem = reason(error.response)
            if error.status_code in REFUSALS:
                raise Refused(problem) from None
            if 300 <= error.status_code < 400:
                problem = f"{problem}: it sends elsewhere, to {printable(error.response.headers.get('location', '?'))}"
            if error.status_code not in MAY_PASS and error.status_code < 500:
                raise UserError(f"{self.server.url_option} {self.url}: {problem}") from None
            raise _TryAgain(problem, seconds_asked(error.response.headers.get("retry-after", ""))) from None
        except (openai.OpenAIError, TimeoutError, OSError, ValueError) as error:
            raise _TryAgain(cause(error)) from None

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The parsed JSON of an answer. Raises openai's errors, TimeoutError, ValueError."""
        import httpx2

        async with asyncio.timeout(self.server.timeout):  # of the whole, however the bytes trickle
            how = {"cast_to": httpx2.Response, "options": {"headers": self._headers}}
            if method == "get":
                answer = await self._client.get(path, **how)
            else:
                answer = await self._client.post(path, body=body, **how)
        return parse(answer.content)

    async def _check(self) -> None:
        """Raises `UserError` where nothing answers, the key is wrong, or the model is not served."""
        import openai

        option, model_option = self.server.url_option, self.server.model_option
        try:
            listed = await self._send("get", "/models")
        except openai.APIStatusError as error:
            if error.status_code in (404, 405, 501) and self.model:
                return  # not every server lists its models
            raise UserError(f"{option} {self.url}: {reason(error.response)}") from None
        except (openai.OpenAIError, TimeoutError, OSError, ValueError) as error:
            raise UserError(f"{option} {self.url}: no answer ({cause(error)})") from None
        data = listed.get("data") if isinstance(listed, dict) else None
        models = data if isinstance(data, list) else []
        names = [printable(str(one.get("id")))[:LONGEST_REASON] for one in models if isinstance(one, dict)]
        if not self.model and len(names) == 1:
            self.model = names[0]
        if not self.model:
            raise UserError(f"{model_option} is needed: the server has {', '.join(names[:10]) or 'named none'}")
        if names and self.model not in names:
            raise UserError(f"{model_option} {self.model}: the server has {', '.join(names[:10])}")

    def _wait(self, attempt: int, asked: float, seed: int) -> float:
        """Seconds before the next attempt: doubled each time, spread so that requests do not come back together."""
        spread = 0.5 + random.Random(f"{seed}/{attempt}").random()
        return min(LONGEST_WAIT, max(asked, self.server.backoff * 2 ** (attempt - 1) * spread))


class _TryAgain(Exception):
    def __init__(self, problem: str, after: float = 0.0) -> None:
        super().__init__(problem)
        self.after = after  # seconds, as the server asks


# What a server sends, read with care


def bounded_transport(connections: int, limit: int = LONGEST_BODY, *, secret: str = "") -> "httpx2.AsyncBaseTransport":
    """A transport whose answers are read whole, up to `limit` bytes unpacked. Raises `_Fault` beyond.

    secret: the key, which an answer that repeats it (as some do in their errors) is read without.
    """
    import httpx2

    hide = hiding(secret)

    class Bounded(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            self.inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=connections))

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            request.headers["Accept-Encoding"] = "identity"
            answer = await self.inner.handle_async_request(request)
            try:
                assert isinstance(answer.stream, httpx2.AsyncByteStream)
                content = await read_body(answer.stream, answer.headers.get("content-encoding", ""), limit)
            finally:
                await answer.aclose()
            kept = [
                (name, hide(value.encode("latin-1", "replace")).decode("latin-1"))
                for name, value in answer.headers.multi_items()
                if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ]
            return httpx2.Response(answer.status_code, headers=kept, content=hide(content), request=request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    return Bounded()


def hiding(secret: str) -> Callable[[bytes], bytes]:
    """A function that takes a key out of bytes, as it is and as JSON or addresses have it (`\\/`, `\\u002f`, `%2f`)."""
    if not secret:
        return lambda content: content
    spelled = (
        rb"(?:\\?%s|(?i:\\u%s|%%%s))"
        % (re.escape(char.encode()), b"%04x" % ord(char), b"%%".join(b"%02x" % byte for byte in char.encode()))
        for char in secret
    )
    pattern = re.compile(b"".join(spelled))
    return lambda content: pattern.sub(HIDDEN.encode(), content)


async def read_body(pieces: AsyncIterator[bytes] | Any, encoding: str, limit: int) -> bytes:
    """All bytes of an answer, unpacked. Raises `_Fault` past `limit`, or where they are packed in another way."""
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise _Fault(f"an answer packed as {printable(encoding)[:40]}, which was not asked for")
    unpack = zlib.decompressobj(wbits=47) if encoding in ("gzip", "deflate") else None
    found = bytearray()
    async for piece in pieces:
        try:
            found += unpack.decompress(piece, limit + 1 - len(found)) if unpack else piece
        except zlib.error as error:
            raise _Fault(f"an answer that does not unpack ({error})") from None
        if len(found) > limit:
            raise _Fault(f"an answer of more than {limit >> 20} MiB")
    return bytes(found)


# A string that never ends is one too: to look for its end again from each of its quotes would take for ever.
STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse(content: bytes) -> Any:
    """JSON of bounded depth, without the numbers that JSON does not have. Raises ValueError."""
    depth = 0
    for match in STRUCTURE.finditer(content):
        first = content[match.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEEPEST:
            raise _Fault(f"an answer of more than {DEEPEST} levels")

    def refuse(constant: str) -> Any:
        raise _Fault(f"an answer with {constant}, which is no JSON")

    return json.loads(content, parse_constant=refuse)


def read_reply(answer: Any) -> Reply:
    """A chat completion's text and tokens. Raises ValueError for anything else."""
    try:
        choice = answer["choices"][0]
        message, usage = choice["message"], answer.get("usage") or {}
        content = message.get("content") or ""
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        if not isinstance(content, str) or not isinstance(reasoning, str):
            raise TypeError
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
        calls = tuple(call_of(call) for call in message.get("tool_calls") or ())
        content, reasoning = whole(content), whole(reasoning)
        counts = [token_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise _Fault(f"not a chat completion: {printable(str(answer))[:LONGEST_REASON]}") from None
    return Reply(content, reasoning, finish, counts[0], counts[1], calls)


def call_of(call: Any) -> dict[str, Any]:
    """A tool call in a chat completion, as it is sent back. Raises what anything else gives."""
    function = call["function"]
    name, arguments, given = function["name"], function.get("arguments") or "{}", call.get("id") or "call"
    if not (isinstance(name, str) and isinstance(arguments, str) and isinstance(given, str)):
        raise TypeError
    return {"id": whole(given), "type": "function", "function": {"name": whole(name), "arguments": whole(arguments)}}


def whole(text: str) -> str:
    """Half of a surrogate pair, which no file and no tokenizer takes, as U+FFFD."""
    return HALF.sub("\ufffd", text)


def token_count(value: Any) -> int:
    """Tokens as a server states them; 0 for none. Raises ValueError for what no completion can have."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not 0 <= value <= MOST_TOKENS or value != int(value):  # a comparison holds for any number, nan's never does
        raise _Fault(f"a usage of {str(value)[:40]} tokens")
    return int(value)


def seconds_asked(header: str) -> float:
    """Retry-After in seconds; 0 for none, and for the form that is a date."""
    text = header.strip()
    return float(text[:9]) if text.isascii() and text.isdigit() else 0.0


def reason(answer: "httpx2.Response") -> str:
    """A status and the server's reason, in one printable line."""
    reason = " ".join(printable(answer.content.decode(errors="replace")[: 10 * LONGEST_REASON]).split())
    return f"HTTP {answer.status_code} {reason[:LONGEST_REASON]}".rstrip()


def cause(error: BaseException) -> str:
    """What went wrong on the way, in one line: openai hides it behind its own words."""
    import openai

    while isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, _Fault):
        return str(error)
    reason = " ".join(printable(str(error)).split())[:LONGEST_REASON]
    return f"{type(error).__name__}: {reason}".rstrip(": ")
