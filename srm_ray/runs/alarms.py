"""Silent failures made loud: lines of metrics in, alarms out. Pure; `srm_ray.runs.watch` reports them.

A limit is held against the mean of the last `window` steps, so that one odd step is no alarm; what must not
happen even once (no gradient, a number that is none) is looked for in each step. An alarm is raised when its
limit is passed, stands while it stays so, and can be raised again once it is over.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from srm_ray.config.alarms import AlarmsConfig

HISTORY = 100  # steps that "the run's median before" looks back on

Line = dict[str, Any]
Lines = Sequence[Line]


@dataclass(frozen=True, slots=True)
class Alarm:
    """name: field of AlarmsConfig. about: what it is of where there are several, e.g. "rollout", else "".

    value, limit: what was measured, and the limit that it passed. text: for a person.
    """

    name: str
    about: str
    step: int
    value: float
    limit: float
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.about


@dataclass(frozen=True, slots=True)
class Rule:
    """measure: of (the window's lines, those before, group size), or None where it is not known.

    above: whether too much is the trouble, or too little. text: with {value} and {limit}.
    """

    name: str
    measure: Callable[[Lines, Lines, int], float | None]
    text: str
    above: bool = True
    about: str = ""


class Alarms:
    """Give it every step's line, in order. `fired` counts the alarms raised so far."""

    def __init__(self, config: AlarmsConfig, *, group_size: int):
        self.config, self.group_size = config, group_size
        self.lines: deque[Line] = deque(maxlen=HISTORY + config.window)
        self.standing: dict[tuple[str, str], Alarm] = {}
        self.fired = 0

    def check(self, line: Line) -> tuple[list[Alarm], list[Alarm]]:
        """The alarms that this step raises, and those that it ends."""
        while self.lines and self.lines[-1]["step"] >= line["step"]:
            self.lines.pop()  # a learner that died took these steps with it: they are done again
        self.lines.append(line)
        passed = {alarm.key: alarm for rule in RULES if (alarm := self._check(rule))}
        raised = [alarm for key, alarm in passed.items() if key not in self.standing]
        over = [alarm for key, alarm in self.standing.items() if key not in passed]
        self.standing = {key: self.standing.get(key, alarm) for key, alarm in passed.items()}
        self.fired += len(raised)
        return raised, over

    def _check(self, rule: Rule) -> Alarm | None:
        limit, lines = getattr(self.config, rule.name), list(self.lines)
        window = 1 if rule.name in AT_ONCE else self.config.window
        if limit is None or limit is False or len(lines) < window:
            return None
        value = rule.measure(lines[-window:], lines[:-window], self.group_size)
        limit = float(limit)
        if value is None or not (value >= limit if rule.above else value <= limit):
            return None
        text = rule.text.format(value=value, limit=limit)
        return Alarm(rule.name, rule.about, int(lines[-1]["step"]), value, limit, text)


# What is measured


def _mean(lines: Lines, name: str) -> float | None:
    values = [line[name] for line in lines if isinstance(line.get(name), int | float) and math.isfinite(line[name])]
    return sum(values) / len(values) if values else None


def _mean_of(name: str) -> Callable[[Lines, Lines, int], float | None]:
    return lambda lines, before, group_size: _mean(lines, name)


def _sum(lines: Lines, *names: str) -> float:
    return sum(line.get(name, 0) for line in lines for name in names)


def _no_signal(lines: Lines, before: Lines, group_size: int) -> float | None:
    drawn = _sum(lines, "groups/kept", "groups/dropped_uniform")
    return _sum(lines, "groups/dropped_uniform") / drawn if drawn else None


def _undecided(lines: Lines, before: Lines, group_size: int) -> float | None:
    completions = group_size * _sum(lines, "groups/kept", "groups/dropped_uniform")
    return _sum(lines, "reward/undecided") / completions if completions else None


def _stale(lines: Lines, before: Lines, group_size: int) -> float | None:
    seen = _sum(lines, "groups/kept", "groups/dropped_uniform", "groups/dropped_stale")
    return _sum(lines, "groups/dropped_stale") / seen if seen else None


def _environment_slow(lines: Lines, before: Lines, group_size: int) -> float | None:
    sampling = _sum(lines, "time/rollout")
    return _sum(lines, "time/environment") / sampling if sampling and "time/environment" in lines[-1] else None


def _not_finite(lines: Lines, before: Lines, group_size: int) -> float:
    return sum(isinstance(value, float) and not math.isfinite(value) for value in lines[-1].values())


def _against_before(name: str) -> Callable[[Lines, Lines, int], float | None]:
    """The window's mean over the median of the steps before it, of which there must be as many as in the window."""

    def measure(lines: Lines, before: Lines, group_size: int) -> float | None:
        usual = [line[name] for line in before if line.get(name)]
        now = _mean(lines, name)
        return now / median(usual) if now is not None and len(usual) >= len(lines) else None

    return measure


RULES = (
    Rule(
        "no_signal",
        _no_signal,
        "{value:.0%} of the groups drawn were all right or all wrong (limit {limit:.0%}): most sampling teaches "
        "nothing; choose problems that the model solves sometimes",
    ),
    Rule(
        "no_gradient",
        _mean_of("policy/grad_norm"),
        "the gradient norm was {value:.3g} (limit {limit:.3g}): the step taught nothing; are all advantages 0, or "
        "all completions masked out?",
        above=False,
    ),
    Rule("not_finite", _not_finite, "{value:.0f} of the step's metrics are NaN or infinite"),
    Rule(
        "entropy",
        _mean_of("policy/entropy"),
        "policy entropy fell to {value:.2g} nats a token (limit {limit:.2g}): the policy no longer explores; raise "
        "loss.clip_high or rollout.temperature, or lower learner.lr",
        above=False,
    ),
    Rule(
        "truncated",
        _mean_of("completion/truncated_fraction"),
        "{value:.0%} of the completions were cut at the token limit (limit {limit:.0%}): raise "
        "rollout.max_new_tokens, or set reward.overlong_cache",
    ),
    Rule(
        "undecided",
        _undecided,
        "{value:.0%} of the completions could not be graded and were masked out (limit {limit:.0%}): the reasons "
        "are in the rollouts",
    ),
    Rule(
        "undecided_prompt",
        _mean_of("reward/undecided_prompt"),
        "{value:.0%} of one prompt's completions could not be graded (limit {limit:.0%}): its tests or its answer may "
        "be bad, or the policy has found what the grader cannot decide; the rollouts have the reasons",
    ),
    Rule(
        "environment_failed",
        _mean_of("episode/failed"),
        "the environments of {value:.0%} of the episodes failed and these were masked out (limit {limit:.0%}): the "
        "rollouts have the reasons, the logs of the environment workers what was raised",
    ),
    Rule(
        "environment_slow",
        _environment_slow,
        "episodes wait for their environment for {value:.0%} of the time that sampling takes (limit {limit:.0%}): make "
        "it faster, raise environment.workers, or have more episodes under way (prompts_per_step, max_staleness)",
    ),
    Rule(
        "mismatch",
        _mean_of("policy/mismatch_abs"),
        "log-probabilities of rollout and learner differ by {value:.2g} nats on average (limit {limit:.2g}): compare "
        "rollout.dtype and learner.precision",
    ),
    Rule(
        "judge_drift",
        _mean_of("judge/agreement"),
        "judge and graders agree on {value:.0%} of the completions that both decided (limit {limit:.0%}): the "
        "policy may have found what the judge takes for right; read its verdicts in judge/, and change its template",
        above=False,
    ),
    Rule(
        "stale",
        _stale,
        "{value:.0%} of the groups were dropped as too old (limit {limit:.0%}): raise max_staleness, or add rollout "
        "workers",
    ),
    Rule(
        "slow",
        _against_before("throughput/rollout_tokens_per_s"),
        "rollout throughput fell to {value:.0%} of its median so far (limit {limit:.0%})",
        above=False,
        about="rollout",
    ),
    Rule(
        "slow",
        _against_before("throughput/learner_tokens_per_s"),
        "learner throughput fell to {value:.0%} of its median so far (limit {limit:.0%})",
        above=False,
        about="learner",
    ),
)
AT_ONCE = ("no_gradient", "not_finite", "undecided_prompt")
