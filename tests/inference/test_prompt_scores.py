"""Log-probabilities of given tokens from a server: read, or refused in one line. A real socket."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srm_ray.config.endpoints import EndpointConfig
from srm_ray.errors import RunError, UserError
from srm_ray.inference.prompt_scores import ScoringClient
from srm_ray.model import tokenization
from srm_ray.model.vocabulary import check_same
from srm_ray.rl.types import TeacherScores

Word = Callable[[int], str | None]


def logprob(place: int, token: int) -> float:
    return -0.25 * (1 + (7 * place + 3 * token) % 11)


def answer_of(request: dict[str, Any], word: Word) -> dict[str, Any]:
    """As vLLM answers: of the first token nothing, of each other its own and the likeliest, by id."""
    ids, top = request["prompt"], request["prompt_logprobs"]
    places: list[Any] = [None]
    for place, token in list(enumerate(ids))[1:]:
        likeliest = sorted(range(16), key=lambda other: (-logprob(place, other), other))
        chosen = dict.fromkeys([token, *likeliest[:top]])
        places.append(
            {
                str(one): {
                    "logprob": logprob(place, one),
                    "rank": 1 + likeliest.index(one) if one < 16 else 99,
                    "decoded_token": word(one),
                }
                for one in chosen
            }
        )
    return {"choices": [{"text": "x", "prompt_logprobs": places}]}


def asked(work: Callable[[ScoringClient], Any], answer: Callable[[dict[str, Any]], Any], **options: Any) -> Any:
    """What `work` makes of a server that answers a request with `answer`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            body = b'{"data": [{"id": "m"}]}'
        else:
            length = int(head.lower().split(b"content-length:")[1].split()[0])
            body = json.dumps(answer(json.loads(await reader.readexactly(length)))).encode()
        lines = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(lines.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async def scenario() -> Any:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            config = EndpointConfig(url=url, attempts=1, timeout=20.0, **options)
            async with ScoringClient(config, "teacher.endpoint") as client:
                return await work(client)

    return asyncio.run(scenario())


def scores(top: int, answer: Callable[[dict[str, Any]], Any]) -> TeacherScores:
    return asked(lambda client: client.score((1, 2, 3), (9, 4), top), answer)


def test_log_probabilities_of_the_continuation_and_of_the_likeliest() -> None:
    found = scores(3, lambda request: answer_of(request, str))
    assert found.logprobs.tolist() == [logprob(3, 9), logprob(4, 4)]
    assert found.top_ids is not None and found.top_logprobs is not None
    for row, place in enumerate((3, 4)):
        likeliest = sorted(range(16), key=lambda other: (-logprob(place, other), other))[:3]
        assert found.top_ids[row].tolist() == likeliest
        assert found.top_logprobs[row].tolist() == [logprob(place, token) for token in likeliest]
    assert scores(0, lambda request: answer_of(request, str)).top_ids is None
    assert found.logprobs.dtype == np.float32 and found.top_ids.dtype == np.int32


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"text": "x"}]},
        {"choices": [{"text": "x", "prompt_logprobs": None}]},
        {"choices": [{"text": "x", "prompt_logprobs": [None, {"2": {"logprob": -1.0}}]}]},
        {"choices": [{"text": "x", "prompt_logprobs": [None] * 5}]},
        [],
    ],
)
def test_an_answer_without_them_is_one_line(answer: Any) -> None:
    with pytest.raises(RunError, match=r"teacher.endpoint http.*no log-probabilities of the prompt"):
        scores(0, lambda request: answer)


@pytest.mark.parametrize(
    ("token", "entry"),
    [
        ("x", {"logprob": -1.0, "rank": 1}),
        ("-1", {"logprob": -1.0, "rank": 1}),
        ("9" * 30, {"logprob": -1.0, "rank": 1}),
        ("7", {"logprob": 5.0, "rank": 1}),
        ("7", {"logprob": -(10**400), "rank": 1}),
        ("7", {"logprob": "-1", "rank": 1}),
        ("7", {"logprob": -1.0, "rank": "first"}),
        ("7", {"logprob": -1.0, "rank": 1, "decoded_token": 5}),
        ("7", [-1.0]),
    ],
)
def test_an_entry_that_is_none_is_one_line(token: str, entry: Any) -> None:
    def spoiled(request: dict[str, Any]) -> dict[str, Any]:
        answer = answer_of(request, str)
        answer["choices"][0]["prompt_logprobs"][4][token] = entry
        return answer

    for top in (0, 3):
        with pytest.raises(RunError, match=r"teacher.endpoint http.*no log-probabilities of the prompt"):
            scores(top, spoiled)


def test_a_server_that_gives_fewer_than_asked_for() -> None:
    def fewer(request: dict[str, Any]) -> dict[str, Any]:
        return answer_of(request | {"prompt_logprobs": 2}, str)

    with pytest.raises(RunError, match=r"fewer than 5 log-probabilities of a place: lower teacher.top_k"):
        scores(5, fewer)


def test_a_server_of_another_vocabulary_is_refused(tiny_model: Path) -> None:
    tokenizer = tokenization.load(str(tiny_model))
    asked(lambda client: client.check(tokenizer), lambda r: answer_of(r, lambda token: tokenizer.decode([token])))

    def one_off(request: dict[str, Any]) -> dict[str, Any]:
        return answer_of(request, lambda token: tokenizer.decode([(token + 1) % len(tokenizer)]))

    with pytest.raises(UserError, match=r"--teacher.endpoint.url .* its vocabulary is another than the policy's"):
        asked(lambda client: client.check(tokenizer), one_off)
    with pytest.raises(UserError, match=r"--teacher.endpoint.url .* it gives no prompt_logprobs"):
        asked(lambda client: client.check(tokenizer), lambda request: {"choices": []})


def test_a_tokenizer_with_other_ids_is_refused(tiny_model: Path) -> None:
    own, other = tokenization.load(str(tiny_model)), tokenization.load(str(tiny_model))
    check_same(own, other, "--teacher.model m")
    other.add_tokens(["<extra>"])
    with pytest.raises(UserError, match=rf"token {len(own)} is '<extra>' there, none here"):
        check_same(own, other, "--teacher.model m")
