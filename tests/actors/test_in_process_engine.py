"""The engine's thread tells of each step and call while it is inside of it."""

import asyncio
import sys
import threading
import types

import pytest

from actors.rollout.in_process_engine import SteppedEngine
from actors.runtime.liveness import STEP, Progress


class Engine:
    """vLLM's, whose step takes until it is let go on, and fails where it is told to."""

    def __init__(self):
        self.go_on, self.inside = threading.Event(), threading.Event()
        self.requests, self.error = [], None
        self.engine_core = types.SimpleNamespace(shutdown=lambda: None)

    def add_request(self, request_id, prompt, params):
        self.requests.append(request_id)

    def has_unfinished_requests(self):
        return bool(self.requests)

    def step(self):
        self.inside.set()
        assert self.go_on.wait(120)
        if self.error:
            raise self.error
        return [types.SimpleNamespace(request_id=self.requests.pop(), finished=True)]


@pytest.fixture
def made(monkeypatch):
    engine, progress = Engine(), Progress()
    module = types.ModuleType("vllm.v1.engine.llm_engine")
    module.LLMEngine = types.SimpleNamespace(from_engine_args=lambda args: engine)
    for name in ("vllm", "vllm.v1", "vllm.v1.engine"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.llm_engine", module)
    stepped = SteppedEngine(None, progress)
    yield engine, stepped, progress
    engine.go_on.set()
    stepped.shutdown()


async def in_a_step(engine, stepped):
    """A request whose step is under way."""

    async def generate():
        async for output in stepped.generate("prompt", None, "one"):
            return output

    request = asyncio.ensure_future(generate())
    await asyncio.to_thread(engine.inside.wait, 30)
    return request


def test_a_step_shows_while_it_is_under_way(made):
    engine, stepped, progress = made

    async def run():
        request = await in_a_step(engine, stepped)
        during = progress.report()
        engine.go_on.set()
        return during, await request

    during, output = asyncio.run(run())
    [step] = during.doing
    assert (step.kind, step.detail) == (STEP, "of 1 sequences")
    assert STEP not in during.done
    assert STEP in progress.report().done
    assert output.request_id == "one"


def test_an_engine_that_failed_is_known_to_have(made):
    engine, stepped, _ = made
    engine.error = ValueError("broken")

    async def run():
        request = await in_a_step(engine, stepped)
        assert not stepped.errored
        engine.go_on.set()
        return await request

    with pytest.raises(RuntimeError, match="the engine has ended: broken"):
        asyncio.run(run())
    assert stepped.errored
