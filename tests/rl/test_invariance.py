"""In FP64: loss and every gradient equal an unpacked reference, however the step is cut and packed.

Runs the learner's own loss code on the policy model, without an engine around it; what DeepSpeed's
ranks and ZeRO stages add is in tests/actors/test_learner.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from actors.learner.rank import Learner
from actors.learner.spec import LearnerSpec, Update
from actors.learner.sums import Sums
from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import LearnerConfig
from srm_ray.model.policy import PolicyModel
from srm_ray.rl.algorithms.contract import Algorithm
from srm_ray.rl.batching import PackedBatch, lay_back, micro_batches
from srm_ray.rl.entropy import high_entropy
from srm_ray.rl.types import Group
from srm_ray.training.algorithm import algorithm_of
from tests.rl.plain_reference import Named, counted, plain_logprobs, plain_loss
from tests.rl.random_groups import tiny_qwen3, uneven_groups

TEMPERATURE = 0.7
MAX_NEW_TOKENS = 64
EXACT = 1e-10  # what rounding in FP64 leaves of a sum over a few hundred tokens
ONE_BATCH = 100_000

pytestmark = pytest.mark.usefixtures("norms_in_fp64", "one_thread")

Gradients = dict[str, torch.Tensor]
Result = tuple[float, Gradients]

LOSSES = {
    "dapo": LossConfig(),
    "dapo, no correction": LossConfig(importance_cap=None),
    "dapo, IcePop": LossConfig(importance_band=(0.5, 2.0)),
    "dapo, overlong filtered": LossConfig(filter_overlong=True),
    "dapo, sequence mean": LossConfig(normalisation="sequences"),
    "dr_grpo": LossConfig(name="dr_grpo", normalise_std=False, normalisation="constant"),
    "cispo": LossConfig(name="cispo"),
    "gspo": LossConfig(name="gspo", normalisation="sequences", importance_cap=None),
    "dapo, truncated completions": LossConfig(importance_level="sequence", importance_cap=3.0),
    "dapo, against the sampler": LossConfig(ratio_against="rollout"),
    "gspo, against the sampler": LossConfig(
        name="gspo", normalisation="sequences", ratio_against="rollout", importance_band=(0.3, 3.0)
    ),
    "dapo, completions in a band": LossConfig(importance_level="geometric", importance_band=(0.5, 2.0)),
    **{name: Named(algorithm=name) for name in ("grpo", "rloo", "reinforce_plus_plus", "maxrl", "sapo")},
}


def gradients(model) -> Gradients:
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    return found


def policy(chunk: int = 4096, seed: int = 0) -> PolicyModel:
    return PolicyModel(tiny_qwen3(seed).double(), temperature=TEMPERATURE, chunk=chunk)


def learner(options: LossConfig, module: PolicyModel) -> Any:
    chosen = AlgorithmConfig(name=getattr(options, "algorithm", ""))
    spec = LearnerSpec("", LearnerConfig(), options, TEMPERATURE, seed=0, threads=1, algorithm=chosen)
    made: Any = Learner(0, 1, spec)
    module.device = torch.device("cpu")
    made.engine, made.reference = module, None
    return made


def denominator(groups: Sequence[Group], options: LossConfig) -> float:
    completions = [completion for group in groups for completion in group.completions]
    lengths = [
        len(completion.token_ids)
        for completion, counts in zip(
            completions, counted(groups, filter_overlong=options.filter_overlong), strict=True
        )
        if counts
    ]
    return algorithm(options).denominator(tokens=sum(lengths), sequences=len(lengths), constant_length=MAX_NEW_TOKENS)


def algorithm(options: LossConfig) -> Algorithm:
    return algorithm_of(AlgorithmConfig(name=getattr(options, "algorithm", "")), options)


def packed_result(
    groups: Sequence[Group],
    options: LossConfig,
    *,
    budget: int = ONE_BATCH,
    ranks: int = 1,
    old: list[torch.Tensor] | None = None,
    module: PolicyModel | None = None,
    divide_by: Callable[[PackedBatch], float] | None = None,
    only: list[torch.Tensor] | None = None,
    beta: float = 0.0,
) -> Result:  # each option is one thing that must change nothing, so that a test varies it alone
    """Loss and gradients as the learner gets them: summed over micro-batches (and over what ranks would run)."""
    module = module or policy()
    rank = learner(options, module)
    whole = denominator(groups, options)
    total = 0.0
    for part in micro_batches(groups, budget=budget, ranks=ranks, filter_overlong=options.filter_overlong):
        for batch in part:
            if only is not None:
                batch = replace(batch, policy_mask_C=torch.cat([only[i] for i in batch.order_S]).numpy())
            if old is not None:
                batch = replace(batch, old_logprobs_C=torch.cat([old[i] for i in batch.order_S]).numpy())
            loss = rank._micro_loss(batch, Update(divide_by(batch) if divide_by else whole, beta), Sums())
            loss.backward()
            total += loss.item()
    return total, {name.removeprefix("model."): g for name, g in gradients(module.model).items()}


def plain_result(groups: Sequence[Group], options: LossConfig, old: list[torch.Tensor] | None = None) -> Result:
    model = tiny_qwen3().double()
    found = plain_logprobs(model, groups, temperature=TEMPERATURE)
    loss = plain_loss(found, groups, options, old=old, max_new_tokens=MAX_NEW_TOKENS)
    loss.backward()
    return loss.item(), {name.removeprefix("model."): g for name, g in gradients(model).items()}


def old_logprobs(groups: Sequence[Group]) -> list[torch.Tensor]:
    """Of weights a little away from the current ones, so that ratios spread over and beyond the clip band."""
    model = tiny_qwen3().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
        return plain_logprobs(model, groups, temperature=TEMPERATURE)


def assert_equal(found: Result, expected: Result, tolerance: float = EXACT) -> None:
    assert found[0] == pytest.approx(expected[0], rel=tolerance, abs=tolerance)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(found[1][name], gradient, rtol=tolerance, atol=tolerance), name


def difference(found: Result, expected: Result) -> float:
    """Largest gradient difference as a share of the largest gradient."""
    worst = max(float((found[1][name] - g).abs().max()) for name, g in expected[1].items())
    return worst / max(float(g.abs().max()) for g in expected[1].values())


def groups_for(options: LossConfig) -> tuple[Group, ...]:
    if not isinstance(options, Named):
        return uneven_groups(normalise_std=options.normalise_std is not False)
    chosen = algorithm(options)
    return chosen.across_step([chosen.with_advantages(group) for group in uneven_groups()])


# Against the reference


@pytest.mark.parametrize("off_policy", [False, True], ids=["on policy", "off policy"])
@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
def test_loss_and_gradients_equal_the_unpacked_reference(options, off_policy):
    groups = groups_for(options)
    old = old_logprobs(groups) if off_policy else None
    expected = plain_result(groups, options, old)
    assert_equal(packed_result(groups, options, old=old, budget=70, ranks=2), expected)


def test_off_policy_ratios_reach_both_clip_bounds():
    """Else the tests above would say nothing of clipping."""
    groups = uneven_groups()
    model = tiny_qwen3().double()
    now = torch.cat(plain_logprobs(model, groups, temperature=TEMPERATURE))
    ratio = (now - torch.cat(old_logprobs(groups))).exp()
    assert 0.1 < ((ratio < 0.8) | (ratio > 1.28)).double().mean() < 0.9
    assert (ratio < 0.8).any() and (ratio > 1.28).any()


def test_clipping_acts_on_stale_tokens_where_the_ratio_is_against_the_sampler():
    """Against the learner's own log-probabilities the ratio is 1 in the first update, whatever sampled the tokens."""
    groups = uneven_groups()
    ((batch,),) = micro_batches(groups, budget=ONE_BATCH, ranks=1)
    with torch.no_grad():
        now = plain_logprobs(tiny_qwen3().double(), groups, temperature=TEMPERATURE)
    completions = [completion for group in groups for completion in group.completions]
    advantages = [float(advantage) for group in groups for advantage in group.advantages]  # type: ignore[union-attr]
    low = high = 0
    for own, completion, advantage, counts in zip(now, completions, advantages, counted(groups), strict=True):
        ratio = (own - torch.from_numpy(completion.logprobs)).exp()
        high += counts * int((ratio > 1.28).sum()) * (advantage > 0)
        low += counts * int((ratio < 0.8).sum()) * (advantage < 0)
    assert low > 0 and high > 0
    for against, expected in (("learner", (0, 0)), ("rollout", (low, high))):
        sums = Sums()
        learner(LossConfig(ratio_against=against), policy())._micro_loss(batch, Update(1.0), sums)
        assert (sums.values["clipped_low"], sums.values["clipped_high"]) == expected


