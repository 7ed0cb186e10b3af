"""Weights & Biases and MLflow in their offline modes: what they keep is what the run logged, in one run each."""

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from srm_ray.config.log import LogConfig
from srm_ray.errors import UserError
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog
from srm_ray.runs.trackers import open_trackers

FACTS = {"seed": 7, "rollout": {"workers": 2}, "model": None}


def needs(package: str) -> pytest.MarkDecorator:
    reason = f"NOT TESTED: {package} is not installed (pip install -e '.[track]')"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "my run", stage="grpo")
    made.create()
    return made


def log_steps(folder: RunFolder, config: LogConfig, first: int, last: int) -> None:
    log = MetricsLog(folder.metrics, trackers=open_trackers(config, folder, FACTS))
    for step in range(first, last + 1):
        log.write({"step": step, "reward/mean": step / 8, "policy/entropy": 0.5, "note": "not a number"})
    log.close()


@pytest.mark.integration
@needs("mlflow")
def test_mlflow_in_a_folder(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    config = LogConfig(mlflow=f"file:{tmp_path / 'mlruns'}")
    log_steps(folder, config, 1, 2)
    log_steps(folder, config, 3, 4)  # continued

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("srm_ray")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.run_name for run in runs] == ["my run"]
    assert runs[0].data.params == {"seed": "7", "rollout.workers": "2", "model": "None"}
    history = client.get_metric_history(runs[0].info.run_id, "reward/mean")
    assert [(one.step, one.value) for one in history] == [(1, 0.125), (2, 0.25), (3, 0.375), (4, 0.5)]
    assert set(runs[0].data.metrics) == {"reward/mean", "policy/entropy"}


@pytest.mark.integration
@needs("wandb")
def test_wandb_offline(folder: RunFolder) -> None:
    config = LogConfig(wandb="project", wandb_mode="offline")
    log_steps(folder, config, 1, 2)
    log_steps(folder, config, 3, 4)  # continued: `wandb sync` joins both parts by their id
    parts = sorted(folder.path.glob("wandb/offline-run-*/*.wandb"))
    assert len(parts) == 2
    assert len({part.name for part in parts}) == 1
    found = [record for part in parts for record in wandb_records(part)]
    assert {record.run.project for record in found if record.HasField("run")} == {"project"}
    steps = [record.history for record in found if record.HasField("history")]
    logged = [
        (step.step.num, {"/".join(item.nested_key) or item.key: item.value_json for item in step.item})
        for step in steps
    ]
    assert [(step, float(values["reward/mean"])) for step, values in logged] == [
        (1, 0.125), (2, 0.25), (3, 0.375), (4, 0.5)
    ]  # fmt: skip


def wandb_records(path: Path) -> Iterator[Any]:
    """W&B's offline file: 7 bytes, then LevelDB's log format (crc, length, type), each record a protobuf message."""
    from wandb.proto import wandb_internal_pb2

    data, at = path.read_bytes(), 7
    assert len(data) < 32768, "records of a longer file cross blocks, which this does not read"
    while at + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, at + 4)
        assert kind == 1
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[at + 7 : at + 7 + length])
        yield record
        at += 7 + length


def test_nothing_is_opened_unasked(folder: RunFolder) -> None:
    assert open_trackers(LogConfig(), folder, FACTS) == []
    assert not folder.trackers.exists()


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_said(folder: RunFolder, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "mlflow", "mlflow.exceptions", "mlflow.tracking"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(UserError, match=rf"log\.{package} needs a package .* pip install 'srm-ray\[track\]'"):
        open_trackers(LogConfig.model_validate({package: "x"}), folder, FACTS)


@pytest.mark.integration
@needs("mlflow")
def test_a_server_that_is_not_there_is_said(folder: RunFolder) -> None:
    with pytest.raises(UserError, match=r"--log\.mlflow http://127\.0\.0\.1:9"):
        open_trackers(LogConfig(mlflow="http://127.0.0.1:9"), folder, FACTS)
