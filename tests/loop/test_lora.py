"""An adapter's push into a real engine: what the engine then says is what the learner says, and anything else stops."""

import asyncio
from dataclasses import replace

import pytest

from actors.learner.group import LearnerGroup
from actors.worker_groups import learner_spec
from srm_ray.config.lora import PolicyLora
from srm_ray.errors import RunError
from tests.loop.test_weights_arrive import scored_batch

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def adapting(loop):
    """A learner of an adapter beside the loop's own. The engine fuses layers of which some have an adapter."""
    lora = PolicyLora(rank=8, targets=["q_proj", "v_proj", "up_proj", "down_proj"])
    options = loop.config.learner.model_copy(update={"lora": lora})
    spec = replace(learner_spec(loop.config, loop.info.path), learner=options)
    learner = LearnerGroup(1, spec, max_new_tokens=24, mismatch_limit=1e-3)
    loop.run(learner.start())
    yield learner
    loop.run(learner.close())


def push(loop, learner):
    loop.version = getattr(loop, "version", 0) + 1
    update = loop.run(learner.publish(loop.version))
    loop.run(loop.workers.rollouts.push(update))
    return update


def step(loop, learner, first):
    return loop.run(learner.step(loop.run(scored_batch(loop, first)), 1e-2)).metrics


def test_log_probabilities_agree_after_every_push_of_an_adapter(loop, adapting):
    bases = set()
    for number in range(3):
        update = push(loop, adapting)
        bases.add((update.base.path, update.base.digest))
        assert sum(spec.nbytes for spec in update.specs) < sum(spec.nbytes for spec in update.base.specs) / 10
        metrics = step(loop, adapting, 700 + 10 * number)
        assert metrics["policy/mismatch_abs"] < 1e-4
        assert metrics["policy/mismatch_max"] < 1e-2
    assert len(bases) == 1, "the base goes once"


def test_a_dropped_push_of_an_adapter_stops_the_run_and_names_the_worker(loop, adapting):
    push(loop, adapting)
    step(loop, adapting, 740)  # the learner moves on, the engine is not told
    with pytest.raises(RunError, match=f"{loop.worker()} samples from other weights"):
        step(loop, adapting, 750)


def test_a_corrupt_adapter_stops_the_push_and_names_the_worker(loop, adapting):
    push(loop, adapting)
    version = loop.version + 2
    update = loop.run(adapting.publish(version))
    with open(update.path, "r+b") as buffer:
        buffer.seek(update.specs[1].offset)
        byte = buffer.read(1)
        buffer.seek(update.specs[1].offset)
        buffer.write(bytes([byte[0] ^ 0x40]))
    with pytest.raises(RunError, match=rf"{loop.worker()} could not load weights of version {version}.*corrupt"):
        loop.run(loop.workers.rollouts.push(update))
    loop.version = version
    push(loop, adapting)
    assert step(loop, adapting, 760)["policy/mismatch_abs"] < 1e-4  # a good push afterwards heals the worker


def test_whole_weights_follow_an_adapter_and_an_adapter_whole_weights(loop, adapting):
    async def other_way():
        loop.version += 1
        await loop.workers.push_weights(loop.version)
        return await asyncio.gather(scored_batch(loop, 770))

    [batch] = loop.run(other_way())
    assert loop.run(loop.workers.learner.step(batch, 1e-3)).metrics["policy/mismatch_abs"] < 1e-4
    push(loop, adapting)
    assert step(loop, adapting, 780)["policy/mismatch_abs"] < 1e-4