def test_tokens_outside_the_band_are_counted():
    """By token, however the step is cut: what `policy/importance_masked` is the share of."""
    groups, low, high = uneven_groups(), 0.8, 1.25
    own = plain_logprobs(tiny_qwen3().double(), groups, temperature=TEMPERATURE)
    sampled = [torch.tensor(one.logprobs, dtype=torch.float64) for group in groups for one in group.completions]
    ratios = [(mine.detach() - theirs).exp() for mine, theirs in zip(own, sampled, strict=True)]
    outside = [int(((ratio < low) | (ratio > high)).sum()) for ratio in ratios]
    expected = sum(count for count, counts in zip(outside, counted(groups), strict=True) if counts)
    for budget in (ONE_BATCH, 70):
        rank, sums = learner(LossConfig(importance_band=(low, high)), policy()), Sums()
        for batch in micro_batches(groups, budget=budget, ranks=1)[0]:
            rank._micro_loss(batch, Update(1.0), sums)
        assert 0 < sums.values["masked"] == expected < sums.values["tokens"]


# Invariance


@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
def test_any_cut_into_micro_batches_is_the_same_step(options):
    """From a completion at a time (every group split up) to three ranks' worth of large ones."""
    groups = groups_for(options)
    old = old_logprobs(groups)
    whole = packed_result(groups, options, old=old)
    for budget, ranks in [(1, 1), (70, 1), (200, 1), (ONE_BATCH, 2), (60, 3)]:
        assert_equal(packed_result(groups, options, old=old, budget=budget, ranks=ranks), whole)


