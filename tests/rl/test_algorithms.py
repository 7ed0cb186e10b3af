"""Every algorithm: advantages, losses and gradients as numbers, its choice of groups; and algorithms of one's own."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewards.verdict import Reward
from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import RunError, UserError
from srm_ray.rl.algorithms import loading
from srm_ray.rl.algorithms.contract import Algorithm, TokenInputs
from srm_ray.rl.types import Group
from srm_ray.runs.folder import RunFolder
from srm_ray.training.algorithm import TEACHERS_OWN, algorithm_of, changes, described, settled
from tests.rl.random_groups import random_group
from tests.rl.test_loss import loss_and_gradient, named, tensor


def group_of(values: list[float], correct: list[bool | None] | None = None, index: int = 0) -> Group:
    made = random_group(np.random.default_rng(index), index, 3, range(2, 2 + len(values)))
    judged = correct or [value >= 1 for value in values]
    rewards = tuple(Reward(value, right, "correct") for value, right in zip(values, judged, strict=True))
    return Group(made.prompt, made.completions, rewards=rewards)


def advantages(name: str, *groups: list[float]) -> list[list[float]]:
    algorithm = named(name)
    made = algorithm.across_step([algorithm.with_advantages(group_of(g, index=i)) for i, g in enumerate(groups)])
    return [[float(value) for value in group.advantages] for group in made if group.advantages is not None]


# Advantages


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("grpo", "dapo", "gspo", "cispo", "sapo"), [math.sqrt(3), *[-1 / math.sqrt(3)] * 3]),
        (("dr_grpo",), [0.75, -0.25, -0.25, -0.25]),
        (("rloo",), [1.0, *[-1 / 3] * 3]),  # less the mean of the three others: 0, and 1/3
        (("maxrl",), [3.0, -1.0, -1.0, -1.0]),  # over the mean, 1/4
    ],
)
def test_one_right_of_four(names: tuple[str, ...], expected: list[float]) -> None:
    for name in names:
        assert advantages(name, [1, 0, 0, 0]) == [pytest.approx(expected, rel=1e-5)]


def test_reinforce_plus_plus_divides_by_the_spread_of_the_whole_step() -> None:
    """Centred by group: 3/4 and three of -1/4, then 1/2 and -1/2. The step's mean is 0, its variance 1.25 / 6."""
    spread = math.sqrt((0.75 + 0.5) / 6)
    found = advantages("reinforce_plus_plus", [1, 0, 0, 0], [1, 0])
    assert found == [
        pytest.approx([0.75 / spread, *[-0.25 / spread] * 3], rel=1e-5),
        pytest.approx([0.5 / spread, -0.5 / spread], rel=1e-5),
    ]


def test_the_step_is_normalised_without_completions_that_count_for_nothing() -> None:
    algorithm = named("reinforce_plus_plus")
    graded = [algorithm.with_advantages(group_of([1, 0, 7], [True, False, None]))]
    (found,) = algorithm.across_step(graded)
    assert found.advantages == pytest.approx([1, -1, 0], rel=1e-5)
    undecided = algorithm.with_advantages(group_of([1, 0], [None, None]))
    assert algorithm.across_step([undecided])[0].advantages == pytest.approx([0, 0])
    assert algorithm.across_step([]) == ()


@pytest.mark.parametrize("name", loading.NAMES)
@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [1.0, 1.0], [0.3, 0.3]])
def test_equal_rewards_teach_nothing(name: str, values: list[float]) -> None:
    assert advantages(name, values) == [pytest.approx([0.0] * len(values), abs=1e-9)]


@pytest.mark.parametrize("name", loading.NAMES)
def test_undecided_completions_are_left_out(name: str) -> None:
    algorithm = named(name)
    whole = algorithm.with_advantages(group_of([1, 0, 0], [True, False, False]))
    with_others = algorithm.with_advantages(group_of([1, 5, 0, 0, 9], [True, None, False, False, None]))
    assert whole.advantages is not None and with_others.advantages is not None
    assert with_others.advantages.tolist() == [whole.advantages[0], 0, whole.advantages[1], whole.advantages[2], 0]
    alone = algorithm.with_advantages(group_of([1, 0], [True, None])).advantages
    assert alone == pytest.approx([0, 0])


def test_maxrl_has_no_gradient_without_a_success_and_one_over_p_with() -> None:
    assert advantages("maxrl", [0, 0, 0, 0]) == [[0, 0, 0, 0]]
    (rare,) = advantages("maxrl", [1, *[0] * 15])
    assert rare == pytest.approx([15, *[-1] * 15])
    assert advantages("maxrl", [-1, -1, 0]) == [[0, 0, 0]]  # a mean below 0 is no rate


