"""BF16 where the hardware computes in it, else FP16 with loss scaling, found out without being told."""

from dataclasses import replace

import pytest
import torch

from actors.train import run
from srm_ray.training.schedule import Schedule

JOB = run.TrainJob(
    name="sft",
    model="m",
    rows="r",
    destination="d",
    schedule=Schedule(peak=1e-3, floor=1e-4, steps=6, warmup=2),
    batch=4,
    micro_batch=2,
    seed=3,
)


@pytest.mark.parametrize(
    ("bf16", "asked", "taken"),
    [
        (True, "autocast", "autocast"),
        (True, "bf16", "bf16"),
        (False, "autocast", "fp16"),
        (False, "bf16", "fp16"),
        (False, "fp32", "fp32"),
    ],
)
def test_the_precision_is_what_the_gpu_has(monkeypatch, bf16: bool, asked: str, taken: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    assert run.available(asked) == taken
    config = run.deepspeed_config(replace(JOB, precision=taken), 1)
    assert config["fp16"]["enabled"] == (taken == "fp16") and config["bf16"]["enabled"] == (taken == "bf16")
    assert config["gradient_clipping"] == (0.0 if taken in ("autocast", "fp32") else JOB.clip)


def test_a_cpu_computes_in_bf16() -> None:
    assert run.available("autocast") == "autocast"
