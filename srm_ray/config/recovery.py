"""Options of how a run goes on after failures, and of when it ends."""

from pydantic import Field

from srm_ray.config.base import Section


class RecoveryConfig(Section):
    """What happens when a worker dies or hangs."""

    restarts: int = Field(
        10, ge=0, description="workers of one role replaced within `window` seconds before the run gives up"
    )
    window: float = Field(600, gt=0, description="seconds over which restarts are counted")
    backoff: float = Field(
        1.0, ge=0, description="seconds before the second replacement in a window, doubled for each further one"
    )
    ping_every: float = Field(5.0, gt=0, description="seconds between the watchdog's rounds")
    hung_after: float = Field(
        60.0,
        gt=0,
        description="seconds without progress (an engine step, a graded completion, an answer) after which a worker is "
        "ended and replaced; more for a first step, where steps took longer before, and while its process computes",
    )


class CheckpointConfig(Section):
    """Checkpoints, from which a killed run continues."""

    every: int = Field(10, ge=1, description="steps between checkpoints")
    keep: int = Field(2, ge=1, description="newest checkpoints kept")
    last_timeout: float = Field(
        120.0, gt=0, description="seconds for which a run that ends early waits for its last checkpoint"
    )


class StopConfig(Section):
    """When a run ends before its last step."""

    solved: float | None = Field(
        0.999,
        gt=0,
        le=1,
        description="share of right completions, of those sampled in `window` steps, at which the run ends well; "
        "null: never",
    )
    window: int = Field(5, ge=1, description="steps over which `solved` is taken")
    starved: int | None = Field(
        3,
        ge=1,
        description="steps in a row without one group with signal after which the run ends, and says why; null: never",
    )