def test_rloo_is_the_reward_less_the_others_mean() -> None:
    values = [0.1, 1.1, 0.0, 1.0, 0.4]
    expected = [value - (sum(values) - value) / 4 for value in values]
    assert advantages("rloo", values) == [pytest.approx(expected, rel=1e-5)]


# Losses


@pytest.mark.parametrize(("ratio", "advantage"), [(1.0, 1.0), (1.5, 1.0), (0.5, -1.0), (3.0, -2.0)])
def test_rloo_clips_nothing(ratio: float, advantage: float) -> None:
    loss, gradient = loss_and_gradient("rloo", [ratio], [advantage], denominator=4)
    assert loss == pytest.approx(-ratio * advantage / 4)
    assert gradient == [pytest.approx(-ratio * advantage / 4)]


@pytest.mark.parametrize(
    ("ratio", "advantage", "tau"),
    [(1.0, 1.0, 1.0), (1.0, -1.0, 1.05), (1.5, 1.0, 1.0), (0.5, -1.0, 1.05), (4.0, -2.0, 1.05), (0.1, 0.5, 1.0)],
)
def test_sapo_weighs_each_token_by_its_gate(ratio: float, advantage: float, tau: float) -> None:
    p = 1 / (1 + math.exp(-tau * (ratio - 1)))
    loss, gradient = loss_and_gradient("sapo", [ratio], [advantage], denominator=2)
    assert loss == pytest.approx(-4 / tau * p * advantage / 2)
    assert gradient == [pytest.approx(-4 * p * (1 - p) * ratio * advantage / 2)]


def test_sapo_on_policy_has_the_plain_policy_gradient() -> None:
    assert loss_and_gradient("sapo", [1.0, 1.0], [1.0, -0.5])[1] == pytest.approx([-1.0, 0.5])


@pytest.mark.parametrize("name", ["grpo", "maxrl", "reinforce_plus_plus"])
def test_the_others_have_the_clipped_loss(name: str) -> None:
    ratios, signs = [1.5, 0.5, 1.0, 1.5], [1.0, -1.0, 2.0, -1.0]
    assert loss_and_gradient(name, ratios, signs) == loss_and_gradient("dapo", ratios, signs)


@pytest.mark.parametrize("name", [name for name in loading.NAMES if name != "cispo"])  # its weight has no gradient
def test_gradients_equal_finite_differences(name: str) -> None:
    algorithm = named(name)
    generator = torch.Generator().manual_seed(3)
    old = torch.randn(9, generator=generator, dtype=torch.float64) - 2
    mask, sequence = tensor(1, 1, 1, 1, 0, 1, 1, 1, 1), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    signs = tensor(1, -1, 0.5)[sequence]

    def loss(logprobs: torch.Tensor) -> torch.Tensor:
        return (algorithm.loss(TokenInputs(logprobs, old, signs, mask, sequence)).token_C * mask).sum()

    logprobs = (old + 0.5 * torch.randn(9, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logprobs,), eps=1e-6, atol=1e-7)


# Choice


@pytest.mark.parametrize("name", loading.NAMES)
def test_choice(name: str) -> None:
    of_paper = name in ("grpo", "rloo", "reinforce_plus_plus", "maxrl", "sapo", TEACHERS_OWN)
    choice = named(name).choice
    assert choice(group_of([1, 0]))
    assert choice(group_of([0, 0])) is of_paper
    assert choice(group_of([1, 1])) is of_paper
    assert choice(group_of([0, 0], [None, None])) is (name == TEACHERS_OWN)  # whose word does not depend on the grade


# By options


def algorithm(**parts: str) -> Algorithm:
    return algorithm_of(AlgorithmConfig(**parts), LossConfig())


def test_parts_of_several_algorithms() -> None:
    mixed = algorithm(name="maxrl", loss="sapo", choice="dapo")
    assert mixed.with_advantages(group_of([1, 0, 0, 0])).advantages == pytest.approx([3, -1, -1, -1])
    assert mixed.options.normalisation == "sequences"  # of the loss
    assert mixed.options.normalise_std is False  # of the advantage
    assert not mixed.choice(group_of([0, 0]))
    assert algorithm(advantage="reinforce_plus_plus").across is not None


