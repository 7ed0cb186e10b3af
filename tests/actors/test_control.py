"""The scaling channel: a request that fails is told, to the run and to who asked; later ones are carried out."""

import asyncio

import pytest

from actors.runtime import scaling
from actors.runtime.control import Control, followed
from actors.runtime.replies import ScaleRequest, ScaleStatus, WorkerCounts
from srm_ray.errors import RunError

pytestmark = pytest.mark.integration

COUNTS = WorkerCounts(rollouts=1, rewards=1)


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

    async def act(rollouts, rewards):
        if rollouts == 13:
            raise ValueError("thirteen")
        done.append((rollouts, rewards))

    async def asked():
        control = Control()
        tell = lambda event, **known: told.append((event, known))  # noqa: E731
        async with followed(Remote(control), act, lambda: COUNTS, tell):
            refused = await control.ask(ScaleRequest(rollouts=13))
            fine = await control.ask(ScaleRequest(rollouts=2, rewards=3))
            while not done:
                await asyncio.sleep(0)
            return refused, fine, await control.status()

    refused, fine, status = asyncio.run(asyncio.wait_for(asked(), 60))
    assert done == [(2, 3)]
    assert told == [("not_scaled", {"rollouts": 13, "cause": "ValueError: thirteen"})]
    assert status == ScaleStatus(COUNTS, {refused: "thirteen"})
    assert fine != refused


def test_who_asked_hears_why_the_run_could_not_be_scaled(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "get", asyncio.run)
    control = Control()
    asyncio.run(control.refuse(0, "no such role"))
    with pytest.raises(RunError, match=r"could not be scaled.*no such role"):
        scaling.scale(Remote(control), ScaleRequest(rollouts=2), 10)


def test_who_asked_returns_once_as_many_are_there_as_were_asked_for(monkeypatch, capsys):
    """The roles that were not asked for may have any number."""
    import ray

    monkeypatch.setattr(ray, "get", asyncio.run)
    control = Control()
    with pytest.raises(RunError, match="not there after"):  # nobody has said anything yet
        scaling.scale(Remote(control), ScaleRequest(rollouts=2), 0.1)
    asyncio.run(control.report(COUNTS))
    with pytest.raises(RunError, match="not there after"):
        scaling.scale(Remote(control), ScaleRequest(rollouts=1, rewards=2), 0.1)
    asyncio.run(control.report(WorkerCounts(rollouts=1, rewards=2)))
    scaling.scale(Remote(control), ScaleRequest(rewards=2), 10)
    out = capsys.readouterr().out
    assert "rollouts: ? -> 2" in out and "rewards: 1 -> 2" in out and "rewards: 2 -> 2\ndone after" in out
