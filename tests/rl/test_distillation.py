"""On-policy distillation in FP64: loss and every gradient equal a plain loop over completions and tokens."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from actors.learner.rank import Learner
from actors.learner.spec import LearnerSpec, Taught, Update
from actors.learner.sums import Sums
from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import GRPOConfig, LearnerConfig
from srm_ray.errors import UserError
from srm_ray.model.policy import PolicyModel
from srm_ray.rl.batching import counts_in_loss, micro_batches
from srm_ray.rl.distillation import top_k_reverse_kl
from srm_ray.rl.types import Group, TeacherScores
from srm_ray.training.algorithm import algorithm_of, settled, with_teacher
from tests.rl.plain_reference import plain_logprobs
from tests.rl.random_groups import tiny_qwen3, uneven_groups

pytestmark = pytest.mark.usefixtures("norms_in_fp64", "one_thread")

TEMPERATURE, ONE_BATCH, EXACT = 0.7, 100_000, 1e-10
OPD = AlgorithmConfig(name="on_policy_distillation")
Result = tuple[float, dict[str, torch.Tensor]]


def teacher_logprobs(group: Group) -> list[torch.Tensor]:
    """Of another random model, over the whole vocabulary: [T, V] of each completion."""
    teacher, found = tiny_qwen3(7).double(), []
    for completion in group.completions:
        ids = [*group.prompt.token_ids, *completion.token_ids.tolist()]
        with torch.no_grad():
            logits = teacher(input_ids=torch.tensor([ids])).logits[0, len(group.prompt.token_ids) - 1 : -1]
        found.append(logits.log_softmax(-1))
    return found


def taught(groups: Sequence[Group], top: int = 0) -> tuple[Group, ...]:
    """The groups as a teacher has scored them."""
    made = []
    for group in groups:
        completions = []
        for completion, logprobs_TV in zip(group.completions, teacher_logprobs(group), strict=True):
            own = logprobs_TV[torch.arange(len(completion.token_ids)), completion.token_ids.astype(np.int64)]
            values, ids = logprobs_TV.topk(top or 1)
            likeliest = (ids.numpy().astype(np.int32), values.numpy().astype(np.float32)) if top else (None, None)
            scores = TeacherScores(own.numpy().astype(np.float32), *likeliest)
            completions.append(replace(completion, teacher=scores))
        made.append(replace(group, completions=tuple(completions)))
    return tuple(made)


def packed(groups: Sequence[Group], algorithm: AlgorithmConfig, teacher: Taught, budget: int, ranks: int = 1) -> Result:
    """Loss and gradients as the learner gets them, summed over micro-batches."""
    module = PolicyModel(tiny_qwen3().double(), temperature=TEMPERATURE)
    rank = Learner(
        0, 1, LearnerSpec("", LearnerConfig(), LossConfig(), TEMPERATURE, 0, 1, algorithm=algorithm, teacher=teacher)
    )
    module.device = torch.device("cpu")  # type: ignore[assignment]
    rank.engine, rank.reference = module, None  # type: ignore[assignment]
    counted = [
        one
        for group in groups
        for place, one in enumerate(group.completions)
        if counts_in_loss(group, place, filter_overlong=False)
    ]
    whole = algorithm_of(algorithm, LossConfig()).denominator(
        tokens=sum(len(one.token_ids) for one in counted), sequences=len(counted), constant_length=64
    )
    total = 0.0
    for part in micro_batches(groups, budget=budget, ranks=ranks):
        for batch in part:
            loss = rank._micro_loss(batch, Update(whole), Sums())
            loss.backward()
            total += loss.item()
    return total, {name.removeprefix("model."): w.grad.clone() for name, w in module.model.named_parameters()}


def with_gradients(loss: torch.Tensor, model) -> Result:
    loss.backward()
    return loss.item(), {name.removeprefix("model."): w.grad.clone() for name, w in model.named_parameters()}


def assert_equal(found: Result, expected: Result) -> None:
    assert found[0] == pytest.approx(expected[0], rel=EXACT, abs=EXACT)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=EXACT, atol=EXACT, msg=name)


def weight_of(own: float, sampled: float) -> float:
    return min(math.exp(own - sampled), 2.0)  # loss.importance_cap


@pytest.mark.parametrize("budget, ranks", [(ONE_BATCH, 1), (70, 2), (1, 1)])
@pytest.mark.parametrize("with_rewards", [False, True], ids=["alone", "beside rewards"])
def test_reverse_kl_by_token_is_the_advantage(with_rewards, budget, ranks):
    """Every token of every completion, the undecided one too, is paid `weight` times the teacher's log-probability less
    the student's, beside the completion's own advantage."""
    groups, weight = taught(uneven_groups()), 0.4
    algorithm = AlgorithmConfig(name="dapo") if with_rewards else OPD
    groups = tuple(algorithm_of(algorithm, LossConfig()).with_advantages(group) for group in groups)
    model = tiny_qwen3().double()
    logprobs = iter(plain_logprobs(model, groups, temperature=TEMPERATURE))
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for group in groups:
        assert group.advantages is not None
        for completion, advantage in zip(group.completions, group.advantages, strict=True):
            own = next(logprobs)
            assert completion.teacher is not None
            for t in range(len(own)):
                now, sampled = own[t].item(), float(completion.logprobs[t])
                paid = float(advantage) + weight * (float(completion.teacher.logprobs[t]) - now)
                total = total - weight_of(now, sampled) * paid * (own[t] - now).exp()
                tokens += 1
    expected = with_gradients(total / tokens, model)
    assert any(bool(gradient.abs().max() > 1e-3) for gradient in expected[1].values())
    assert_equal(packed(groups, algorithm, Taught(weight), budget, ranks), expected)


@pytest.mark.parametrize("budget, ranks", [(ONE_BATCH, 1), (70, 2)])
@pytest.mark.parametrize("top", [1, 8])
def test_reverse_kl_over_the_teachers_top_k_is_the_loss(top, budget, ranks):
    groups, weight = taught(uneven_groups(), top), 0.4
    groups = tuple(algorithm_of(OPD, LossConfig()).with_advantages(group) for group in groups)
    model = tiny_qwen3().double()
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for group in groups:
        prompt = list(group.prompt.token_ids)
        for completion in group.completions:
            ids = [*prompt, *completion.token_ids.tolist()]
            own_TV = (model(input_ids=torch.tensor([ids])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE).softmax(-1)
            scores = completion.teacher
            assert scores is not None and scores.top_ids is not None and scores.top_logprobs is not None
            for t in range(len(own_TV)):
                rest, teacher_rest = torch.ones((), dtype=torch.float64), 1.0
                for token, logprob in zip(scores.top_ids[t].tolist(), scores.top_logprobs[t].tolist(), strict=True):
                    total = total + own_TV[t, token] * (own_TV[t, token].log() - logprob)
                    rest, teacher_rest = rest - own_TV[t, token], teacher_rest - math.exp(logprob)
                total = total + rest * (rest / teacher_rest).log()
                tokens += 1
    expected = with_gradients(weight * total / tokens, model)
    found = packed(groups, OPD, Taught(weight, top), budget, ranks)
    assert_equal(found, expected)


def test_the_top_k_of_all_tokens_is_the_whole_divergence():
    generator = torch.Generator().manual_seed(0)
    own, teacher = (torch.randn(6, 20, generator=generator, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    whole = (own.exp() * (own - teacher)).sum(-1)
    torch.testing.assert_close(top_k_reverse_kl(own, teacher), whole, rtol=1e-9, atol=1e-9)
    before = torch.full((6,), -1.0, dtype=torch.float64)
    for top in (1, 5, 19):
        ids = teacher.topk(top).indices
        found = top_k_reverse_kl(own.gather(1, ids), teacher.gather(1, ids))
        assert (found <= whole + 1e-9).all() and (found >= before - 1e-9).all()  # finer partitions tell more apart
        before = found


def test_a_student_that_is_its_teacher_learns_nothing():
    groups = uneven_groups()
    groups = tuple(algorithm_of(OPD, LossConfig()).with_advantages(group) for group in groups)
    with torch.no_grad():
        own = iter(plain_logprobs(tiny_qwen3().double(), groups, temperature=TEMPERATURE))
    same = []
    for group in groups:
        ones = [replace(one, teacher=TeacherScores(next(own).numpy())) for one in group.completions]  # FP64
        same.append(replace(group, completions=tuple(ones)))
    _, gradients = packed(same, OPD, Taught(1.0), ONE_BATCH)
    assert max(float(gradient.abs().max()) for gradient in gradients.values()) < 1e-9


def test_a_teacher_makes_distillation_of_what_is_left_open():
    plain = GRPOConfig.model_validate({"teacher": {"model": "somewhere"}})
    assert with_teacher(plain).algorithm.name == "on_policy_distillation"
    mixed = settled(GRPOConfig.model_validate({"teacher": {"model": "somewhere"}, "algorithm": {"name": "dapo"}}))
    assert (mixed.algorithm.name, mixed.algorithm.choice) == ("dapo", "on_policy_distillation")
    chosen = {"teacher": {"model": "somewhere"}, "algorithm": {"name": "dapo", "choice": "dapo"}}
    assert settled(GRPOConfig.model_validate(chosen)).algorithm.choice == "dapo"
    assert settled(GRPOConfig()).algorithm.choice == ""


def test_distillation_wants_a_teacher_and_one_alone():
    with pytest.raises(UserError, match="wants a teacher"):
        settled(GRPOConfig(algorithm=OPD))
    with pytest.raises(ValueError, match=r"a run has one teacher \(got teacher.model and teacher.demonstration\)"):
        GRPOConfig.model_validate({"teacher": {"model": "somewhere", "demonstration": "solution"}})
