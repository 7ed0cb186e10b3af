"""Real DeepSpeed ranks as Ray actors on the CPU: any number of ranks and any ZeRO stage is the same step.

Expected values come from a plain PyTorch loop (padded batches, full logits, `torch.optim.AdamW`).
"""

import asyncio
import mmap
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from actors.learner.group import LearnerGroup
from actors.learner.spec import LearnerSpec
from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import LearnerConfig
from srm_ray.errors import RunError
from srm_ray.rl.algorithms.loading import NAMES
from srm_ray.rl.types import Group, Learned, TrainBatch
from srm_ray.training.algorithm import algorithm_of
from srm_ray.weights.flat import WeightUpdate, digest, views
from tests.rl.plain_reference import Named, plain_logprobs, plain_loss
from tests.rl.random_groups import tiny_qwen3, uneven_groups

LR = 3e-3
CLIP = 0.5  # below the gradient norms met here, so that clipping is part of what must agree
TEMPERATURE = 0.8
STEPS = (uneven_groups(1), uneven_groups(2, count=3), uneven_groups(3))
LOSS = LossConfig(importance_cap=1.5)
LEARNER = LearnerConfig(
    lr=LR, clip_grad=CLIP, weight_decay=0.1, zero_stage=1, precision="float32", micro_batch_tokens=70, cpus=0.1
)

Weights = dict[str, torch.Tensor]


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_qwen3().save_pretrained(folder)
    return str(folder)


def start(model: str, ranks: int, learner: LearnerConfig = LEARNER) -> LearnerGroup:
    spec = LearnerSpec(model, learner, LOSS, TEMPERATURE, seed=3407, threads=1)
    group = LearnerGroup(ranks, spec, max_new_tokens=64, mismatch_limit=10.0)
    asyncio.run(group.start())
    return group


@pytest.fixture(scope="module")
def one_rank(model: str) -> Iterator[LearnerGroup]:
    group = start(model, 1)
    yield group
    asyncio.run(group.close())


@pytest.fixture(scope="module")
def two_ranks(model: str) -> Iterator[LearnerGroup]:
    group = start(model, 2)
    yield group
    asyncio.run(group.close())


def begin_again(group: LearnerGroup, **options: Any) -> None:
    """Fresh model, optimizer and engine in the same processes, which costs a tenth of new ones."""
    loss = options.pop("loss", LOSS)
    learner = LEARNER.model_copy(update=options)
    group.spec = replace(group.spec, learner=learner, loss=loss, algorithm=AlgorithmConfig())

    async def restart() -> None:
        await group._all("__ray_call__", _set_spec, group.spec)
        await group.start()

    asyncio.run(restart())


def _set_spec(learner: Any, spec: LearnerSpec) -> None:
    learner.close()
    _set_algorithm(learner, spec)


def learn(group: LearnerGroup, groups: tuple[Group, ...]) -> Learned:
    return asyncio.run(group.step(TrainBatch(groups, 0), LR))


def step(group: LearnerGroup, groups: tuple[Group, ...]) -> dict[str, float]:
    return learn(group, groups).metrics


def read(update: WeightUpdate) -> Weights:
    descriptor = os.open(update.path, os.O_RDONLY)
    buffer = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(descriptor)
    assert digest(buffer) == update.digest
    return {name: tensor.clone() for name, tensor in views(buffer, update.specs)}


def weights(group: LearnerGroup, version: int = 0) -> Weights:
    return read(asyncio.run(group.publish(version)))


