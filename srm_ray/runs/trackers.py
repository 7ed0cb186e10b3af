"""Experiment trackers: Weights & Biases and MLflow, each one run for one run folder, however often continued.

Their run ids are kept in `<run_dir>/trackers.json`. A continued run logs the steps that it does again a second
time: both trackers show the newer value. A tracker that is away when a run starts is an error; one that goes away
later is reported, and the run goes on.
"""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from srm_ray.config.base import flatten
from srm_ray.config.log import LogConfig
from srm_ray.errors import UserError
from srm_ray.files.atomic import write_atomically
from srm_ray.files.json_file import read_object
from srm_ray.runs.background import Background
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import Mirror


def open_trackers(config: LogConfig, folder: RunFolder, info: dict[str, Any]) -> list[Mirror]:
    """The trackers asked for. info: the run's config, plain. Raises UserError where a package or a server lacks."""
    opened: list[Mirror] = []
    if config.wandb:
        opened.append(Background(Wandb(config.wandb, config.wandb_mode, folder, info), "Weights & Biases"))
    if config.mlflow:
        opened.append(Background(Mlflow(config.mlflow, folder, info), "MLflow"))
    return opened


class Wandb:
    """One W&B run. mode: "online", or "offline" into `<run_dir>/wandb`."""

    def __init__(self, project: str, mode: str, folder: RunFolder, info: dict[str, Any]):
        try:
            import wandb
        except ImportError:
            raise UserError("log.wandb needs a package that is not installed: pip install 'srm-ray[track]'") from None
        known = _read_ids(folder)
        run_id = known.get("wandb") or uuid.uuid4().hex[:12]
        try:
            self.run = wandb.init(
                project=project,
                dir=str(folder.path.absolute()),
                mode="offline" if mode == "offline" else "online",
                id=run_id,
                resume="allow",
                name=folder.path.name,
                config=info,
                settings=wandb.Settings(silent=True, console="off", disable_code=True),
            )
        except (wandb.errors.Error, OSError) as error:
            raise UserError(f"--log.wandb {project}: {error}; --log.wandb_mode offline needs no server") from None
        _write_ids(folder, known | {"wandb": run_id})

    def write(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def flush(self) -> None:
        """W&B writes as it goes."""

    def close(self) -> None:
        import wandb

        self.run.finish()
        wandb.teardown()  # its service writes on after `finish`: this waits for its end


class Mlflow:
    """One MLflow run in the experiment `srm_ray` of a tracking URI."""

    def __init__(self, uri: str, folder: RunFolder, info: dict[str, Any]):
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise UserError("log.mlflow needs a package that is not installed: pip install 'srm-ray[track]'") from None
        if "://" not in uri or uri.startswith("file:"):
            # MLflow 3 refuses a folder unless this says that it is meant; the small client has no other local store.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = Path(uri.removeprefix("file:").removeprefix("//")).absolute().as_uri()
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its default waits for minutes
        known = _read_ids(folder)
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.run_id = known.get("mlflow") or self._create(folder, info)
        except (MlflowException, OSError) as error:
            raise UserError(f"--log.mlflow {uri}: {error}") from None
        _write_ids(folder, known | {"mlflow": self.run_id})

    def _create(self, folder: RunFolder, info: dict[str, Any]) -> str:
        found = self.client.get_experiment_by_name("srm_ray")
        experiment = found.experiment_id if found else self.client.create_experiment("srm_ray")
        run_id = self.client.create_run(experiment, run_name=folder.path.name).info.run_id
        for name, value in flatten(info).items():
            self.client.log_param(run_id, name, value)
        return run_id

    def write(self, step: int, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(self.run_id, [Metric(name, value, now, step) for name, value in values.items()])

    def flush(self) -> None:
        """Every step is written at once."""

    def close(self) -> None:
        self.client.set_terminated(self.run_id)


def _read_ids(folder: RunFolder) -> dict[str, str]:
    return read_object(folder.trackers, "remove it") if folder.trackers.is_file() else {}


def _write_ids(folder: RunFolder, ids: dict[str, str]) -> None:
    write_atomically(folder.trackers, json.dumps(ids) + "\n")