@pytest.mark.parametrize(
    ("algorithm", "loss", "message"),
    [
        ({"name": "gspo"}, {"normalisation": "tokens"}, r"gspo wants loss\.normalisation sequences \(got tokens\)"),
        ({"name": "dr_grpo"}, {"normalise_std": True}, r"dr_grpo wants loss\.normalise_std false \(got true\)"),
        ({"loss": "gspo"}, {"normalisation": "tokens"}, r"gspo wants loss\.normalisation sequences \(got tokens\)"),
        ({"name": "gspo"}, {"name": "cispo"}, "--algorithm gspo and --loss.name cispo are two"),
        ({}, {"name": "gspo"}, r"gspo wants loss\.normalisation sequences \(got tokens\)"),  # by the former option
        ({}, {"name": "dr_grpo"}, r"dr_grpo wants loss\.normalise_std false \(got true\)"),
    ],
)
def test_options_that_contradict_an_algorithm(algorithm: Any, loss: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        algorithm_of(AlgorithmConfig(**algorithm), LossConfig(**loss))


def test_the_former_option_means_what_it_did() -> None:
    """Dr. GRPO by `loss.name` divides by tokens unless it is told otherwise; by `algorithm` as in its paper."""
    former = algorithm_of(AlgorithmConfig(), LossConfig(name="dr_grpo", normalise_std=False))
    assert former.options.normalisation == "tokens"
    assert algorithm(name="dr_grpo").options.normalisation == "constant"


def test_a_config_has_what_the_algorithm_makes_of_it() -> None:
    config = settled(GRPOConfig(algorithm={"name": "rloo"}))
    assert (config.algorithm.name, config.loss.normalisation, config.loss.normalise_std) == ("rloo", "constant", False)
    assert settled(config) == config
    assert settled(GRPOConfig(loss={"name": "cispo"})) == settled(GRPOConfig(algorithm={"name": "cispo"}))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "learner"),
        ({"max_staleness": 2}, "rollout"),
        ({"max_staleness": 2, "learner": {"updates_per_step": 4}}, "learner"),
        ({"max_staleness": 2, "algorithm": {"name": "cispo"}}, "rollout"),
        ({"max_staleness": 2, "algorithm": {"name": "rloo"}}, "learner"),  # it never clips
        ({"max_staleness": 2, "algorithm": {"name": "rloo", "loss": "gspo"}}, "rollout"),
        ({"max_staleness": 2, "loss": {"ratio_against": "learner"}}, "learner"),
        ({"loss": {"ratio_against": "rollout"}}, "rollout"),
    ],
)
def test_stale_completions_have_the_ratio_against_the_sampler_where_the_loss_holds_it(
    options: dict[str, Any], expected: str
) -> None:
    assert settled(GRPOConfig.model_validate(options)).loss.ratio_against == expected


def test_which_losses_hold_a_ratio() -> None:
    held = {name for name in loading.NAMES if loading.bounds_ratio(algorithm(name=name))}
    assert set(loading.NAMES) - held == {"rloo", TEACHERS_OWN}


def test_a_run_of_before_goes_on(tmp_path: Path) -> None:
    """Its config.yaml names the loss alone, with options that were never open."""
    folder = RunFolder(tmp_path, stage="grpo")
    folder.config.write_text("loss:\n  name: cispo\n  normalisation: tokens\n  normalise_std: true\n")
    for now in ({"loss": {"name": "cispo"}}, {"algorithm": {"name": "cispo"}}):
        config = settled(GRPOConfig.model_validate(now))
        assert folder.check_config(config).algorithm.name == "cispo"
    with pytest.raises(UserError, match=r"was run with algorithm\.name 'cispo', this command has 'dapo'"):
        folder.check_config(settled(GRPOConfig()))


# One's own