class PlainLoop:
    """AdamW on a transformers model, everything in FP64."""

    def __init__(self, loss: LossConfig = LOSS):
        self.options = loss
        self.model = tiny_qwen3().double()
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.model.parameters() if p.ndim > 1], "weight_decay": 0.1},
                {"params": [p for p in self.model.parameters() if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=LR,
            betas=LEARNER.betas,
        )

    def logprobs(self, groups: tuple[Group, ...]) -> list[torch.Tensor]:
        return plain_logprobs(self.model, groups, temperature=TEMPERATURE)

    def step(self, groups: tuple[Group, ...], old: list[torch.Tensor] | None = None) -> tuple[float, float]:
        """Loss and gradient norm before clipping."""
        loss = plain_loss(self.logprobs(groups), groups, self.options, old=old, max_new_tokens=64)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        return loss.item(), norm.item()


def assert_same_weights(found: Weights, expected: Weights, tolerance: float = 5e-3 * LR) -> None:
    """Adam divides by the gradient's own size, so tiny gradients carry FP32's rounding into the update."""
    assert found.keys() == expected.keys()
    worst = {name: float((found[name].double() - expected[name].double()).abs().max()) for name in expected}
    assert max(worst.values()) < tolerance, max(worst.items(), key=lambda item: item[1])


def assert_same_logprobs(
    learned: Learned, groups: tuple[Group, ...], expected: list[torch.Tensor], order: tuple[Group, ...]
) -> None:
    """`expected`: of every completion of the groups in `order`, one after the other."""
    flat = iter(expected)
    by_group = {group.prompt.index: [next(flat) for _ in group.completions] for group in order}
    assert len(learned.logprobs) == len(groups)
    for group, found in zip(groups, learned.logprobs, strict=True):
        assert [len(one) for one in found] == [len(completion.token_ids) for completion in group.completions]
        for one, wanted in zip(found, by_group[group.prompt.index], strict=True):
            assert one == pytest.approx(wanted.numpy(), abs=1e-4)


def expected_run() -> tuple[list[tuple[float, float]], Weights]:
    loop = PlainLoop()
    results = [loop.step(groups) for groups in STEPS]
    return results, {name: p.detach() for name, p in loop.model.named_parameters()}


def check_run(group: LearnerGroup) -> None:
    """The three steps of STEPS: losses, gradient norms and weights equal the plain loop's."""
    expected, last = expected_run()
    with torch.no_grad():
        at_first = PlainLoop().logprobs(STEPS[0])
    for groups, (loss, norm) in zip(STEPS, expected, strict=True):
        learned = learn(group, groups)
        metrics = learned.metrics
        if groups is STEPS[0]:
            assert_same_logprobs(learned, groups, at_first, groups)
        assert norm > CLIP
        assert metrics["policy/loss"] == pytest.approx(loss, abs=1e-6)
        assert metrics["policy/grad_norm"] == pytest.approx(norm, rel=1e-5)
    assert_same_weights(weights(group), last)


def test_a_rank_has_rays_allocator_and_not_the_raylets_settings_of_it(one_rank: LearnerGroup) -> None:
    """With glibc's it grows for hundreds of steps (see bench's soak)."""
    process = psutil.Process(one_rank.info[0].pid)
    assert "libjemalloc" in Path(f"/proc/{process.pid}/maps").read_text()
    assert process.environ()["MALLOC_CONF"] == "tcache:true"


def test_one_rank_equals_a_plain_loop(one_rank: LearnerGroup) -> None:
    assert len(one_rank._pack(STEPS[0], 0)[0]) > 2, "the steps must be accumulated from several micro-batches"
    check_run(one_rank)


@pytest.mark.parametrize("stage", [1, 0, 2, 3])
def test_two_ranks_equal_a_plain_loop(two_ranks: LearnerGroup, stage: int) -> None:
    begin_again(two_ranks, zero_stage=stage)
    check_run(two_ranks)


def test_every_algorithm_on_two_ranks_equals_a_plain_loop(two_ranks: LearnerGroup) -> None:
    """One update each, one after the other, under ZeRO-2."""
    begin_again(two_ranks, zero_stage=2)
    loop = PlainLoop()
    for place, name in enumerate(NAMES):
        options = Named(algorithm=name, importance_cap=1.5)
        chosen = algorithm_of(AlgorithmConfig(name=name), options)
        groups = chosen.across_step([chosen.with_advantages(group) for group in STEPS[place % len(STEPS)]])
        two_ranks.spec = replace(two_ranks.spec, algorithm=AlgorithmConfig(name=name), loss=options)
        asyncio.run(two_ranks._all("__ray_call__", _set_algorithm, two_ranks.spec))
        loop.options = options
        loss, norm = loop.step(groups)
        metrics = step(two_ranks, groups)
        assert metrics["policy/loss"] == pytest.approx(loss, abs=1e-5), name
        assert metrics["policy/grad_norm"] == pytest.approx(norm, rel=1e-4), name
    # After nine updates single weights, whose gradients are next to nothing, carry FP32's rounding further than `LR`
    # allows in `assert_same_weights`; all of them together do not.
    expected = dict(loop.model.named_parameters())
    apart = [(found.double() - expected[name].detach()).abs().flatten() for name, found in weights(two_ranks).items()]
    assert torch.cat(apart).mean() < 3e-4 * LR


def _set_algorithm(learner: Any, spec: LearnerSpec) -> None:
    learner.spec, learner.algorithm = spec, algorithm_of(spec.algorithm, spec.loss)


def test_entropy_options_are_of_the_whole_update(two_ranks: LearnerGroup, one_rank: LearnerGroup) -> None:
    """Tokens of high entropy are chosen over all ranks; the bonus is part of the same loss."""
    found = []
    for group, tokens in ((one_rank, 10_000), (two_ranks, 70)):
        loss = LOSS.model_copy(update={"entropy_top": 0.2, "entropy_beta": 0.01})
        begin_again(group, updates_per_step=2, loss=loss, micro_batch_tokens=tokens)
        found.append(asyncio.run(group.step(TrainBatch(STEPS[0], 0, entropy_beta=0.01), LR)).metrics)
    for name in ("policy/loss", "policy/grad_norm", "policy/entropy", "policy/entropy_threshold"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-4), name
    assert found[0]["policy/entropy_threshold"] > found[0]["policy/entropy"]
    assert_same_weights(weights(two_ranks), {name: w.double() for name, w in weights(one_rank).items()})


def test_two_ranks_agree_on_what_is_exported(two_ranks: LearnerGroup, tmp_path: Path) -> None:
    """ZeRO-3 holds a part of each weight on each rank: publish and export gather them, and training goes on."""
    from transformers import AutoModelForCausalLM

    begin_again(two_ranks, zero_stage=3)
    step(two_ranks, STEPS[0])
    asyncio.run(two_ranks.export(tmp_path))
    published = weights(two_ranks)
    exported = dict(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).named_parameters())
    assert exported.keys() == published.keys()
    assert all(torch.equal(exported[name], published[name]) for name in published)
    assert "srm_packed" not in (tmp_path / "config.json").read_text()
    step(two_ranks, STEPS[1])
    assert any(not torch.equal(tensor, published[name]) for name, tensor in weights(two_ranks, 1).items())


