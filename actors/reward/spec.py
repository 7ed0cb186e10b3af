"""What a run pays completions for, and the check of a reward of the user's own before any worker starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import rewards.user
from rewards.user import Sampled
from srm_ray.config.grpo import RewardConfig
from srm_ray.errors import UserError
from srm_ray.rl.types import Prompt

PARTS = ("math", "code", "format", "length", "function", "judge", "model")
OWN = ("function", "judge", "model")  # what may decide in place of the graders
MODEL = "srm_ray.inference.reward_model:reward"
LIKE_MATH = ("text", "choice", "countdown", "gym")  # correctness of an answer, too: paid with the weight of `math`


@dataclass(frozen=True)
class RewardSpec:
    """What a completion is paid for, and what grading may cost.

    weights: weight of each part, e.g. {"math": 1.0, "format": 0.1}. `math` and `code` are the
        correctness part of prompts with an answer and with tests; parts without a weight are not
        computed, but correctness always is.
    math_timeout, code_timeout, function_timeout: seconds for one comparison, for all tests of one
        candidate, and for one call of the user's function.
    allow_last_number: without an announced answer, take the last number of the text.
    l_max, l_cache: tokens; see `rewards.length`. Needed when `length` has a weight.
    function: the user's own reward, "package.module:function" (see `rewards.user`), or "". It takes
        the built-in grading's place, weight 1.0 unless given.
    model, model_length: a sequence classifier's folder, and the tokens that it reads; "" for none. It decides as a
        function of the user's own does.
    judged: whether `score` is given the verdicts of a judge, which decide in the same way.
    check_share: of the completions that a judge or a model decided; the graders decide these, too.
    threshold: above it the function's value is correct, where the function does not say so itself.
    allow_unsafe: run code without a sandbox where none works; otherwise it is `sandbox_unavailable`.
    processes: how many samples of each kind (math, code, function) are graded at once.
    in_flight: samples of each kind that are held before `score` waits.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"math": 1.0, "code": 1.0, "format": 0.1})
    math_timeout: float = 5.0
    code_timeout: float = 10.0
    function_timeout: float = 5.0
    allow_last_number: bool = False
    l_max: int = 0
    l_cache: int = 0
    function: str = ""
    model: str = ""
    model_length: int = 4096
    judged: bool = False
    check_share: float = 0.0
    threshold: float = 0.0
    allow_unsafe: bool = False
    processes: int = 2
    in_flight: int = 256

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(PARTS))
        if unknown:
            raise UserError(f"reward weights: unknown part {unknown[0]!r}; parts are {', '.join(PARTS)}")
        if "length" in self.weights and not 0 <= self.l_cache <= self.l_max > 0:
            raise UserError(f"a length reward needs 0 <= l_cache <= l_max, got {self.l_cache} and {self.l_max}")
        if "function" in self.weights and not self.function:
            raise UserError("the weights name a function, but no reward function is given (package.module:function)")
        if min(self.math_timeout, self.code_timeout, self.function_timeout) <= 0:
            raise UserError("reward time limits must be above 0 seconds")
        if self.processes < 1 or self.in_flight < 1:
            raise UserError(f"processes and in_flight must be at least 1, got {self.processes} and {self.in_flight}")

    def weight(self, part: str) -> float:
        if part in LIKE_MATH:
            part = "math"
        return self.weights.get(part, 1.0 if part in OWN else 0.0)

    @property
    def own(self) -> str:
        """Which of `OWN` decides; "" where the graders do."""
        return "judge" if self.judged else "model" if self.model else "function" if self.function else ""

    def called(self, processes: int = 1) -> rewards.user.Function | None:
        """What decides in processes of the worker's own, where something does. Raises `rewards.user.BadFunction`."""
        if self.model:
            known = {"folder": self.model, "max_length": self.model_length}
            return rewards.user.Function(MODEL, processes, self.function_timeout, known=known)
        return rewards.user.Function(self.function, processes, self.function_timeout) if self.function else None


def check(spec: RewardSpec, prompts: Sequence[Prompt] = ()) -> None:
    """Fail early, with one clear line, on a user function that cannot be used. Raises `UserError`.

    prompts: the run's first, with each of which it is called: for an empty completion, and for one with the answer.
    """
    try:
        function = spec.called()
        if function is None:
            return
        try:
            function.check([sampled(prompt, ("", f"\\boxed{{{prompt.answer}}}"), ()) for prompt in prompts])
        finally:
            function.close()
    except rewards.user.BadFunction as error:
        raise UserError(f"--reward{'.model' if spec.model else ''} {error}") from None


def trial(options: RewardConfig) -> Callable[[Sequence[Prompt]], None] | None:
    """`check` of a user function by itself; None where none is named."""
    if not options.function:
        return None
    return lambda prompts: check(RewardSpec(function=options.function, function_timeout=options.timeout), prompts)


def sampled(prompt: Prompt, completions: tuple[str, ...], truncated: tuple[bool, ...]) -> Sampled:
    return Sampled(prompt.text, completions, prompt.answer, truncated, prompt.row)
