"""Options of the alarms: what a run warns of before it fails in silence."""

from typing import Literal

from pydantic import Field

from srm_ray.config.base import Section

AlarmName = Literal[
    "no_signal",
    "no_gradient",
    "not_finite",
    "entropy",
    "truncated",
    "undecided",
    "undecided_prompt",
    "hackable",
    "environment_failed",
    "environment_slow",
    "mismatch",
    "judge_drift",
    "stale",
    "slow",
    "stalled",
]


class AlarmsConfig(Section):
    """Limits at which a run calls for attention, held against the mean of `window` steps; null: off."""

    window: int = Field(5, ge=1, description="steps whose mean a limit is held against")
    no_signal: float | None = Field(0.9, gt=0, le=1, description="share of drawn groups all right or all wrong")
    no_gradient: float | None = Field(0.0, ge=0, description="gradient norm of a step, before clipping, that is none")
    not_finite: bool = Field(True, description="a step's metric that is NaN or infinite")
    entropy: float | None = Field(0.01, gt=0, description="policy entropy that counts as collapsed, nats a token")
    truncated: float | None = Field(0.5, gt=0, le=1, description="share of completions cut at the token limit")
    undecided: float | None = Field(0.05, gt=0, le=1, description="share of completions that no grader could decide")
    undecided_prompt: float | None = Field(
        0.5, gt=0, le=1, description="share of one prompt's completions that no grader could decide, in one step"
    )
    hackable: float | None = Field(
        0.05,
        gt=0,
        le=1,
        description="share of worthless completions of one kind that are graded correct, above chance; null: no probe",
    )
    environment_failed: float | None = Field(
        0.05, gt=0, le=1, description="share of episodes whose environment failed: an exception, a death, a timeout"
    )
    environment_slow: float | None = Field(
        0.5, gt=0, le=1, description="share of the sampling's time that an episode waits for its environment, mean"
    )
    mismatch: float | None = Field(
        0.03, gt=0, description="mean absolute log-probability difference of rollout and learner, nats"
    )
    judge_drift: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="share of checked completions on which judge and graders agree that is too low",
    )
    stale: float | None = Field(0.5, gt=0, le=1, description="share of groups dropped as too many versions old")
    slow: float | None = Field(0.5, gt=0, lt=1, description="tokens/s, as a share of the run's median before")
    stalled: float | None = Field(600, gt=0, description="seconds in which a stage at work finishes nothing")
    stop: tuple[AlarmName, ...] = Field(
        ("not_finite",), description="alarms that end the run; the others are reported and it goes on"
    )
