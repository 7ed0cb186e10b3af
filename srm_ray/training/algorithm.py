"""A run's algorithm from its config. `srm_ray.rl.algorithms` knows no config, and the config no algorithm."""

from typing import Any

from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.errors import UserError
from srm_ray.rl.algorithms import loading
from srm_ray.rl.algorithms.contract import Algorithm, Options

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
    algorithm = algorithm_of(config.algorithm, config.loss)
    loading.check(algorithm)
    loss = {name: getattr(algorithm.options, name) for name in OPEN} | {"name": ""}
    return config.model_copy(
        update={
            "algorithm": config.algorithm.model_copy(update={"name": algorithm.name}),
            "loss": config.loss.model_copy(update=loss),
        }
    )


def described(config: GRPOConfig) -> dict[str, str]:
    """The algorithm as a run's events have it: its name, and of each part of the user's where its code is from."""
    algorithm = algorithm_of(config.algorithm, config.loss)
    return {"name": algorithm.name, **loading.checksums(algorithm)}


def changes(before: dict[str, str], now: dict[str, str]) -> str:
    """What is said where a continued run has other code than it began with; "" where it has not."""
    others = [now[part].partition(" ")[0] for part in now if before.get(part, now[part]) != now[part]]
    return f"the code of {' and '.join(others)} is another than that which the run was made with" if others else ""
