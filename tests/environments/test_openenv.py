"""A client of OpenEnv's servers, on a server of this process that speaks their protocol."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from srm_ray.environments.contract import load
from srm_ray.environments.openenv import OpenEnv, words_of


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    from websockets.sync.server import serve

    heard: list[dict[str, Any]] = []

    def session(socket: Any) -> None:
        for text in socket:
            message = json.loads(text)
            heard.append(message)
            if message["type"] == "close":
                return
            said = message["data"].get("message", "")
            told: dict[str, Any] = {
                "observation": {"text": f"heard {said}", "metadata": {}},
                "reward": None,
                "done": False,
            }
            told |= {"reward": 1, "done": True} if said == "win" else {}
            kind = "observation"
            if message["type"] == "step" and "message" not in message["data"]:
                kind, told = "error", {"message": "Invalid message", "code": "VALIDATION_ERROR"}
            socket.send(json.dumps({"type": kind, "data": told}))

    with serve(session, "127.0.0.1", 0) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.socket.getsockname()[1]}", heard
        made.shutdown()
        thread.join()


def test_an_episode_on_a_server(server: tuple[str, list[dict[str, Any]]]) -> None:
    url, heard = server
    one = OpenEnv()
    assert one.reset(url, seed=7, level=2, prompt="of the row's own", source="x") == "heard "
    assert heard[0] == {"type": "reset", "data": {"seed": 7, "level": 2}}
    assert one.step("<think>\nHm.\n</think>\n go") == ("heard go", 0.0, False)
    assert one.step("win") == ("heard win", 1.0, True)
    one.close()
    deadline = time.monotonic() + 30
    while heard[-1] != {"type": "close"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard[-1] == {"type": "close"}
    other = OpenEnv()
    other.reset(url, action="code")
    with pytest.raises(RuntimeError, match=r"step with an error: .*VALIDATION_ERROR"):
        other.step("1")


def test_it_fits_the_contract_of_turns() -> None:
    contract = load("srm_ray.environments.openenv:OpenEnv", ()).contract
    assert contract.kind == "turns" and contract.needs == ("url",) and contract.any_column and contract.closes


def test_observations_as_words() -> None:
    assert words_of({"observation": {"text": "go", "done": False, "reward": None}}) == "go"
    assert words_of({"observation": {"text": "go", "legal": [1, 2]}}) == '{"text": "go", "legal": [1, 2]}'
