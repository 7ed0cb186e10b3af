"""The client of OpenAI-compatible servers against servers that are hostile, broken or somewhere else: a real socket,
bytes as such servers send them, and one line for each fault."""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from srm_ray.config.command_line import parse as parse_options
from srm_ray.config.distill import DistillConfig
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.errors import UserError
from srm_ray.inference import openai_client
from srm_ray.inference.openai_client import Failed, OpenAIClient, Refused, Reply, Server, parse, read_body

MESSAGE = [{"role": "user", "content": "?"}]
Answer = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


def completion(**usage: Any) -> bytes:
    choice = {"message": {"content": "4"}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5} | usage}).encode()


def sends(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    async def answer(writer: asyncio.StreamWriter, request: bytes) -> None:
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)

    return answer


def asked_of(answer: Answer, seen: list[bytes] | None = None, **options: Any) -> Reply:
    """What the client makes of a server whose completions are `answer`."""
    seen = [] if seen is None else seen

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            seen.append(request)
            if request.startswith(b"GET"):
                await sends(b'{"data": [{"id": "m"}]}')(writer, request)
            else:
                await answer(writer, request)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def scenario() -> Reply:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            known = {"attempts": 2, "backoff": 0.0, "timeout": 20.0} | options
            async with OpenAIClient(Server(f"http://127.0.0.1:{port}", "m", "THE_KEY", **known)) as client:
                return await client.complete(MESSAGE, 1, max_tokens=5)

    return asyncio.run(scenario())


def test_a_plain_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "ours")
    seen: list[bytes] = []
    assert asked_of(sends(completion()), seen) == Reply("4", "", "stop", 3, 5)
    assert all(b"secret" in request and b"ours" not in request for request in seen) and len(seen) == 2
    assert asked_of(sends(gzip.compress(completion()), "Content-Encoding: gzip")) == Reply("4", "", "stop", 3, 5)


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")
    seen: list[bytes] = []
    asked_of(sends(completion()), seen)
    assert not any(b"authorization" in request.lower() or b"of another" in request for request in seen)


async def endless(writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"[" * 65536)
        await writer.drain()


async def silent(writer: asyncio.StreamWriter, request: bytes) -> None:
    await asyncio.sleep(30)


async def trickle(writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(300):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


BOMB = gzip.compress(b"[" * (64 << 20))


@pytest.mark.parametrize(
    ("answer", "options", "says"),
    [
        (endless, {}, "an answer of more than 16 MiB"),
        (sends(BOMB, "Content-Encoding: gzip"), {}, "an answer of more than 16 MiB"),
        (sends(zlib.compress(b"x" * (64 << 20)), "Content-Encoding: deflate"), {}, "more than 16 MiB"),
        (sends(b"x", "Content-Encoding: br"), {}, "packed as br"),
        (sends(b"no gzip", "Content-Encoding: gzip"), {}, "does not unpack"),
        (sends(b"[" * 100_000 + b"]" * 100_000), {}, "more than 64 levels"),
        (sends(completion(completion_tokens=float("inf"))), {}, "Infinity, which is no JSON"),
        (sends(completion().replace(b"5}", b"1e999}")), {}, "a usage of inf tokens"),
        (sends(completion(prompt_tokens=-4_000_000)), {}, "a usage of -4000000 tokens"),
        (sends(completion(prompt_tokens=10**30)), {}, "a usage of 1000000000000000000000000000000 tokens"),
        (sends(completion(prompt_tokens=10**400)), {}, "a usage of 1000"),
        (sends(completion(completion_tokens=float("1e300"))), {}, "a usage of 1e+300 tokens"),
        (sends(completion(prompt_tokens=[1])), {}, "not a chat completion"),
        (sends(b'{"choices": [{"message": {"content": {"a": 1}}}]}'), {}, "not a chat completion"),
        (sends(b"[]"), {}, "not a chat completion"),
        (sends(b"\xff\xfe"), {}, "JSONDecodeError"),
        (silent, {"timeout": 1.0}, "TimeoutError"),
        (trickle, {"timeout": 1.0}, "TimeoutError"),
    ],
)
def test_a_hostile_answer_is_that_requests_fault(answer: Answer, options: dict[str, Any], says: str) -> None:
    with pytest.raises(Failed, match=rf"{re.escape(says)}.*\(2 attempts\)") as fault:
        asked_of(answer, **options)
    assert len(str(fault.value)) < 400 and str(fault.value).isprintable()


def test_half_a_character_of_a_server_is_replaced() -> None:
    """Neither a file nor a tokenizer takes it."""
    call = {"id": "c\ud800", "function": {"name": "f\udfff", "arguments": '{"a": "\ud83d"}'}}
    message = {"content": "4\ud800\U0001f600", "reasoning_content": "\udc00", "tool_calls": [call]}
    reply = asked_of(sends(json.dumps({"choices": [{"message": message}]}).encode()))
    assert (reply.content, reply.reasoning) == ("4\ufffd\U0001f600", "\ufffd")
    json.dumps(reply.calls, ensure_ascii=False).encode()


def test_words_of_a_server_are_shown_and_not_obeyed() -> None:
    clipboard = b"\x1b]52;c;cm0gLXJmIC8=\x07no\r\n" * 1000
    with pytest.raises(Refused) as refused:
        asked_of(sends(clipboard, status="400 Bad"))
    assert "\\x1b]52" in str(refused.value) and str(refused.value).isprintable() and len(str(refused.value)) < 300


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "secret")
    seen: list[bytes] = []
    with pytest.raises(UserError, match="HTTP 307: it sends elsewhere, to http://127"):
        asked_of(sends(b"", "Location: http://127.0.0.1:9/v1", status="307 Elsewhere"), seen)
    assert len(seen) == 2


