"""Options of where metrics go besides metrics.jsonl, TensorBoard and Ray's metrics."""

from typing import Literal

from pydantic import Field

from srm_ray.config.base import Section


class LogConfig(Section):
    """Experiment trackers: optional packages, the extra `track`."""

    wandb: str = Field("", description="Weights & Biases project to log to; empty: off")
    wandb_mode: Literal["online", "offline"] = Field(
        "online", description="offline: into <run_dir>/wandb, for `wandb sync` later"
    )
    mlflow: str = Field("", description="MLflow tracking URI, e.g. file:runs/mlflow or http://host:5000; empty: off")
