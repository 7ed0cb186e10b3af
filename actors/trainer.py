"""Supervised training on Ray Train V2: one DeepSpeed rank in each Ray Train worker.

    driver: run(job) -> TorchTrainer -> train(job) on every rank
    rank:   rows named by (seed, step) -> its share -> micro-batches -> loss sum / N -> DeepSpeed -> step

N is the number of loss tokens in the whole step, over all ranks and micro-batches. Every rank knows
it from the rows themselves, so loss and gradient do not depend on how the step is divided.

DeepSpeed holds FP32 parameters (the master weights); the model's own forward pass computes in BF16
autocast. Autocast is entered inside the module, not around the engine, so that gradients are
reduced over ranks in FP32.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from srm_ray.data.packing import Rows, batch_rows, open_rows
from srm_ray.errors import RunError
from srm_ray.model.folder import LINEAGE
from srm_ray.model.optimisation import Schedule

Progress = Callable[[str], None]
ZERO_BF16 = "bf16"


@dataclass(frozen=True, slots=True)
class TrainJob:
    """All that a rank needs to know; plain values, so that it travels to any node.

    name: shown on progress lines. Example: "pretrain".
    model: Hugging Face folder to start from, tokenizer included.
    rows: folder of packed rows (see `srm_ray.data.packing.save_rows`).
    destination: where the trained Hugging Face folder goes.
    batch_rows: rows in an optimizer step, over all ranks. micro_rows: rows in one forward pass of one rank.
    precision: "autocast" (FP32 weights, BF16 compute), "bf16" (DeepSpeed's BF16 with FP32 masters) or "fp32".
    """

    name: str
    model: str
    rows: str
    destination: str
    schedule: Schedule
    batch_rows: int
    micro_rows: int
    seed: int
    loss: str = "nll"
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0
    precision: str = "autocast"
    zero_stage: int = 0
    lineage: dict[str, Any] = field(default_factory=dict)


# Driver side


def run(jobs: Sequence[TrainJob], *, workers: int, storage: Path, progress: Progress = print) -> Path:
    """Run `jobs` one after the other on `workers` Ray Train workers of an initialised Ray, each from
    what the one before left; returns the last one's destination.

    Ray Train restarts the workers when one dies. Raises `RunError` naming the cause when they die
    again and again.
    """
    import ray
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import LoggingConfig

    gpus = int(ray.cluster_resources().get("GPU", 0)) >= workers
    cpus = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
    log = storage / "progress.log"
    storage.mkdir(parents=True, exist_ok=True)
    trainer = TorchTrainer(
        train,
        train_loop_config={"jobs": list(jobs), "log": str(log)},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu=gpus, resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpus else {})}
        ),
        run_config=ray.train.RunConfig(
            name=jobs[0].name.replace(" ", "-"),
            storage_path=str(storage.absolute()),
            failure_config=ray.train.FailureConfig(max_failures=3),
            logging_config=LoggingConfig(log_level="ERROR"),
            worker_runtime_env={"env_vars": worker_environment(gpus, cpus)},
        ),
    )
    with Follow(log, progress):
        try:
            trainer.fit()
        except ray.train.v2.api.exceptions.TrainingFailedError as error:
            raise RunError(f"{jobs[0].name}: {error}") from error
    return Path(jobs[-1].destination)


def worker_environment(gpus: bool, cpus: int) -> dict[str, str]:
    common = {"OMP_NUM_THREADS": str(cpus), "TOKENIZERS_PARALLELISM": "false", "DS_LOG_LEVEL": "error"}
    return common if gpus else {**common, "DS_ACCELERATOR": "cpu"}


class Follow:
    """Hands each line that is appended to a file to `progress`, from a thread, while the block runs."""

    def __init__(self, path: Path, progress: Progress, every: float = 0.5) -> None:
        self._path, self._progress, self._every = path, progress, every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._seen = path.stat().st_size if path.exists() else 0

    def __enter__(self) -> "Follow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        while True:
            last = self._done.wait(self._every)
            if self._path.exists():
                with self._path.open("rb") as file:
                    file.seek(self._seen)
                    text = file.read()
                whole = text[: text.rfind(b"\n") + 1]
                self._seen += len(whole)
                for line in whole.decode().splitlines():
                    self._progress(line)
            if last:
                return


# Rank side


def train(settings: dict[str, Any]) -> None:
    """The training function of every rank. After a restart, jobs that are done stay done."""
    for job in settings["jobs"]:
        if not (Path(job.destination) / LINEAGE).is_file():
            train_one(job, Path(settings["log"]))


def train_one(job: TrainJob, progress_file: Path) -> None:
    import ray.train
    import torch

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    if not torch.cuda.is_available():
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(job.seed)
    rows = open_rows(Path(job.rows))
    engine = start_engine(job, world)
    log = progress_file if rank == 0 else None
    clock = Clock(job.schedule.steps)
    for step in range(job.schedule.steps):
        batch = rows.take(batch_rows(len(rows), step, job.batch_rows, job.seed))
        loss, grad_norm = optimizer_step(engine, job, batch, step, rank, world)
        if log:
            line = clock.line(job.name, step + 1, loss, batch.tokens.size, grad_norm)
            with log.open("a") as file:
                file.write(line + "\n")
    export(engine, job, rank)


def start_engine(job: TrainJob, world: int) -> Any:
    """Load the model and hand it, with its optimizer, to DeepSpeed."""
    import logging

    import deepspeed
    import torch
    from transformers import AutoModelForCausalLM

    from srm_ray.model.folder import LINEAGE
from srm_ray.model.optimisation import decay_groups

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    model.train()
    module = loss_module(model, job)
    optimizer = torch.optim.AdamW(
        decay_groups(module, job.weight_decay), lr=job.schedule.at(0), betas=job.betas, eps=job.eps, fused=True
    )
    engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=deepspeed_config(job, world))
    return engine


def deepspeed_config(job: TrainJob, world: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": job.micro_rows,
        "gradient_accumulation_steps": accumulation(job, world),
        "gradient_clipping": job.clip if job.zero_stage else 0.0,
        "zero_optimization": {"stage": job.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": job.precision == ZERO_BF16},
        "steps_per_print": 1_000_000_000,
    }


def accumulation(job: TrainJob, world: int) -> int:
    """Micro-batches of a rank in one optimizer step."""
    return job.batch_rows // (job.micro_rows * world)


def loss_module(model: Any, job: TrainJob) -> Any:
    """A module whose forward pass returns the summed loss of a micro-batch."""
    import contextlib

    import torch

    from srm_ray.model.losses import TOKEN_LOSSES, target_logprobs

    class SummedLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens_BT: Any, positions_BT: Any, mask_BT: Any) -> Any:
            kind = tokens_BT.device.type
            reduced = job.precision == "autocast"
            with torch.autocast(kind, torch.bfloat16) if reduced else contextlib.nullcontext():
                logprobs_N = target_logprobs(self.model, tokens_BT, positions_BT, mask_BT)
            return TOKEN_LOSSES[job.loss](logprobs_N)

    return SummedLoss()


def optimizer_step(
    engine: Any, job: TrainJob, batch: Rows, step: int, rank: int, world: int
) -> tuple[float, float]:
    """One optimizer step on `batch`; returns the step's loss, the mean over its N loss tokens, and
    the gradient's norm before clipping.

    DeepSpeed averages gradients over ranks, so each rank's part is multiplied by their number.
    """
    import torch
    import torch.distributed as dist

    tokens_in_step = max(1, batch.targets)
    mine = batch.take(slice(rank, None, world))
    for group in engine.optimizer.param_groups:
        group["lr"] = job.schedule.at(step)
    total = torch.zeros((), device=engine.device)
    for start in range(0, len(mine), job.micro_rows):
        part = to_device(mine.take(slice(start, start + job.micro_rows)), engine.device)
        loss_sum = engine(*part)
        engine.backward(loss_sum * (world / tokens_in_step), scale_wrt_gas=False)
        if job.zero_stage == 0 and engine.is_gradient_accumulation_boundary():
            # Without ZeRO and in FP32, DeepSpeed clips but does not tell the norm.
            norm = float(torch.nn.utils.clip_grad_norm_(engine.module.parameters(), job.clip))
        engine.step()
        total += loss_sum.detach()
    if world > 1:
        dist.all_reduce(total)
    return float(total) / tokens_in_step, norm if job.zero_stage == 0 else float(engine.get_global_grad_norm())


def to_device(rows: Rows, device: Any) -> tuple[Any, Any, Any]:
    import numpy as np
    import torch

    return (
        torch.from_numpy(np.asarray(rows.tokens, np.int64)).to(device),
        torch.from_numpy(np.asarray(rows.positions, np.int64)).to(device),
        torch.from_numpy(np.array(rows.mask)).to(device),
    )


def export(engine: Any, job: TrainJob, rank: int) -> None:
    """Write the Hugging Face folder: FP32 weights, config, tokenizer, lineage. All ranks take part."""
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    for name, weight in engine.module.model.named_parameters():
        full = weight if not engine.zero_optimization() else safe_get_full_fp32_param(weight)
        if rank == 0:
            weights[name] = full.detach().float().cpu().contiguous()
    if rank == 0:
        from srm_ray.model.folder import save_model

        save_model(engine.module.model, weights, Path(job.destination), tokenizer_from=job.model, lineage=job.lineage)


class Clock:
    """Progress lines with tokens per second and time left."""

    def __init__(self, steps: int) -> None:
        self._steps, self._first, self._tokens, self._done = steps, time.perf_counter(), 0, 0

    def line(self, name: str, step: int, loss: float, tokens: int, grad_norm: float) -> str:
        self._tokens += tokens
        self._done += 1
        passed = time.perf_counter() - self._first
        left = passed / self._done * (self._steps - step)
        return (
            f"{name} {step}/{self._steps}  loss {loss:.4f}  grad_norm {grad_norm:.2f}  "
            f"{self._tokens / passed:,.0f} tokens/s  {passed:.0f} s, {left:.0f} s left"
        )


def job_record(job: TrainJob) -> dict[str, Any]:
    """The job as plain values, for lineage and fingerprints."""
    return asdict(job)