OWN = """
import numpy as np
import torch

def advantage(rewards, group, options):
    assert len(rewards) == len(group.completions) and options.clip_low == 0.2
    return 2 * (rewards - np.median(rewards))


def loss(tokens):
    return -tokens.advantages_C * tokens.logprobs_C


def choice(group):
    return len(group.completions) > 2


def no_gradient(tokens):
    return torch.ones(len(tokens.mask_C))


def detached(tokens):
    return torch.ones(len(tokens.mask_C), requires_grad=True) * tokens.logprobs_C.detach()


def scalar(tokens):
    return -(tokens.advantages_C * tokens.logprobs_C).sum()


def infinite(tokens):
    return tokens.logprobs_C / 0


def plain(tokens):
    return [0.0] * len(tokens.mask_C)


def one(rewards):
    return rewards.mean()


def short(rewards):
    return rewards[1:]


def nothing(rewards):
    return rewards * float("nan")


def words(rewards):
    return ["much"] * len(rewards)


def raises(rewards):
    return rewards / {}[0]


def two(rewards, baseline):
    return rewards - baseline


constant = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with algorithms."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    (tmp_path / f"{name}_broken.py").write_text("import there_is_no_such_module\n")
    (tmp_path / f"{name}_script.py").write_text("raise SystemExit(1)\n")
    (tmp_path / f"{name}_settings.py").write_text(
        "SETTINGS = {'normalisation': 'tokens'}\nfrom math import exp as loss\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_module_of_ones_own(own: str) -> None:
    mine = algorithm(name=own)
    loading.check(mine)
    assert mine.with_advantages(group_of([1, 0, 0, 1, 1])).advantages == pytest.approx([0, -2, -2, 0, 0])
    assert mine.choice(group_of([0, 0, 0])) and not mine.choice(group_of([1, 0]))
    logprobs = tensor(-1.0, -2.0).requires_grad_()
    terms = mine.loss(TokenInputs(logprobs, tensor(-1.0, -1.0), tensor(1, -1), tensor(1, 1), torch.tensor([0, 1])))
    assert terms.token_C.tolist() == [1.0, -2.0]
    assert terms.ratio_C.tolist() == pytest.approx([1.0, math.exp(-1)])  # the metrics' own


def test_one_part_of_ones_own(own: str) -> None:
    mine = algorithm(name="rloo", advantage=f"{own}:advantage")
    loading.check(mine)
    assert mine.with_advantages(group_of([1, 0, 0])).advantages == pytest.approx([2, 0, 0])
    assert mine.sources == {"advantage": f"{own}:advantage", "loss": "rloo", "choice": "rloo"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": "grop"}, r"--algorithm grop: neither one of grpo, dapo.* nor a module to import"),
        ({"name": "OWN_broken"}, r"ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ({"name": "OWN_script"}, r"nor a module to import \(SystemExit: 1\)"),
        ({"name": "OWN_settings"}, r"its SETTINGS must be srm_ray\.rl\.algorithms\.contract\.Settings\(\.\.\.\)"),
        ({"name": "json"}, r"--algorithm json: the module defines none of advantage, loss, choice"),
        ({"loss": "OWN.loss"}, r"neither of the form package\.module:function nor one of grpo"),
        ({"loss": "there_is_none:loss"}, r"--algorithm\.loss there_is_none:loss: its module cannot be imported"),
        ({"loss": "OWN:lost"}, r"OWN has no lost"),
        ({"loss": "OWN:constant"}, r"is not a function, but 3"),
        (
            {"advantage": "OWN:two"},
            r"callable as advantage\(rewards\), which may ask for options and group by name: miss",
        ),
        ({"advantage": "OWN:one"}, r"--algorithm\.advantage OWN:one gave advantages of shape \(\) for 4 rewards"),
        ({"advantage": "OWN:short"}, r"gave advantages of shape \(3,\) for 4 rewards, shape \(4,\)"),
        ({"advantage": "OWN:nothing"}, r"no finite numbers"),
        ({"advantage": "OWN:words"}, r"raised ValueError: could not convert string to float"),
        ({"advantage": "OWN:raises"}, r"tried on a small example it raised KeyError: 0"),
        ({"loss": "OWN:scalar"}, r"gave a tensor of shape \(\), not a term for each token, \(5,\)"),
        ({"loss": "OWN:plain"}, r"gave list, not a tensor"),
        ({"loss": "OWN:no_gradient"}, r"gave terms without gradient: they must depend on tokens\.logprobs_C"),
        ({"loss": "OWN:detached"}, r"gave terms that do not depend on tokens\.logprobs_C"),
        ({"loss": "OWN:infinite"}, r"no finite numbers"),
        ({"choice": "OWN:short"}, r"--algorithm\.choice OWN:short: tried on a small example it raised TypeError"),
    ],
)
def test_what_is_of_no_use_is_told_in_a_line(own: str, parts: dict[str, str], message: str) -> None:
    config = GRPOConfig(algorithm={part: text.replace("OWN", own) for part, text in parts.items()})
    with pytest.raises(UserError, match=message.replace("OWN", own)) as told:
        settled(config)
    assert "\n" not in str(told.value)


def test_an_advantage_that_fails_later_is_named(own: str) -> None:
    with pytest.raises(RunError, match=rf"{own}:short gave advantages of shape \(1,\) for 2 rewards"):
        algorithm(advantage=f"{own}:short").with_advantages(group_of([1, 0]))


def test_a_run_remembers_the_code_that_it_was_made_with(own: str, tmp_path: Path) -> None:
    assert described(settled(GRPOConfig())) == {"name": "dapo"}
    config = settled(GRPOConfig(algorithm={"loss": f"{own}:loss"}))
    before = described(config)
    assert before["loss"].startswith(f"{own}:loss sha256:")
    assert changes(before, described(config)) == ""
    with (tmp_path / f"{own}.py").open("a") as file:
        file.write("\n# another thought\n")
    assert (
        changes(before, described(config)) == f"the code of {own}:loss is another than that which the run was made with"
    )