def test_later_updates_of_a_batch_are_held_to_the_weights_it_began_with(one_rank: LearnerGroup) -> None:
    """updates_per_step 2: log pi_old of both shares is that of before the first update; the second clips against it."""
    begin_again(one_rank, updates_per_step=2)
    loop = PlainLoop()
    groups = STEPS[0]
    shares = groups[::2], groups[1::2]
    with torch.no_grad():
        old = [loop.logprobs(share) for share in shares]
    expected = [loop.step(share, before) for share, before in zip(shares, old, strict=True)]
    learned = learn(one_rank, groups)
    metrics = learned.metrics
    assert_same_logprobs(learned, groups, old[0] + old[1], shares[0] + shares[1])
    assert metrics["policy/loss"] == pytest.approx(sum(loss for loss, _ in expected) / 2, abs=1e-5)
    assert metrics["policy/grad_norm"] == pytest.approx(sum(norm for _, norm in expected) / 2, rel=1e-4)
    assert metrics["policy/clip_fraction_high"] + metrics["policy/clip_fraction_low"] > 0
    assert_same_weights(weights(one_rank), {name: p.detach() for name, p in loop.model.named_parameters()})


def test_kl_against_the_starting_model_pulls_back(one_rank: LearnerGroup) -> None:
    begin_again(one_rank, loss=LOSS.model_copy(update={"kl_beta": 0.5}))
    first = step(one_rank, STEPS[0])
    second = step(one_rank, STEPS[0])
    assert first["policy/kl"] == pytest.approx(0.0, abs=1e-6)
    assert second["policy/kl"] > 1e-4


def test_a_sampler_with_other_weights_is_named_and_nothing_is_updated(one_rank: LearnerGroup) -> None:
    begin_again(one_rank)
    before = weights(one_rank)
    one_rank.mismatch_limit = 0.5
    try:
        with pytest.raises(RunError, match="rollout-0 samples from other weights"):
            step(one_rank, STEPS[0])
    finally:
        one_rank.mismatch_limit = 10.0
    after = weights(one_rank, 1)
    assert all(torch.equal(after[name], before[name]) for name in before)


# Bit for bit


def assert_bitwise(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_same_seed_and_batches_give_the_same_bits_and_so_does_a_restored_learner(
    one_rank: LearnerGroup, model: str, tmp_path: Path
) -> None:
    """A second process repeats the first's steps; then it loads its checkpoint and takes the last step again."""
    begin_again(one_rank)
    again = start(model, 1)
    try:
        metrics = [[step(group, STEPS[0]), step(group, STEPS[1])] for group in (one_rank, again)]
        for name in ("policy/loss", "policy/grad_norm", "policy/entropy", "policy/mismatch_kl"):
            assert [m[name] for m in metrics[0]] == [m[name] for m in metrics[1]]
        assert_bitwise(weights(again), weights(one_rank))
        asyncio.run(one_rank.save(tmp_path))
        saved = weights(one_rank)
        step(one_rank, STEPS[2])
        step(again, STEPS[0])  # somewhere else, so that loading has something to undo
        asyncio.run(again.load(tmp_path))
        assert_bitwise(weights(again), saved)
        step(again, STEPS[2])
        assert_bitwise(weights(again, 1), weights(one_rank, 1))
    finally:
        asyncio.run(again.close())


@pytest.mark.parametrize("stage", [1, 3])
def test_two_ranks_restored_from_a_checkpoint_go_on_bitwise(
    two_ranks: LearnerGroup, stage: int, tmp_path: Path
) -> None:
    begin_again(two_ranks, zero_stage=stage)
    step(two_ranks, STEPS[0])
    asyncio.run(two_ranks.save(tmp_path))
    step(two_ranks, STEPS[1])
    uninterrupted = weights(two_ranks)
    begin_again(two_ranks, zero_stage=stage)
    asyncio.run(two_ranks.load(tmp_path))
    step(two_ranks, STEPS[1])
    assert_bitwise(weights(two_ranks, 1), uninterrupted)


def test_a_second_start_is_another_start(one_rank: LearnerGroup) -> None:
    """What the tests above rest on: `begin_again` forgets everything."""
    begin_again(one_rank)
    first = weights(one_rank)
    step(one_rank, STEPS[0])
    begin_again(one_rank)
    assert_bitwise(weights(one_rank), first)
    assert [reply.info.version for reply in asyncio.run(one_rank._all("ping"))] == [0]
