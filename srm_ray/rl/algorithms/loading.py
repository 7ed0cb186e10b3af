"""An algorithm by its name or import path, with parts of one's own, tried before anything starts.

    NAME or package.module --> advantage, across, loss, choice, SETTINGS     what a module lacks is DAPO's
    NAME or package.module:function --> one part in place of the module's

A function takes its first argument by position; beyond it, it may ask by name for what `EXTRAS` says.
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rewards.verdict import Reward
from srm_ray.errors import RunError, UserError, one_line
from srm_ray.rl.algorithms.contract import Algorithm, Loss, LossTerms, Options, Settings, TokenInputs
from srm_ray.rl.types import Completion, Group, Prompt

NAMES = (
    "grpo", "dapo", "dr_grpo", "gspo", "cispo", "rloo", "reinforce_plus_plus", "maxrl", "sapo", "on_policy_distillation"
)  # fmt: skip
DEFAULT = "dapo"
PARTS = ("advantage", "loss", "choice")
USUAL = Settings()
EXTRAS = {"advantage": ("options", "group"), "loss": ("options",), "choice": ("options",), "across": ("options",)}
FIRST = {"advantage": "rewards", "loss": "tokens", "choice": "group", "across": "advantages"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a run asks for. name: "" for DAPO. advantage, loss, choice: "" for the algorithm's own."""

    name: str = ""
    advantage: str = ""
    loss: str = ""
    choice: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A function, with what its module says of the options; of an advantage, what is done across the step after it."""

    function: Callable[..., Any]
    settings: Settings = USUAL
    across: Callable[..., Any] | None = None


def load(chosen: Chosen, asked: Options, open_options: tuple[str, ...] = ()) -> Algorithm:
    """The algorithm. Raises `UserError`, in one line, where a part cannot be had or an option contradicts it.

    open_options: those of `Settings` that the run leaves to the algorithm.
    """
    name = chosen.name or DEFAULT
    module = module_of(name)
    sources: dict[str, str] = {}
    parts: dict[str, Part] = {}
    for part in PARTS:
        given = getattr(chosen, part)
        parts[part] = part_of(given, part) if given else own_part(module, part)
        sources[part] = given or name
    options = settle(asked, open_options, parts, sources)
    bound = {part: bind(found.function, part, options) for part, found in parts.items()}
    across = parts["advantage"].across
    return Algorithm(
        name=name,
        options=options,
        advantage=lambda rewards, group: bound["advantage"](rewards, group=group),
        across=None if across is None else bind(across, "across", options),
        loss=as_terms(bound["loss"]),
        choice=lambda group: bool(bound["choice"](group)),
        sources=sources,
    )


def settle(asked: Options, open_options: tuple[str, ...], parts: dict[str, Part], sources: dict[str, str]) -> Options:
    """The options with those left open as the algorithm has them. Raises UserError where it does not work otherwise."""
    for part, option in (("loss", "normalisation"), ("advantage", "normalise_std")):
        wanted = parts[part].settings
        if option in open_options:
            asked = replace(asked, **{option: getattr(wanted, option)})
        elif option in wanted.fixed and getattr(asked, option) != getattr(wanted, option):
            shown = [str(value).lower() for value in (getattr(wanted, option), getattr(asked, option))]
            raise UserError(f"--algorithm {sources[part]} wants loss.{option} {shown[0]} (got {shown[1]})")
    return asked


# Finding the parts


def module_of(name: str) -> ModuleType:
    """An algorithm of ours by its name, or a module of the user's by its import path."""
    if name in NAMES:
        return importlib.import_module(f"srm_ray.rl.algorithms.{name}")
    module = imported(name, f"--algorithm {name}", f"neither one of {', '.join(NAMES)} nor a module to import")
    if not any(hasattr(module, part) for part in PARTS):
        raise UserError(f"--algorithm {name}: the module defines none of {', '.join(PARTS)}")
    return module


def own_part(module: ModuleType, part: str) -> Part:
    """A part of a module, or DAPO's where it has none."""
    holder = module if hasattr(module, part) else importlib.import_module(f"srm_ray.rl.algorithms.{DEFAULT}")
    function, across = getattr(holder, part), getattr(module, "across", None)
    settings = getattr(module, "SETTINGS", USUAL)
    if not isinstance(settings, Settings):
        raise UserError(f"--algorithm {module.__name__}: its SETTINGS must be {Settings.__module__}.Settings(...)")
    check_signature(function, part, module.__name__)
    if part != "advantage" or across is None:
        return Part(function, settings)
    check_signature(across, "across", module.__name__)
    return Part(function, settings, across)


def part_of(given: str, part: str) -> Part:
    """A part by the name of an algorithm of ours, or as package.module:function."""
    where = f"--algorithm.{part} {given}"
    if given in NAMES:
        return own_part(module_of(given), part)
    path, colon, attribute = given.partition(":")
    if not (path and colon and attribute):
        raise UserError(f"{where}: neither of the form package.module:function nor one of {', '.join(NAMES)}")
    found: Any = imported(path, where, "its module cannot be imported")
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise UserError(f"{where}: {path} has no {attribute}")
        found = getattr(found, name)
    check_signature(found, part, where)
    return Part(found)


