"""The compute dtype follows the hardware: looked at, decided, and said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srm_ray.errors import UserError
from srm_ray.model import precision
from srm_ray.model.precision import Hardware

NEW_CPU = Hardware(False, "EPYC 9004", True, "AVX512_BF16")
OLD_CPU = Hardware(False, "Ryzen 5000", False, "AVX2 only", slowdown=39.2)
NEW_GPU = Hardware(True, "A100", True, "compute capability 8")
OLD_GPU = Hardware(True, "T4", False, "compute capability 7.5")
LARGE = 135_000_000


@pytest.mark.parametrize(
    ("hardware", "trains", "answers", "small"),
    [
        (NEW_CPU, "bf16_autocast", "bfloat16", "float32"),
        (OLD_CPU, "float32", "float32", "float32"),
        (NEW_GPU, "bf16_autocast", "bfloat16", "bfloat16"),
        (OLD_GPU, "float16", "float16", "float16"),
    ],
)
def test_auto_is_what_the_hardware_multiplies_fast(hardware: Hardware, trains: str, answers: str, small: str) -> None:
    assert precision.training("auto", hardware) == trains
    assert precision.answering("auto", hardware, LARGE) == answers
    assert precision.answering("auto", hardware, 2_900_000) == small
    assert precision.warning(trains, hardware) == precision.warning(answers, hardware) == ""


@pytest.mark.parametrize("asked", ["bf16_autocast", "bfloat16"])
def test_bf16_by_name_is_emulated_on_a_cpu_with_one_warning(asked: str) -> None:
    assert precision.training(asked, OLD_CPU) == asked
    line = precision.warning(asked, OLD_CPU)
    assert "Ryzen 5000 has no BF16: AVX2 only" in line and "39.2 times as long" in line and "\n" not in line
    assert precision.warning(asked, NEW_CPU) == precision.warning("float32", OLD_CPU) == ""


def test_what_the_hardware_cannot_do_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"float16 is trained with on a GPU.*Ryzen 5000"):
        precision.training("float16", OLD_CPU)
    for decide in (
        lambda: precision.training("bf16_autocast", OLD_GPU),
        lambda: precision.answering("bfloat16", OLD_GPU, 1),
    ):
        with pytest.raises(UserError, match=r"needs a GPU that computes BF16.*T4 has no BF16: compute capability 7.5"):
            decide()
    assert precision.training("float32", OLD_GPU) == "float32"
    assert precision.training("float16", OLD_GPU) == "float16"


def test_the_machine_that_computes_least_decides() -> None:
    assert precision.least([NEW_CPU, OLD_CPU, NEW_CPU]) is OLD_CPU
    assert precision.least([NEW_GPU]) is NEW_GPU


@pytest.mark.parametrize(
    ("flags", "bf16", "why"),
    [
        ({"avx2", "avx512f", "avx512_bf16"}, True, "AVX512_BF16"),
        ({"avx2", "avx512f", "amx_bf16"}, True, "AMX"),
        ({"asimd", "sve", "bf16"}, True, "Arm's BF16 extension"),
        # oneDNN takes BF16 here, and computes it in FP32 by way of conversions.
        ({"avx2", "avx512f", "avx512bw"}, False, "AVX-512 only"),
        ({"avx", "avx2", "fma"}, False, "AVX2 only"),
    ],
)
def test_instructions_decide_on_a_cpu(monkeypatch, flags: set[str], bf16: bool, why: str) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: flags)
    monkeypatch.setattr(precision, "limited", lambda: "")
    found = precision.probe(gpu=False)
    assert (found.bf16, found.why, found.slowdown) == (bf16, why, 0.0)


def test_the_slowdown_is_measured_where_bf16_is_emulated_and_only_there(monkeypatch) -> None:
    monkeypatch.setattr(precision, "limited", lambda: "")
    monkeypatch.setattr(precision, "cpu_flags", lambda: {"avx2"})
    assert precision.probe(gpu=False, measure=True).slowdown > 0
    monkeypatch.setattr(precision, "cpu_flags", lambda: {"avx512_bf16"})
    assert precision.probe(gpu=False, measure=True).slowdown == 0


@pytest.mark.integration
@pytest.mark.parametrize("variable", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"])
def test_a_pytorch_that_is_told_to_see_less_computes_in_fp32(variable: str) -> None:
    program = (
        "import json; from srm_ray.model import precision as p; p.cpu_flags = lambda: {'avx512_bf16', 'avx2'}; "
        "h = p.probe(False); print(json.dumps([h.bf16, h.why, p.training('auto', h)]))"
    )
    told = {**os.environ, variable: "AVX2" if variable.startswith("ONEDNN") else "avx2"}
    done = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True, check=True)
    bf16, why, chosen = json.loads(done.stdout)
    assert (bf16, chosen) == (False, "float32") and "AVX2" in why


@pytest.mark.integration
@pytest.mark.parametrize(
    ("told", "bf16", "name"),
    [("NVIDIA A100-SXM4-80GB, 8.0\n", True, "A100"), ("NVIDIA A100, 8.0\nTesla T4, 7.5\n", False, "T4")],
)
def test_a_gpu_computes_bf16_from_ampere_on(monkeypatch, tmp_path: Path, told: str, bf16: bool, name: str) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\nprintf '{told}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = precision.probe(gpu=True)
    assert found.gpu and found.bf16 == bf16 and name in found.name


@pytest.mark.integration  # loading a model starts a process (uname)
def test_chat_and_the_measurements_of_an_export_answer_in_it(tiny_model, monkeypatch, capsys) -> None:
    from srm_ray.inference.engine import open_engine

    def weights(hardware: Hardware, asked: str = "auto") -> str:
        monkeypatch.setattr(precision, "probe", lambda gpu, measure=False: hardware)
        engine = open_engine(str(tiny_model), dtype=asked)
        assert f"torch.{engine.dtype}" == str(next(engine.model.parameters()).dtype) and engine.dtype in engine.about
        return engine.dtype

    assert weights(NEW_CPU) == "float32"  # small
    monkeypatch.setattr(precision, "SMALL", 1000)
    assert weights(NEW_CPU) == "bfloat16"
    assert weights(OLD_CPU) == "float32"
    assert capsys.readouterr().out == ""
    assert weights(OLD_CPU, "bfloat16") == "bfloat16"
    assert capsys.readouterr().out.count("39.2 times as long") == 1
