"""What vLLM samples from a model of each family, the learner finds as likely; and a push of weights arrives.

One engine a family, in this process: no Ray, no DeepSpeed.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewards.verdict import Reward
from tests import families

pytestmark = pytest.mark.integration

PROMPTS = [[5, 9, 30, 41, 8, 77, 12], [61, 4, 4, 19, 33, 90, 21, 55, 70, 15, 28, 3, 66]]


def saved(model: Any, folder: Path) -> Path:
    from tests.model.toy_tokenizers import tokenizer

    model.save_pretrained(folder)
    tokenizer(["</s>"], "</s>", None).save_pretrained(folder)
    return folder


def spec_of(folder: Path) -> Any:
    from actors.rollout.engine_spec import EngineSpec

    return EngineSpec(
        model=str(folder), stop_token_ids=(2,), max_model_len=128, max_num_seqs=16, dtype="float32", seed=1,
        threads=1, kv_cache_gb=0.05,
    )  # fmt: skip


async def sampled(worker: Any) -> list[Any]:
    """Groups with made-up grades, of completions longer than a sliding window."""
    from srm_ray.inference.completers import Sampling
    from srm_ray.rl.types import Group, Prompt

    sampling = Sampling(1.0, 24, ignore_stop=True)
    found = await asyncio.gather(*(worker.generate(tuple(ids), (1, 2, 3), sampling) for ids in PROMPTS))
    rewards = tuple(Reward(float(place), place > 0, "made_up") for place in range(3))
    return [
        Group(Prompt(index, tuple(ids), ""), tuple(completions), rewards=rewards, advantages=np.zeros(3, np.float32))
        for index, (ids, completions) in enumerate(zip(PROMPTS, found, strict=True))
    ]


def difference(model: Any, groups: list[Any]) -> float:
    """Largest difference of the engine's and the learner's log-probability of a token."""
    from srm_ray.model.policy import PolicyModel
    from tests.model.test_families import packed_logprobs

    for module in model.modules():  # vLLM, in the same process, has decorated some of transformers' own classes
        module.do_not_compile = True
    with torch.no_grad():
        learner = packed_logprobs(PolicyModel(model), tuple(groups)).numpy()
    engine = np.concatenate([completion.logprobs for group in groups for completion in group.completions])
    assert len(engine) == len(learner) == 6 * 24 and engine.std() > 0.3
    return float(np.abs(engine - learner).max())


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_the_engine_samples_what_the_learner_computes(name: str, tmp_path: Path) -> None:
    from actors.rollout.worker import RolloutWorker
    from actors.runtime.labels import node_id
    from srm_ray.weights.flat import Publisher

    model = families.build(families.FAMILIES[name](vocab_size=384), scale=0.15)
    worker = RolloutWorker(0, spec_of(saved(model, tmp_path)))
    publisher = Publisher(node_id())

    async def both() -> tuple[float, float, float]:
        await worker.start()
        try:
            at_start = difference(model, await sampled(worker))
            generator = torch.Generator().manual_seed(7)
            with torch.no_grad():
                for _, weight in sorted(model.named_parameters()):
                    weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
            stale = difference(model, await sampled(worker))
            for version in (1, 2):  # the second may take the short way (actors/rollout/direct_load.py)
                update, _ = publisher.publish(version, [(n, p.detach()) for n, p in model.named_parameters()])
                await worker.load_weights(update)
            return at_start, stale, difference(model, await sampled(worker))
        finally:
            await worker.close()

    try:
        at_start, stale, pushed = asyncio.run(both())
    finally:
        publisher.close()
    assert at_start < 1e-4
    assert stale > 1e-2, "weights that did not arrive would show"
    assert pushed < 1e-4