def imported(path: str, where: str, why: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except (Exception, SystemExit) as error:  # a module of the user's may raise anything, or be a script
        raise UserError(f"{where}: {why} ({type(error).__name__}: {one_line(error)})") from None


def check_signature(function: object, part: str, where: str) -> None:
    """Raises UserError where the part cannot be called as `EXTRAS` says."""
    form = f"{part}({FIRST[part]}), which may ask for {' and '.join(EXTRAS[part])} by name"
    if not callable(function):
        raise UserError(f"{where}: its {part} is not a function, but {function!r:.60}")
    try:
        signature = inspect.signature(function)
        signature.bind(None, **{name: None for name in EXTRAS[part] if name in signature.parameters})
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: it must be callable as {form}: {error}") from None


def bind(function: Callable[..., Any], part: str, options: Options) -> Callable[..., Any]:
    """The function, given of what it may ask for what it does ask for."""
    wants = [name for name in EXTRAS[part] if name in inspect.signature(function).parameters]

    def bound(first: Any, **more: Any) -> Any:
        known = {"options": options, **more}
        return function(first, **{name: known[name] for name in wants})

    return bound


def as_terms(function: Callable[[TokenInputs], Any]) -> Loss:
    """A loss that may give a tensor [C] alone: its ratio is then each token's own."""

    def loss(tokens: TokenInputs) -> LossTerms:
        found = function(tokens)
        return found if isinstance(found, LossTerms) else LossTerms(found, tokens.log_ratio_C.detach().exp())

    return loss


# Trying them


def check(algorithm: Algorithm) -> None:
    """Call every part with a tiny example. Raises `UserError`, in one line, for what is of no use."""
    group = probe_group()
    try:
        graded = attempt(algorithm, "advantage", lambda: algorithm.with_advantages(group))
        attempt(algorithm, "advantage", lambda: algorithm.across_step([graded]))
    except RunError as error:
        raise UserError(f"--algorithm.advantage {error}") from None
    attempt(algorithm, "choice", lambda: algorithm.choice(graded))
    check_loss(algorithm)


def attempt(algorithm: Algorithm, part: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except RunError:
        raise
    except Exception as error:  # the user's own
        shown = f"tried on a small example it raised {type(error).__name__}: {one_line(error)}"
        raise UserError(f"--algorithm.{part} {algorithm.sources[part]}: {shown}") from None


def check_loss(algorithm: Algorithm) -> None:
    import torch

    where = f"--algorithm.loss {algorithm.sources['loss']}: tried on 5 tokens of 2 completions it"
    logprobs_C = torch.tensor([-1.0, -0.5, -2.0, -0.7, -1.2], dtype=torch.float64, requires_grad=True)
    old_C = torch.tensor([-1.1, -0.5, -1.9, -0.8, -1.2], dtype=torch.float64)
    advantages_C = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    tokens = TokenInputs(logprobs_C, old_C, advantages_C, torch.ones_like(old_C), torch.tensor([0, 0, 1, 1, 1]))
    token_C = attempt(algorithm, "loss", lambda: algorithm.loss(tokens)).token_C
    if not isinstance(token_C, torch.Tensor):
        raise UserError(f"{where} gave {type(token_C).__name__}, not a tensor with a term for each token")
    if token_C.shape != logprobs_C.shape:
        raise UserError(f"{where} gave a tensor of shape {tuple(token_C.shape)}, not a term for each token, (5,)")
    if not token_C.requires_grad:
        raise UserError(f"{where} gave terms without gradient: they must depend on tokens.logprobs_C")
    (gradient_C,) = torch.autograd.grad(token_C.sum(), logprobs_C, allow_unused=True)
    if gradient_C is None:
        raise UserError(f"{where} gave terms that do not depend on tokens.logprobs_C")
    if not (token_C.isfinite().all() and gradient_C.isfinite().all()):
        raise UserError(f"{where} gave terms or gradients that are no finite numbers: {token_C.tolist()}")


def probe_group() -> Group:
    """Four completions, two of them right."""
    values = (1.0, 0.0, 1.1, 0.1)
    completions = tuple(
        Completion(
            np.arange(3, 5 + place, dtype=np.int32),
            np.full(2 + place, -1.0, np.float32),
            np.zeros(2 + place, np.int32),
            "stop",
            place,
            f"completion {place}",
            "rollout-0",
        )
        for place in range(len(values))
    )
    rewards = tuple(Reward(value, value >= 1, "correct" if value >= 1 else "wrong") for value in values)
    return Group(Prompt(0, (1, 2), "prompt"), completions, rewards=rewards)


def checksums(algorithm: Algorithm) -> dict[str, str]:
    """Of the parts that are a user's: where each is from, and the SHA-256 of its file. {} where there are none."""
    found = {}
    for part, source in algorithm.sources.items():
        if source in NAMES:
            continue
        path = inspect.getsourcefile(importlib.import_module(source.partition(":")[0]))
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else "no source"
        found[part] = f"{source} sha256:{digest}"
    return found


HELD = 2.0  # of the gradient at ratio 1
RISEN = 3.0  # nats: a token twenty times as likely as it was


def bounds_ratio(algorithm: Algorithm) -> bool:
    """Whether its loss holds a token of advantage 1 that has become much likelier, by a clip, a gate or a capped
    weight: only then may the ratio be against policies of some steps ago."""
    import torch

    def gradient(risen: float) -> float:
        logprobs_C = torch.full((2,), -0.1, dtype=torch.float64, requires_grad=True)
        ones_C = torch.ones(2, dtype=torch.float64)
        tokens = TokenInputs(logprobs_C, logprobs_C.detach() - risen, ones_C, ones_C, torch.zeros(2, dtype=torch.long))
        (found_C,) = torch.autograd.grad(algorithm.loss(tokens).token_C.sum(), logprobs_C)
        return float(found_C.abs().max())

    return gradient(RISEN) <= HELD * gradient(0.0)
