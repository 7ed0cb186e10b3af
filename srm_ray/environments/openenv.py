"""A server of OpenEnv: `--environment srm_ray.environments.openenv:OpenEnv --data.path rows.jsonl`.

Rows have the server's `url` and, where it is not `message`, the field of its action that a turn's words fill, `action`;
columns of other names, and the episode's seed, go to the server's own reset. It is a session of the server's for each
episode, which it must be set to allow as many of as are under way.

OpenEnv's package cannot be installed beside vLLM (its fastmcp wants mcp below 2), and is not needed: the protocol is
JSON over one WebSocket, `{"type": "reset" | "step" | "close", "data": ...}` (openenv 0.10.0, `core/env_client.py`).
"""

import contextlib
import json
from typing import Any

from rewards.extract import after_thinking
from srm_ray.environments.contract import OWN_COLUMNS

LARGEST = 16 << 20  # bytes of a message
OWN = frozenset({"done", "reward", "metadata"})  # fields of every observation, which are no words


class OpenEnv:
    """Turns. What a turn holds after its thinking is the action; an observation of one text is that text, else JSON."""

    def __init__(self) -> None:
        try:
            from websockets.sync.client import connect
        except ImportError:
            raise ImportError("a client of OpenEnv wants websockets: pip install 'srm-ray[openenv]'") from None
        self.connect, self.stack = connect, contextlib.ExitStack()
        self.socket: Any = None

    def reset(self, url: str, action: str = "message", seed: int = 0, **columns: Any) -> str:
        self.action = action
        address = url.rstrip("/").replace("http://", "ws://").replace("https://", "wss://")
        self.socket = self.stack.enter_context(self.connect(f"{address}/ws", max_size=LARGEST, open_timeout=10))
        given = {name: value for name, value in columns.items() if name not in OWN_COLUMNS}
        return words_of(self._ask("reset", {"seed": seed, **given}))

    def step(self, text: str) -> tuple[str, float, bool]:
        visible = after_thinking(text)
        found = self._ask("step", {self.action: (text if visible is None else visible).strip()})
        return words_of(found), float(found.get("reward") or 0.0), bool(found.get("done"))

    def close(self) -> None:
        if self.socket is not None:
            self.socket.send(json.dumps({"type": "close"}))
        self.stack.close()

    def _ask(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """Raises RuntimeError with the server's own words where it answers with an error."""
        self.socket.send(json.dumps({"type": kind, "data": data}))
        answer = json.loads(self.socket.recv())
        found = answer.get("data") or {}
        if answer.get("type") == "error":
            raise RuntimeError(f"the server answers {kind} with an error: {json.dumps(found)[:300]}")
        return dict(found)


def words_of(found: dict[str, Any]) -> str:
    observation = found.get("observation") or {}
    plain = {name: value for name, value in observation.items() if name not in OWN and value is not None}
    texts = [value for value in plain.values() if isinstance(value, str)]
    if len(plain) == len(texts) == 1:
        return texts[0]
    return json.dumps(plain, ensure_ascii=False)
