"""Which dtype a run computes in: what its hardware multiplies fast. Decided here, and nowhere else.

    probe(gpu) -> Hardware of this machine          actors.runtime.compute asks the machines of a cluster
    training("auto", hardware)            -> bf16_autocast | float32 (CPU) | float16 (GPU)   learner, Ray Train stages
    answering("auto", hardware, weights)  -> bfloat16 | float32 (CPU) | float16 (GPU)        engines, chat, measurements

BF16 counts where there are instructions for it: AVX512_BF16 or AMX, Arm's BF16 extension, GPUs from Ampere on.
Elsewhere a CPU emulates it: a matrix product then takes some ten to fifty times as long as in FP32.

In training the master weights are FP32 with every precision. A small model answers in FP32 on any CPU: its weights
stay in the cache, so that BF16 is no faster, and the log-probabilities that it samples with are then within 1e-3 to
3e-3 of a learner's that computes BF16 products.
"""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.config.precision import AUTO
from srm_ray.errors import UserError

if TYPE_CHECKING:
    import torch

BF16_FLAGS = {"avx512_bf16": "AVX512_BF16", "amx_bf16": "AMX", "bf16": "Arm's BF16 extension"}
# oneDNN's limits (ONEDNN_MAX_CPU_ISA) below which it has no BF16 instructions.
BELOW_BF16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
AMPERE = 8.0  # compute capability
SMALL = 16_000_000  # parameters


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one process computes on.

    gpu: a GPU, else a CPU. name: its maker's. bf16: whether it computes BF16. why: what says so, e.g. "AVX512_BF16".
    slowdown: time of a BF16 product in times of an FP32 one, measured where BF16 is emulated; 0: not measured.
    """

    gpu: bool
    name: str
    bf16: bool
    why: str
    slowdown: float = 0.0

    def __str__(self) -> str:
        return f"{self.name} computes BF16: {self.why}" if self.bf16 else f"{self.name} has no BF16: {self.why}"


# Looking


def probe(gpu: bool, measure: bool = False) -> Hardware:
    """This machine. measure: find the slowdown of emulated BF16 too, some tenths of a second."""
    return probe_gpus() if gpu else probe_cpu(measure)


def probe_cpu(measure: bool = False) -> Hardware:
    name, flags = cpu_name(), cpu_flags()
    extension = next((name for flag, name in BF16_FLAGS.items() if flag in flags), "")
    limit = limited()
    if extension and not limit:
        return Hardware(False, name, True, extension)
    why = f"{limit}" if extension else f"{vector_width(flags)} only"
    return Hardware(False, name, False, why, slowdown_of_bf16() if measure else 0.0)


def cpu_flags() -> Collection[str]:
    """Instruction sets as Linux names them, x86's `flags` or Arm's `Features`; none on other systems."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.is_file() else ():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(values.split())
    return set()


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def vector_width(flags: Collection[str]) -> str:
    """The widest vectors of a processor without BF16, for a person."""
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sve": "SVE", "asimd": "NEON"}
    return next((name for flag, name in known.items() if flag in flags), platform.machine())


def limited() -> str:
    """What keeps PyTorch or oneDNN from the BF16 instructions that the processor has; "" where nothing does."""
    import torch

    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        if os.environ.get(variable, "").upper() in BELOW_BF16:
            return f"{variable}={os.environ[variable]}"
    capability = torch.backends.cpu.get_cpu_capability()
    if capability in ("DEFAULT", "NO AVX", "AVX2") and platform.machine() in ("x86_64", "AMD64"):
        return f"PyTorch uses {capability}"
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "oneDNN does not use it"
    return ""


def slowdown_of_bf16() -> float:
    """Time of a product of 1,024 x 256 and 256 x 640 in BF16, in times of the same in FP32: the best of three each."""
    import torch

    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 640, dtype=dtype)
        left @ right
        taken = []
        for _ in range(3):
            began = time.perf_counter()
            left @ right
            taken.append(time.perf_counter() - began)
        seconds[dtype] = min(taken)
    return seconds[torch.bfloat16] / seconds[torch.float32]