def test_sharing_a_prompt_is_the_same_as_repeating_it():
    """Each completion as a group of its own: the same advantages, no shared keys and values."""
    options = LossConfig()
    groups = uneven_groups()
    alone = [
        replace(
            group,
            completions=(group.completions[i],),
            rewards=(group.rewards[i],),
            advantages=group.advantages[i : i + 1],
        )
        for group in groups
        if group.advantages is not None
        for i in range(len(group.completions))
    ]
    assert_equal(packed_result(alone, options), packed_result(groups, options))


def test_order_of_the_groups_does_not_matter():
    options = LossConfig()
    groups = uneven_groups()
    assert_equal(packed_result(groups[::-1], options, budget=70), packed_result(groups, options, budget=70))


def test_a_mean_taken_per_micro_batch_would_depend_on_the_cut():
    """The negative: dividing each micro-batch by its own tokens, and averaging, is another gradient for every cut."""
    options, groups = LossConfig(), uneven_groups()
    expected = packed_result(groups, options)

    def per_micro_batch(budget: int) -> Result:
        count = len(micro_batches(groups, budget=budget, ranks=1)[0])
        return packed_result(groups, options, budget=budget, divide_by=lambda batch: count * float(batch.mask_C.sum()))

    assert_equal(per_micro_batch(ONE_BATCH), expected)
    assert difference(per_micro_batch(70), expected) > 0.05
    assert difference(per_micro_batch(40), per_micro_batch(70)) > 0.05
    assert difference(packed_result(groups, options, budget=40), expected) < EXACT


# Entropy


