"""Options of what is learned from: the algorithm and its loss."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from srm_ray.config.base import Section


class AlgorithmConfig(Section):
    """What is learned from: advantage, loss and choice of groups (srm_ray.rl.algorithms, docs/algorithms.md)."""

    shorthand: ClassVar[str | None] = "name"

    name: str = Field(
        "",
        description="grpo, dapo, dr_grpo, gspo, cispo, rloo, reinforce_plus_plus, maxrl, sapo, on_policy_distillation, "
        "or a module of your own, package.module; empty: dapo, with a teacher on_policy_distillation",
    )
    advantage: str = Field(
        "", description="another advantage than the algorithm's: package.module:function, or an algorithm's name"
    )
    loss: str = Field("", description="another loss than the algorithm's, in the same way")
    choice: str = Field("", description="another choice of the groups to train on, in the same way")


class LossConfig(Section):
    """The policy loss: options of the algorithms, and what all of them share (srm_ray.rl.loss)."""

    shorthand: ClassVar[str | None] = "name"

    name: Literal["", "dapo", "dr_grpo", "gspo", "cispo"] = Field(
        "", description="`algorithm` by its former option, with the token mean unless `normalisation` says otherwise"
    )
    clip_low: float = Field(0.20, ge=0, lt=1, description="ratio is clipped below 1 - clip_low")
    clip_high: float = Field(0.28, ge=0, description="ratio is clipped above 1 + clip_high")
    normalisation: Literal["tokens", "sequences", "constant"] | None = Field(
        None,
        description="denominator: tokens of the step, mean of sequence means, or a constant length; null: the "
        "algorithm's own, dapo's is tokens",
    )
    normalise_std: bool | None = Field(
        None,
        description="divide advantages by the group's standard deviation; null: as the algorithm does, dapo does",
    )
    tau_positive: float = Field(1.0, gt=0, description="sapo: temperature of the gate where the advantage is positive")
    tau_negative: float = Field(1.05, gt=0, description="sapo: temperature of the gate where it is not")
    importance_cap: float | None = Field(
        2.0, gt=0, description="truncated importance sampling of rollout against learner; null: off"
    )
    importance_band: tuple[float, float] | None = Field(
        None, description="IcePop: mask tokens whose ratio lies outside [low, high]"
    )
    importance_level: Literal["token", "sequence", "geometric"] = Field(
        "token",
        description="what cap and band hold: each token's ratio, the product of a completion's, or its geometric mean",
    )
    ratio_against: Literal["learner", "rollout"] | None = Field(
        None,
        description="whose log-probabilities the ratio is against: the learner's own before the step, so that it is 1 "
        "in a step's first update and importance_cap holds the sampler's mismatch; or the sampler's (rollout), so that "
        "stale tokens are clipped, and importance_cap does nothing; null: rollout with max_staleness above 0, one "
        "update a step and a loss that clips, else learner",
    )
    entropy_beta: float = Field(
        0.0, ge=0, description="weight of the entropy bonus, nats a token; with a target the weight to begin with"
    )
    entropy_target: float | None = Field(
        None,
        ge=0,
        description="nats a token: the bonus acts at or below it, and its weight follows; null: always the same weight",
    )
    entropy_change: float = Field(
        0.005, ge=0, description="what the weight grows by in a step below the target, and falls by above it"
    )
    entropy_top: float = Field(
        1.0, gt=0, le=1, description="share of the tokens, those of the highest entropy, that the policy loss is of"
    )
    kl_beta: float = Field(
        0.0, ge=0, description="weight of KL against the starting model; 0: no reference model is loaded"
    )
    filter_overlong: bool = Field(False, description="mask truncated completions out of the loss")

    @property
    def entropy_bonus(self) -> bool:
        """Whether there may be one."""
        return bool(self.entropy_beta or self.entropy_target is not None)

    @field_validator("importance_band")
    @classmethod
    def _low_to_high(cls, band: tuple[float, float] | None) -> tuple[float, float] | None:
        if band is not None and not 0 <= band[0] < band[1]:
            raise ValueError("a band is [low, high] with 0 <= low < high")
        return band