def test_what_may_pass_is_tried_again() -> None:
    replies = [sends(b"", status="503 Later"), sends(b"<html>"), sends(completion())]

    async def in_turn(writer: asyncio.StreamWriter, request: bytes) -> None:
        await replies.pop(0)(writer, request)

    assert asked_of(in_turn, attempts=3).tokens_out == 5


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("", 0.0), ("9" * 400, 999999999.0), ("²", 0.0), ("-1", 0.0), ("Wed", 0.0)]
)
def test_retry_after(header: str, seconds: float) -> None:
    assert openai_client.seconds_asked(header) == seconds


def test_brackets_inside_strings_are_no_levels() -> None:
    assert parse(json.dumps(["[" * 500, '"]\\"' * 9]).encode()) == ["[" * 500, '"]\\"' * 9]
    with pytest.raises(ValueError, match="levels"):
        parse(b'{"a": ' * 65 + b"1" + b"}" * 65)


def test_a_string_that_never_ends_is_looked_through_once() -> None:
    """From each of its eight million quotes anew, it would hold the event loop for days."""
    for body in (b'"' + b'\\"' * 8_000_000, b"[" + b'\\"' * 8_000_000, b'{"a":"' + b"\\" * 16_000_001):
        with pytest.raises(ValueError):
            parse(body)


def test_bodies_are_bounded_as_they_are_unpacked() -> None:
    async def pieces():
        for start in range(0, len(BOMB), 1000):
            yield BOMB[start : start + 1000]

    with pytest.raises(ValueError, match="more than 1 MiB"):
        asyncio.run(read_body(pieces(), "gzip", 1 << 20))


def test_a_server_that_repeats_the_key_is_read_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some do in the error of a wrong key: it would be in logs and reports."""
    monkeypatch.setenv("THE_KEY", "sk-secret-0123456789")
    echo = b'{"error": "Incorrect API key provided: sk-secret-0123456789"}'
    for status in ("401 Unauthorized", "500 Oops", "307 Moved"):
        with pytest.raises((UserError, Failed)) as raised:
            asked_of(sends(echo, "Location: http://x/?key=sk-secret-0123456789", status=status))
        assert "secret" not in str(raised.value)
    answer = completion().replace(b'"4"', b'"you are sk-secret-0123456789"')
    assert asked_of(sends(answer)).content == "you are [the key]"


@pytest.mark.parametrize("spelling", [r"sk-a\/b+c", r"\u0073k-a\u002Fb\u002bc", "sk-a%2Fb%2bc", "sk-a/b%2Bc"])
def test_nor_with_the_key_in_another_spelling(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    """JSON's escapes are undone when it is read."""
    monkeypatch.setenv("THE_KEY", "sk-a/b+c")
    answer = completion().replace(b'"4"', f'"you are {spelling}, not sk-a/b"'.encode())
    assert asked_of(sends(answer)).content == "you are [the key], not sk-a/b"
    with pytest.raises(Failed) as failed:
        asked_of(sends(f'{{"error": "{spelling}"}}'.encode(), status="500 Oops"))
    assert "[the key]" in str(failed.value)


@pytest.mark.parametrize("models", ["5", "true", '{"a": 1}', '"m"', "[5]", '[{"id": [1]}]'])
def test_a_list_of_models_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch, models: str) -> None:
    listed = json.loads(f'{{"data": {models}}}')

    async def scenario() -> None:
        client = OpenAIClient(Server("http://127.0.0.1:9", "", ""))

        async def send(*_: Any) -> Any:
            return listed

        monkeypatch.setattr(client, "_send", send)
        await client._check()
        raise UserError(f"--model is {client.model}")

    with pytest.raises(UserError, match="--model is"):
        asyncio.run(scenario())


@pytest.mark.parametrize("url", ["http://me:sk-secret@host/v1", "http://host/v1?k=sk-secret", "http://host#sk-secret"])
def test_an_address_holds_no_key(url: str) -> None:
    """It is saved with the config."""
    for arguments in (["--endpoint.url", url], ["--endpoint.key", "sk-secret"], ["--endpoint.key", "hf_secret"]):
        with pytest.raises(UserError) as raised:
            parse_options(DistillConfig, arguments, stage="distill")
        assert "environment variable" in str(raised.value) and "secret" not in str(raised.value)
    for arguments in (["--endpoint", url], ["--api_key", "sk-secret"]):
        with pytest.raises(UserError) as raised:
            parse_options(EvaluateConfig, arguments, stage="evaluate")
        assert "environment variable" in str(raised.value) and "secret" not in str(raised.value)