def plain_entropies(groups: Sequence[Group], model: Any) -> list[torch.Tensor]:
    """Of every completion, where its tokens were drawn: [T] each, with gradient."""
    found = []
    for group in groups:
        for completion in group.completions:
            prompt, own = group.prompt.token_ids, completion.token_ids.tolist()
            logits = model(input_ids=torch.tensor([[*prompt, *own]])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
            found.append(torch.distributions.Categorical(logits=logits).entropy())
    return found


@pytest.mark.parametrize("options", [LossConfig(), Named(algorithm="grpo")], ids=["tokens", "sequences"])
def test_entropy_bonus(options):
    """beta times the mean entropy is taken off, with its whole gradient, however the step is cut."""
    groups, beta = groups_for(options), 0.03
    model = tiny_qwen3().double()
    counts, length = counted(groups), [len(c.token_ids) for group in groups for c in group.completions]
    entropies = plain_entropies(groups, model)
    tokens = sum(n for n, here in zip(length, counts, strict=True) if here)
    shares = [1 / tokens if not isinstance(options, Named) else 1 / n / sum(counts) for n in length]
    terms = [h.sum() * share for h, share, here in zip(entropies, shares, counts, strict=True) if here]
    loss = plain_loss(plain_logprobs(model, groups, temperature=TEMPERATURE), groups, options)
    loss = loss - beta * torch.stack(terms).sum()
    loss.backward()
    expected = loss.item(), {name.removeprefix("model."): g for name, g in gradients(model).items()}
    for budget, ranks in [(ONE_BATCH, 1), (70, 2)]:
        module = PolicyModel(tiny_qwen3().double(), temperature=TEMPERATURE, entropy_gradient=True)
        assert_equal(packed_result(groups, options, budget=budget, ranks=ranks, module=module, beta=beta), expected)


@pytest.mark.parametrize("options", [LossConfig(), LOSSES["gspo"]], ids=["dapo", "gspo"])
def test_the_policy_loss_of_high_entropy_tokens_alone(options):
    """A fifth of the step's counted tokens; the denominator stays the whole step's."""
    groups = groups_for(options)
    with torch.no_grad():
        entropies = plain_entropies(groups, tiny_qwen3().double())
    counts = counted(groups)
    pool = sorted(h for one, here in zip(entropies, counts, strict=True) if here for h in one.tolist())
    number = -(-len(pool) // 5)
    threshold = pool[-number]
    only = [(one >= threshold - 1e-9).double() for one in entropies]
    model = tiny_qwen3().double()
    loss = plain_loss(plain_logprobs(model, groups, temperature=TEMPERATURE), groups, options, only=only)
    loss.backward()
    expected = loss.item(), {name.removeprefix("model."): g for name, g in gradients(model).items()}
    for budget, ranks in [(ONE_BATCH, 1), (40, 1), (70, 2)]:
        micros = [m for part in micro_batches(groups, budget=budget, ranks=ranks) for m in part]
        scores = learner(options, policy()).scores(micros)
        masks, found = high_entropy([h for _, h in scores], [micro.mask_C for micro in micros], 0.2)
        assert found == pytest.approx(threshold, abs=EXACT)
        laid = lay_back(micros, masks)
        chosen = [torch.from_numpy(laid[place]).double() for place in range(len(only))]
        assert [one.tolist() for one, here in zip(chosen, counts, strict=True) if here] == [
            one.tolist() for one, here in zip(only, counts, strict=True) if here
        ]
        assert_equal(packed_result(groups, options, budget=budget, ranks=ranks, only=chosen), expected)


# The model behind it


@pytest.mark.parametrize("budget", [40, 70, ONE_BATCH])
def test_packed_logprobs_equal_the_plain_forward(budget):
    groups = uneven_groups()
    module = policy()
    rank = learner(LossConfig(), module)
    expected = plain_logprobs(tiny_qwen3().double(), groups, temperature=TEMPERATURE)
    for batch in micro_batches(groups, budget=budget, ranks=1)[0]:
        (found,) = rank.logprobs([batch])
        assert found == pytest.approx(torch.cat([expected[i] for i in batch.order_S]).detach().numpy(), abs=EXACT)


def test_entropy_equals_the_plain_distributions():
    groups = uneven_groups(count=1)
    ((batch,),) = micro_batches(groups, budget=ONE_BATCH, ranks=1)
    _, entropy = learner(LossConfig(), policy())._forward(policy(), batch)
    model = tiny_qwen3().double()
    prompt, completion = groups[0].prompt.token_ids, groups[0].completions[1].token_ids.tolist()
    logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
    own = entropy[batch.sequence_C == list(batch.order_S).index(1)]
    torch.testing.assert_close(own, torch.distributions.Categorical(logits=logits).entropy(), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunked_logprobs_equal_unchunked(chunk):
    groups = uneven_groups()
    assert_equal(packed_result(groups, LossConfig(), module=policy(chunk)), packed_result(groups, LossConfig()))


def test_recomputed_logits_equal_kept_ones(monkeypatch):
    groups = uneven_groups()
    kept = packed_result(groups, LossConfig(), module=policy(16))
    recomputed = []
    from srm_ray.model import policy as policy_file

    checkpoint = policy_file.checkpoint
    monkeypatch.setattr(policy_file, "checkpoint", lambda *a, **k: recomputed.append(1) or checkpoint(*a, **k))
    monkeypatch.setattr(policy_file, "KEPT_LOGITS", 100)
    assert_equal(packed_result(groups, LossConfig(), module=policy(16)), kept)
    assert len(recomputed) > 5


# The reference policy


def test_kl_against_the_starting_model():
    """beta times the k3 mean over the step's tokens is added; its gradient vanishes where both models agree."""
    groups, options = uneven_groups(), LossConfig(kl_beta=0.1)
    module, whole = policy(), denominator(uneven_groups(), options)
    rank = learner(options, module)
    rank.reference = policy(seed=5).requires_grad_(False)
    update = Update(whole)
    ((batch,),) = micro_batches(groups, budget=ONE_BATCH, ranks=1)
    with_kl = rank._micro_loss(batch, update, Sums())
    without = learner(LossConfig(), module)._micro_loss(batch, update, Sums())
    counts = counted(groups)
    with torch.no_grad():
        now = plain_logprobs(tiny_qwen3().double(), groups, temperature=TEMPERATURE)
        reference = plain_logprobs(tiny_qwen3(5).double(), groups, temperature=TEMPERATURE)
    terms = [((r - n).exp() - (r - n) - 1).sum() for n, r, here in zip(now, reference, counts, strict=True) if here]
    assert (with_kl - without).item() == pytest.approx(0.1 * float(sum(terms)) / whole, rel=1e-9)
    rank.reference = policy().requires_grad_(False)
    assert (rank._micro_loss(batch, update, Sums()) - without).item() == pytest.approx(0.0, abs=EXACT)
