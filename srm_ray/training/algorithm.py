"""A run's algorithm from its config. `srm_ray.rl.algorithms` knows no config, and the config no algorithm."""

from typing import Any

from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import UserError
from srm_ray.rl.algorithms import loading
from srm_ray.rl.algorithms.contract import Algorithm, Options

TEACHERS_OWN = "on_policy_distillation"
OPEN = ("normalisation", "normalise_std")  # null: as the algorithm has them


def algorithm_of(chosen: AlgorithmConfig, loss: LossConfig) -> Algorithm:
    """Raises `UserError`, in one line, where it cannot be had or an option of the loss contradicts it."""
    if chosen.name and loss.name and chosen.name != loss.name:
        raise UserError(f"--algorithm {chosen.name} and --loss.name {loss.name} are two: give --algorithm alone")
    given: dict[str, Any] = {
        name: getattr(loss, name) for name in Options.__dataclass_fields__ if getattr(loss, name) is not None
    }
    former = bool(loss.name) and not chosen.name  # its options are then those that there were
    left_open = () if former else tuple(name for name in OPEN if name not in given)
    parts = {part: getattr(chosen, part) for part in loading.PARTS}
    return loading.load(loading.Chosen(chosen.name or loss.name, **parts), Options(**given), left_open)


def settled(config: GRPOConfig) -> GRPOConfig:
    """The config with what the algorithm makes of options left open, each part tried on a small example.

    Raises `UserError`. Starts nothing.
    """
    config = with_teacher(config)
    algorithm = algorithm_of(config.algorithm, config.loss)
    loading.check(algorithm)
    loss = {name: getattr(algorithm.options, name) for name in OPEN} | {"name": ""}
    loss["ratio_against"] = config.loss.ratio_against or against(config, algorithm)
    return config.model_copy(
        update={
            "algorithm": config.algorithm.model_copy(update={"name": algorithm.name}),
            "loss": config.loss.model_copy(update=loss),
        }
    )


def against(config: GRPOConfig, algorithm: Algorithm) -> str:
    """What the ratio is against where a run does not say: with one update a step on completions that may be stale, the
    policy that sampled them, if the loss holds such a ratio. docs/algorithms.md has the measurements."""
    stale = config.max_staleness and config.learner.updates_per_step == 1
    return "rollout" if stale and loading.bounds_ratio(algorithm) else "learner"


def with_teacher(config: GRPOConfig) -> GRPOConfig:
    """With what a teacher makes of an algorithm left open: on-policy distillation; and of a choice of groups left open:
    all of them, since a teacher gives a signal for each. Raises `UserError` for distillation without a teacher."""
    chosen = config.algorithm
    distills = TEACHERS_OWN in (chosen.name, chosen.advantage)
    if not config.teacher.teaches:
        if distills:
            raise UserError(f"--algorithm {TEACHERS_OWN} wants a teacher: --teacher MODEL, or another of teacher.*")
        return config
    name = chosen.name or ("" if config.loss.name else TEACHERS_OWN)
    chosen = chosen.model_copy(update={"name": name, "choice": chosen.choice or TEACHERS_OWN})
    return config.model_copy(update={"algorithm": chosen})


def described(config: GRPOConfig) -> dict[str, str]:
    """The algorithm as a run's events have it: its name, and of each part of the user's where its code is from."""
    algorithm = algorithm_of(config.algorithm, config.loss)
    return {"name": algorithm.name, **loading.checksums(algorithm)}


def changes(before: dict[str, str], now: dict[str, str]) -> str:
    """The message where a continued run has other code than it began with; "" where it has not."""
    others = [now[part].partition(" ")[0] for part in now if before.get(part, now[part]) != now[part]]
    return f"the code of {' and '.join(others)} is another than that which the run was made with" if others else ""
