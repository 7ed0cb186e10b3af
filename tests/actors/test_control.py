"""The scaling channel: a request that fails is told, to the run and to who asked; later ones are carried out."""

import asyncio

import pytest

from actors.runtime.control import Control, followed
from srm_ray import scale
from srm_ray.errors import RunError

pytestmark = pytest.mark.integration


class Remote:
    """`Control` in this process, called as an actor is."""

    def __init__(self, control):
        self.control = control

    def __getattr__(self, method):
        class Call:
            remote = staticmethod(getattr(self.control, method))

        return Call


def test_a_request_that_fails_is_told_and_the_next_one_is_carried_out():
    told, done = [], []

    async def act(rollouts):
        if rollouts == 13:
            raise ValueError("thirteen")
        done.append(rollouts)

    async def asked():
        control = Control()
        tell = lambda event, **known: told.append((event, known))  # noqa: E731
        async with followed(Remote(control), act, lambda: {"rollouts": 1}, tell):
            refused = await control.ask({"rollouts": 13})
            fine = await control.ask({"rollouts": 2})
            while not done:
                await asyncio.sleep(0)
            return refused, fine, await control.status()

    refused, fine, status = asyncio.run(asyncio.wait_for(asked(), 10))
    assert done == [2]
    assert told == [("not_scaled", {"rollouts": 13, "cause": "ValueError: thirteen"})]
    assert status["refused"] == {refused: "thirteen"}
    assert fine != refused


def test_who_asked_hears_why_the_run_could_not_be_scaled(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "get", asyncio.run)
    control = Control()
    asyncio.run(control.refuse(0, "no such role"))
    with pytest.raises(RunError, match=r"could not be scaled.*no such role"):
        scale.scale(Remote(control), {"rollouts": 2}, 10)
