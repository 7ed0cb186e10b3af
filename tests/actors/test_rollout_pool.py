"""The pool of rollout workers over scripted ones: slow, hung, dead, asleep, and told to leave while they start."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
import ray

from actors.rollout.engine_spec import EngineSpec
from actors.rollout.pool import RolloutPool
from actors.runtime.liveness import LOADING, STARTING, STEP, Progress
from actors.runtime.placement import Places
from actors.runtime.pool import PoolOptions
from srm_ray.errors import RunError
from srm_ray.inference.completers import Sampling
from srm_ray.rl.types import Completion
from srm_ray.weights.flat import WeightUpdate
from tests.actors.in_process import INFO, InProcess, alive, run

pytestmark = pytest.mark.integration
SPEC = EngineSpec(model="", stop_token_ids=(), max_model_len=64, max_num_seqs=8, dtype="float32", seed=1)
ANSWER = Completion(np.zeros(2, np.int32), np.zeros(2, np.float32), np.zeros(2, np.int32), "stop", 0, "", "")
FOREVER = 1e9


@dataclass
class Script:
    """Seconds that each thing takes. steps: of the engine, for one answer. dies: the method that it dies of; "placed":
    it is sent to a node that is gone."""

    start: float = 10.0
    steps: tuple[float, ...] = (1.0,)
    load: float = 1.0
    dies: str = ""


@dataclass
class Worker:
    script: Script
    progress: Progress = field(default_factory=Progress)
    done: list[str] = field(default_factory=list)

    async def _do(self, kind, seconds):
        if self.script.dies == kind:
            raise ray.exceptions.RayActorError
        with self.progress.doing(kind):
            await asyncio.sleep(seconds)
        self.done.append(kind)

    async def start(self):
        if self.script.dies == "placed":
            raise ray.exceptions.RayActorError(
                error_msg="The actor died.\nThe actor never ran - it was cancelled before it started running."
            )
        await self._do(STARTING, self.script.start)
        return INFO

    async def generate(self, prompt_ids, seeds, sampling, begun, ticket):
        for seconds in self.script.steps:
            await self._do(STEP, seconds)
        return [ANSWER for _ in seeds]

    async def load_weights(self, update):
        await self._do(LOADING, self.script.load)
        return 0.0

    async def sleep(self):
        await self._do("going to sleep", 1.0)

    async def wake_up(self):
        await self._do("waking up", 1.0)

    def ping(self):
        return alive(self.progress)

    async def hand_back(self):
        """Nothing."""

    async def close(self):
        """Nothing."""


class Pool:
    """A RolloutPool whose workers follow scripts, in the order in which they are spawned; the last for all others."""

    def __init__(self, monkeypatch, *scripts, workers=1):
        self.scripts, self.spawned, self.told = list(scripts), [], []
        self.placed = True  # whether Ray finds room for those that start
        monkeypatch.setattr(ray, "kill", lambda actor: actor.end())
        monkeypatch.setattr("actors.runtime.pool._placed", lambda member: self.placed)
        self.pool = RolloutPool(
            PoolOptions(
                Places({"CPU": 1.0}),
                (workers, workers),
                on_event=lambda event, **known: self.told.append((event, known)),
            ),
            SPEC,
            spawn=self.spawn,
        )
        self.events = lambda: [event for event, _ in self.told]

    def spawn(self, number, name, place):
        worker = Worker(self.scripts[min(number, len(self.scripts) - 1)])
        self.spawned.append(worker)
        return InProcess(worker)

    async def sample(self):
        return await self.pool.generate((1, 2), (3, 4), Sampling(1.0, 8))

    def names(self):
        return [member.name for member in self.pool.pool.serving()]


def update(version):
    return WeightUpdate(version, "", "here", "", (), data=b"")


def play(pool, work):
    async def whole():
        try:
            await pool.pool.start()
            return await work()
        finally:
            await pool.pool.close()

    return run(whole())


def test_a_slow_worker_keeps_its_place(monkeypatch):
    """Hours of start and steps of minutes, as on a small machine."""
    pool = Pool(monkeypatch, Script(start=550.0, steps=(300.0, 120.0, 200.0), load=110.0))

    async def work():
        await pool.pool.push(update(1))
        return [await pool.sample() for _ in range(3)]

    assert len(play(pool, work)) == 3
    assert pool.told == []


def test_a_hung_worker_is_replaced_and_why_is_said(monkeypatch):
    pool = Pool(monkeypatch, Script(steps=(1.0, FOREVER)), Script())
    assert len(play(pool, pool.sample)) == 2
    assert pool.events() == ["restarted", "joined"]
    told = pool.told[0][1]
    assert told["worker"] == "rollout-0"
    assert told["cause"].startswith("made no progress for 6")
    assert "while computing an engine step (limit 60 s; recovery.hung_after raises it)" in told["cause"]


def test_a_prompt_over_which_workers_hang_ends_the_run_with_what_they_did(monkeypatch):
    """Never with how they were ended."""
    pool = Pool(monkeypatch, Script(steps=(1.0, FOREVER)))
    said = r"^4 workers died over one prompt; the first: rollout-0 made no progress for 6\d s while computing an engine"
    with pytest.raises(RunError, match=said):
        play(pool, pool.sample)


def test_a_start_that_never_ends_is_an_error_that_says_what_to_raise(monkeypatch):
    pool = Pool(monkeypatch, Script(start=FOREVER))
    with pytest.raises(
        RunError, match=r"^rollout-0 made no progress for 60\d s while starting .*rollout.start_timeout"
    ):
        play(pool, pool.sample)
    assert pool.told == [], "what cannot start at all is no death"


def test_who_is_lost_while_others_are_still_starting_is_replaced(monkeypatch):
    pool = Pool(monkeypatch, Script(start=1.0), Script(start=300.0), Script(), workers=2)

    async def work():
        while len(pool.names()) < 2:
            await asyncio.sleep(1.0)
        return pool.names()

    async def whole():
        asyncio.get_running_loop().call_later(100.0, lambda: pool.pool.members[0].actor.end())
        try:
            await pool.pool.start()
            return await work()
        finally:
            await pool.pool.close()

    assert run(whole()) == ["rollout-1", "rollout-2"]
    assert pool.events() == ["restarted", "joined"]


def test_a_push_that_does_not_get_on_costs_the_worker_its_place(monkeypatch):
    pool = Pool(monkeypatch, Script(load=FOREVER), Script())

    async def work():
        await pool.pool.push(update(7))
        while not pool.names():
            await asyncio.sleep(1.0)
        return pool.spawned[1].done

    assert play(pool, work) == [STARTING, LOADING]
    assert "while loading weights" in pool.told[0][1]["cause"]
    assert "weights.push_timeout" in pool.told[0][1]["cause"]


def test_who_dies_over_going_to_sleep_is_replaced_when_the_others_wake(monkeypatch):
    pool = Pool(monkeypatch, Script(), Script(dies="going to sleep"), Script(), workers=2)

    async def work():
        await pool.pool.sleep()
        await asyncio.sleep(1000.0)  # the learner has the card
        asleep = len(pool.spawned), pool.names()
        await pool.pool.wake_up()
        while len(pool.names()) < 2:
            await asyncio.sleep(1.0)
        return asleep, pool.names()

    asleep, awake = play(pool, work)
    assert asleep == (2, ["rollout-0"]), "nobody starts on a card that the learner has"
    assert awake == ["rollout-0", "rollout-2"]
    assert pool.events() == ["restarted", "joined"]


@pytest.mark.parametrize(("nowhere", "deaths"), [(3, 1), (11, 2)])
def test_who_was_sent_to_a_node_that_is_gone_is_no_death(monkeypatch, nowhere, deaths):
    """But one that never finds a place is."""
    pool = Pool(monkeypatch, Script(dies=STEP), *[Script(dies="placed")] * nowhere, Script())

    async def work():
        return await pool.sample(), pool.names()

    _, names = play(pool, work)
    assert names == [f"rollout-{nowhere + 1}"]
    assert pool.events() == ["restarted"] * deaths + ["joined"]


def test_the_pool_sleeps_when_nobody_is_starting_any_more(monkeypatch):
    pool = Pool(monkeypatch, Script(), Script(start=200.0))

    async def work():
        await pool.pool.pool.scale(2)
        await asyncio.sleep(1.0)
        await pool.pool.sleep()
        return [worker.done[-1] for worker in pool.spawned]

    assert play(pool, work) == ["going to sleep", "going to sleep"]


def test_who_waits_for_room_does_not_keep_the_learner_waiting(monkeypatch):
    pool = Pool(monkeypatch, Script(), Script(start=FOREVER), Script())

    async def work():
        pool.placed = False
        await pool.pool.pool.scale(2)
        began = asyncio.get_running_loop().time()
        await pool.pool.sleep()
        waited = asyncio.get_running_loop().time() - began
        pool.placed = True
        await pool.pool.wake_up()
        while len(pool.names()) < 2:
            await asyncio.sleep(1.0)
        return waited, pool.names()

    waited, names = play(pool, work)
    assert waited < 10
    assert names == ["rollout-0", "rollout-2"]


@pytest.mark.parametrize("when", [5.0, 50.0])
def test_who_is_told_to_leave_while_it_starts_or_loads_does_not_serve(monkeypatch, when):
    pool = Pool(monkeypatch, Script(), Script(start=20.0, load=60.0))

    async def work():
        await pool.pool.push(update(1))
        await pool.pool.pool.scale(2)
        await asyncio.sleep(when)
        await pool.pool.pool.scale(1)
        found = set()
        for _ in range(200):
            found |= set(pool.names())
            await asyncio.sleep(1.0)
        return found, [member.name for member in pool.pool.members]

    assert play(pool, work) == ({"rollout-0"}, ["rollout-0"])
    assert pool.events() == ["scaled", "scaled", "left"]