def probe_gpus() -> Hardware:
    """The GPU that computes least of those here; where there is none, one that computes BF16 (placement says so)."""
    found = gpus()
    if not found:
        return Hardware(True, "no GPU here", True, "unknown")
    name, capability = min(found, key=lambda one: one[1])
    return Hardware(True, name, capability >= AMPERE, f"compute capability {capability:g}")


def gpus() -> list[tuple[str, float]]:
    """(name, compute capability) of each, as the driver lists them: PyTorch would take memory of each to say so."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return gpus_by_torch()
    lines = [line.rpartition(",") for line in listing.splitlines() if line.strip()]
    return [(name.strip(), float(capability)) for name, _, capability in lines]


def gpus_by_torch() -> list[tuple[str, float]]:
    import torch

    if not torch.cuda.is_available():
        return []
    every = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [(one.name, one.major + one.minor / 10) for one in every]


def least(machines: Iterable[Hardware]) -> Hardware:
    """Of machines that work together, the one that computes least: all of them must be able to do it."""
    return min(machines, key=lambda one: (one.bf16, -one.slowdown))


# Deciding


def training(asked: str, hardware: Hardware) -> str:
    """The precision of a learner or a training stage. Raises `UserError` for one that the hardware does not have."""
    if asked == AUTO:
        return "bf16_autocast" if hardware.bf16 else "float16" if hardware.gpu else "float32"
    if asked == "float16" and not hardware.gpu:
        raise UserError(
            f"float16 is trained with on a GPU, and this runs on a CPU ({hardware.name}): a new run takes auto, one "
            "that began on a GPU goes on there"
        )
    refuse_bf16_on_old_gpus(asked, hardware)
    return asked


def answering(asked: str, hardware: Hardware, parameters: int) -> str:
    """The dtype of a model that answers. parameters: of the model. Raises `UserError` as `training` does."""
    if asked == AUTO:
        if hardware.gpu:
            return "bfloat16" if hardware.bf16 else "float16"
        return "bfloat16" if hardware.bf16 and parameters > SMALL else "float32"
    refuse_bf16_on_old_gpus(asked, hardware)
    return asked


def refuse_bf16_on_old_gpus(asked: str, hardware: Hardware) -> None:
    if is_bf16(asked) and hardware.gpu and not hardware.bf16:
        raise UserError(
            f"{asked} needs a GPU that computes BF16 (Ampere or newer), {hardware}: a new run takes auto, one "
            "that began elsewhere goes on there"
        )


def is_bf16(chosen: str) -> bool:
    return chosen in ("bf16_autocast", "bfloat16")


def warning(chosen: str, hardware: Hardware) -> str:
    """One line where BF16 is asked for and emulated; else ""."""
    if not is_bf16(chosen) or hardware.bf16:
        return ""
    measured = f", and takes {hardware.slowdown:.3g} times as long as FP32 here" if hardware.slowdown else ""
    return f"warning: {chosen} is emulated ({hardware}){measured}; auto takes float32"


def here(asked: str, parameters: int, report: Callable[[str], None]) -> str:
    """The dtype for a model of so many parameters that answers in this process; a warning is printed."""
    import torch

    found = probe(torch.cuda.is_available(), is_bf16(asked))
    chosen = answering(asked, found, parameters)
    if line := warning(chosen, found):
        report(line)
    return chosen


def parameters_of(model: str) -> int:
    """Of a model folder or hub name, from its config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        return sum(w.numel() for w in AutoModelForCausalLM.from_config(config).parameters())


def torch_dtype(name: str) -> "torch.dtype | None":
    """Of products: None for FP32. name: of a precision in training."""
    import torch

    if name == AUTO:
        raise ValueError("auto stands for no dtype before the hardware was asked")
    return {"float32": None, "float16": torch.float16}.get(name, torch.bfloat16)
