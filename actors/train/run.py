"""Supervised and preference training on Ray Train V2: one DeepSpeed rank in each Ray Train worker.

    driver: run(jobs) -> TorchTrainer -> train(jobs) on every rank
    rank:   rows named by (seed, step) -> its share -> micro-batches -> loss sum / N -> DeepSpeed -> step

N is the number of loss tokens (or pairs) in the whole step, over all ranks and micro-batches. Every
rank knows it from the rows themselves, so loss and gradient do not depend on how a step is divided.

DeepSpeed holds FP32 parameters (the master weights); where the precision is bf16_autocast the model's own
forward pass computes in it, entered inside the module, not around the engine, so that gradients are reduced
over ranks in FP32.

A step is a pure function of weights, optimizer state and (seed, step). So the newest complete
checkpoint and its number are all that resuming needs, whether Ray Train restarted a dead worker or
the user ran the command again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.rollout.engine_spec import cores_each
from actors.runtime import env
from actors.runtime.compute import trains_on_gpus
from actors.train.follow import Follow
from srm_ray.console import interrupts, output
from srm_ray.console.progress import duration, phase
from srm_ray.data.packing import Rows, batch_rows, open_rows
from srm_ray.errors import RunError
from srm_ray.model.adapters import Adapter
from srm_ray.model.folder import LINEAGE, replacing
from srm_ray.model.lineage import read_lineage
from srm_ray.training.schedule import Schedule

Progress = Callable[[str], None]
TELL_EVERY = 2.0  # seconds between two records of a rank that is within a step
SAY_EVERY = 20.0  # seconds between two lines, at most, where steps are short enough


@dataclass(frozen=True, slots=True)
class TrainJob:
    """All that a rank needs to know; plain values, so that it travels to any node.

    name: shown on progress lines. Example: "pretrain".
    model: Hugging Face folder to start from, tokenizer included.
    rows: folder of packed rows (see `srm_ray.data.packing.save_rows`); for preference losses rows
        2i and 2i + 1 are the chosen and the rejected completion of pair i.
    eval_rows: rows whose loss is measured and never trained on; "": none.
    destination: where the trained Hugging Face folder goes.
    run_dir: run folder for metrics and checkpoints; "": none are kept.
    batch, micro_batch: rows (or pairs) in an optimizer step over all ranks; in one forward pass of a rank.
    shuffle: whether (seed, epoch) permutes the rows; rows of a curriculum are read in their order.
    loss: a name in `TOKEN_LOSSES` or `PAIR_LOSSES`. beta: of the preference losses.
    say_every: steps between progress lines. neftune: NEFTune's alpha.
    precision: of `srm_ray.model.precision.training`: "float32", "bf16_autocast" (FP32 weights, BF16 products),
        "bfloat16", "float16" (both with FP32 masters, the latter with loss scaling).
    """

    name: str
    model: str
    rows: str
    destination: str
    schedule: Schedule
    batch: int
    micro_batch: int
    seed: int
    run_dir: str = ""
    eval_rows: str = ""
    eval_every: int = 100
    best: bool = True
    checkpoint_every: int = 100
    keep: int = 3
    say_every: int = 1
    shuffle: bool = True
    loss: str = "nll"
    beta: float = 0.1
    neftune: float = 0.0
    adapter: Adapter | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0
    adam_bits: int = 32
    precision: str = "float32"
    zero_stage: int = 0
    activation_checkpointing: bool = False
    liger: bool = False
    compile: bool = False
    attention: str = "sdpa"
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def pairs(self) -> bool:
        return self.loss in ("dpo", "apo_zero")


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
    from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    gpus = trains_on_gpus(workers)
    # One CPU is reserved for a worker, as `placement.require` checked; others may hold the rest of a shared cluster.
    threads = cores_each(workers)
    os.environ.setdefault(
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600"
    )  # Ray's own minute is short on a slow machine
    log = storage / "progress.log"
    storage.mkdir(parents=True, exist_ok=True)
    trainer = TorchTrainer(
        train,
        train_loop_config={"jobs": list(jobs), "log": str(log)},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu=gpus, resources_per_worker={"CPU": 1, **({"GPU": 1} if gpus else {})}
        ),
        run_config=RunConfig(  # type: ignore[arg-type]  # Ray annotates V1's class, and wants V2's
            name=f"{jobs[0].name.replace(' ', '-').replace(':', '')}-{os.getpid()}-{time.time_ns()}",
            storage_path=str(storage.absolute()),
            failure_config=FailureConfig(max_failures=3, controller_failure_limit=1),
            logging_config=LoggingConfig(log_level="ERROR"),
            worker_runtime_env={"env_vars": worker_environment(gpus, threads)},
        ),
    )
    with phase(f"{jobs[0].name}: starting {workers} Ray Train worker(s)", told=True) as bar, Follow(log, bar, progress):
        try:
            # In the main thread Ray would take Ctrl-C over, and end with status 0.
            interrupts.in_thread(trainer.fit)
        except TrainingFailedError as error:
            raise RunError(f"{jobs[0].name}: {last_line(error)}") from error
    return Path(jobs[-1].destination)


ENDED_BY_RAY = (  # (what Ray Train says, what it means)
    ("worker group startup timed out", "its workers found no room on the cluster; lower workers, or end what holds it"),
    (
        "health check has been hanging",
        "a worker that did not answer for minutes was ended (RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S raises it)",
    ),
)


def last_line(error: BaseException) -> str:
    """The cause in a training error, whose text is a traceback."""
    for sign, meaning in ENDED_BY_RAY:
        if sign in str(error):
            return meaning
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def worker_environment(gpus: bool, cpus: int) -> dict[str, str]:
    common = {
        "OMP_NUM_THREADS": str(cpus),
        "TOKENIZERS_PARALLELISM": "false",
        output.FOLDER: str(output.log_folder() or ""),
    }
    return common if gpus else {**common, "DS_ACCELERATOR": "cpu"}


# Rank side


def train(settings: dict[str, Any]) -> None:
    """The training function of every rank. After a restart, jobs that are done stay done."""
    import ray.train

    context = ray.train.get_context()
    env.keep_log(f"train-{context.get_world_rank()}")
    for job in settings["jobs"]:
        if not (Path(job.destination) / LINEAGE).is_file():
            Rank(job, context.get_world_rank(), context.get_world_size(), Path(settings["log"])).train()
        barrier()


def barrier() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()


class Rank:
    """One rank's part of one job."""

    def __init__(self, job: TrainJob, rank: int, world: int, progress_file: Path) -> None:
        import torch

        self.job, self.rank, self.world = job, rank, world
        if not torch.cuda.is_available():
            torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        torch.manual_seed(job.seed)
        self.log = Log(job, progress_file, world) if rank == 0 else None
        self.rows = open_rows(Path(job.rows))
        self.eval_rows = open_rows(Path(job.eval_rows)) if job.eval_rows else None
        self.engine = start_engine(job, world)
        self.reference = self.reference_logprobs(self.rows, Path(job.rows)) if job.pairs else None
        self.eval_reference = None
        if job.pairs and self.eval_rows is not None:
            self.eval_reference = self.reference_logprobs(self.eval_rows, Path(job.eval_rows))

    def train(self) -> None:
        steps = self.job.schedule.steps
        done = self.resume()
        if self.log:
            self.log.begin(done)
        for step in range(done, steps):
            began = time.perf_counter()
            chosen = self.chosen(step)
            loss, norm, extra = self.step(chosen, step)
            seconds = time.perf_counter() - began
            evaluated = self.evaluate(step + 1)
            if self.log:
                tokens = len(chosen) * self.rows.tokens.shape[1] * (2 if self.job.pairs else 1)
                rate = self.job.schedule.at(step)
                self.log.step(step + 1, loss, norm, rate, tokens, seconds, {**extra, **evaluated}, self.engine.module)
            if (step + 1) % self.job.checkpoint_every == 0 and self.job.run_dir:
                self.save(step + 1)
        self.finish()

    def tell(self, status: str, step: int | None = None) -> None:
        """What this rank does, for who waits."""
        if self.log:
            self.log.status(status, step)

    # Rows

    def chosen(self, step: int) -> Any:
        """Indices of the rows, or pairs, of a step."""
        return batch_rows(self.count(self.rows), step, self.job.batch, self.job.seed, shuffle=self.job.shuffle)

    def count(self, rows: Rows) -> int:
        """Units: rows, or pairs."""
        return len(rows) // (2 if self.job.pairs else 1)

    def units(self, rows: Rows, chosen: Any) -> Rows:
        """The rows of the chosen units; a pair is two rows."""
        import numpy as np

        return rows.take(np.stack([2 * chosen, 2 * chosen + 1], 1).ravel() if self.job.pairs else chosen)

    def mine(self, chosen: Any) -> list[Any]:
        """This rank's micro-batches of the chosen units: those of a step are dealt in turn."""
        own = chosen[self.rank :: self.world]
        return [own[start : start + self.job.micro_batch] for start in range(0, len(own), self.job.micro_batch)]

    # One optimizer step

    def step(self, chosen: Any, step: int) -> tuple[float, float, dict[str, float]]:
        """Train on the chosen units. Returns the step's loss (mean over its N), the gradient's norm
        before clipping, and what else the loss tells.

        DeepSpeed averages gradients over ranks, so each rank's part is multiplied by their number.
        """
        import torch

        job, engine, norm = self.job, self.engine, 0.0
        denominator = max(1, len(chosen) if job.pairs else int(self.rows.mask[chosen].sum()))
        for group in engine.optimizer.param_groups:
            group["lr"] = job.schedule.at(step)
        sums = torch.zeros(4, device=engine.device)
        parts = self.mine(chosen)
        for number, part in enumerate(parts, 1):
            compiles = ", compiling" if self.job.compile and self.log and not self.log.steps else ""
            self.tell(f"step {step + 1}: micro-batch {number} of {len(parts)}{compiles}", step)
            torch.manual_seed(noise_seed(job.seed, step, part[0]))  # of dropout
            losses = self.forward(self.rows, part, self.reference, step)
            engine.backward(losses[0] * (self.world / denominator), scale_wrt_gas=False)
            if clips_itself(job) and engine.is_gradient_accumulation_boundary():
                norm = float(torch.nn.utils.clip_grad_norm_(engine.module.parameters(), job.clip))
            engine.step()
            sums += losses.detach()
        sums = self.total(sums) / denominator
        extra = {"pairs/accuracy": float(sums[1]), "pairs/margin": float(sums[2])} if job.pairs else {}
        return float(sums[0]), norm or float(engine.get_global_grad_norm() or 0), extra

    def forward(self, rows: Rows, part: Any, reference: Any, step: int = 0) -> Any:
        """Sums over the part: [loss, pairs ranked right, margin, 0]."""
        import torch

        device = self.engine.device
        tensors = to_device(self.units(rows, part), device)
        if self.job.pairs:
            return self.engine(*tensors, torch.from_numpy(reference[part]).to(device))
        noise = [noise_seed(self.job.seed, step, row) for row in part] if self.job.neftune else None
        return self.engine(*tensors, noise_seeds_B=noise)

    def total(self, value: Any) -> Any:
        import torch.distributed as dist

        if self.world > 1:
            dist.all_reduce(value)
        return value

    # Held-out loss

    def evaluate(self, step: int) -> dict[str, float]:
        """Held-out measurements at the steps that make them; the best so far is kept in `<run_dir>/best`."""
        job = self.job
        if self.eval_rows is None or (step % job.eval_every and step != job.schedule.steps):
            return {}
        measured = self.held_out()
        loss = measured["eval/loss"]
        best = Path(job.run_dir) / "best"
        # Read before anyone writes it: all ranks must come to the same answer.
        improved = job.best and loss < read_lineage(best).get("eval_loss", float("inf"))
        barrier()
        if improved:
            self.export(best, {"eval_loss": loss, "step": step})
        return measured

    def held_out(self) -> dict[str, float]:
        import torch

        assert self.eval_rows is not None
        sums = torch.zeros(4, device=self.engine.device)
        self.engine.eval()
        with torch.no_grad():
            for number, (part, counts) in enumerate(self.dealt(self.count(self.eval_rows))):
                self.tell(f"held-out loss, {number * self.world * len(part):,} of {self.count(self.eval_rows):,}")
                losses = self.forward(self.eval_rows, part, self.eval_reference)
                sums += counts * losses
        self.engine.train()
        count = self.count(self.eval_rows) if self.job.pairs else self.eval_rows.targets
        sums = self.total(sums) / max(1, count)
        extra = {"eval/pairs_accuracy": float(sums[1])} if self.job.pairs else {}
        return {"eval/loss": float(sums[0]), **extra}

    def reference_logprobs(self, rows: Rows, folder: Path) -> Any:
        """log pi_ref of every pair's completions, [pairs, 2]: made once by the untrained policy, then cached."""
        import numpy as np
        import torch

        cache = folder / "reference.npy"
        found = cache.is_file()
        barrier()  # nobody writes it before all have looked
        if not found:
            logprobs = torch.zeros(self.count(rows), 2, device=self.engine.device)
            self.engine.eval()
            with torch.no_grad():
                for number, (part, counts) in enumerate(self.dealt(self.count(rows))):
                    done = number * self.world * len(part)
                    self.tell(f"reference log-probabilities, {done:,} of {self.count(rows):,} pairs")
                    tensors = to_device(self.units(rows, part), self.engine.device)
                    scored = self.engine.module.row_logprobs(*tensors).view(-1, 2).float()
                    if counts:
                        logprobs[part] = scored
            self.engine.train()
            logprobs = self.total(logprobs)
            if self.rank == 0:
                partial = cache.with_suffix(".partial.npy")
                np.save(partial, logprobs.cpu().numpy())
                partial.replace(cache)
        barrier()
        return np.load(cache)

    def dealt(self, count: int) -> Iterator[tuple[Any, bool]]:
        """This rank's micro-batches of units 0 to `count`, and whether each counts: every rank gets as
        many as any other, since each takes part in the collectives of sharded weights."""
        import numpy as np

        size = self.job.micro_batch
        parts = [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
        for place in range(self.rank, -(-len(parts) // self.world) * self.world, self.world):
            yield parts[min(place, len(parts) - 1)], place < len(parts)

    # Saving

    def resume(self) -> int:
        """Load the newest complete checkpoint; the number of steps that are done."""
        if not self.job.run_dir:
            return 0
        from srm_ray.runs import checkpoints

        found = checkpoints.newest(Path(self.job.run_dir) / "checkpoints")
        if found is None:
            return 0
        step, folder = found
        self.engine.load_checkpoint(str(folder), tag="state")
        return step

    def save(self, step: int) -> None:
        """Commit `checkpoints/step_<step>`: training state of every rank, and the model's folder."""
        from srm_ray.runs import checkpoints

        root = Path(self.job.run_dir) / "checkpoints"
        if self.log:
            self.log.flush()
            self.log.tell(status=f"writing the checkpoint of step {step}")
        with checkpoints.writing(root, step, keep=self.job.keep) if self.rank == 0 else contextlib.nullcontext():
            barrier()
            partial = root / f".step_{step}.partial"
            self.engine.save_checkpoint(str(partial), tag="state", save_latest=False)
            self.export(partial / "model", {"step": step})
            barrier()
        barrier()

    def finish(self) -> None:
        """`final/`: the best checkpoint by held-out loss where that is asked for, else the last weights."""
        job = self.job
        if self.log:
            self.log.tell(status=f"writing {job.destination}")
        best = Path(job.run_dir) / "best"
        if job.run_dir and job.eval_rows and job.best and (best / LINEAGE).is_file():
            if self.rank == 0:
                with replacing(Path(job.destination)) as partial:
                    shutil.copytree(best, partial)
        else:
            self.export(Path(job.destination), {"step": job.schedule.steps})
        if self.log:
            self.log.close()

    def export(self, folder: Path, extra: dict[str, Any]) -> None:
        """Write a Hugging Face folder: FP32 weights (or the adapter), config, tokenizer, lineage."""
        from srm_ray.model.folder import save_model

        weights = full_weights(self.engine, self.rank)
        if self.rank == 0:
            lineage = {**self.job.lineage, **extra}
            with replacing(folder) as partial:
                save_model(self.engine.module.model, weights, partial, tokenizer_from=self.job.model, lineage=lineage)


def noise_seed(seed: int, step: int, unit: int) -> int:
    """Seed of what is drawn at random for a unit of a step (NEFTune's noise), whoever computes it."""
    digest = hashlib.blake2b(f"noise/{seed}/{step}/{unit}".encode(), digest_size=7).digest()
    return int.from_bytes(digest)


def full_weights(engine: Any, rank: int) -> dict[str, Any]:
    """Name -> whole FP32 tensor on rank 0, of the trained weights where there is an adapter. Collective."""
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    masters = engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled()
    adapted = hasattr(engine.module.model, "peft_config")
    for name, weight in engine.module.model.named_parameters():
        if adapted and not weight.requires_grad:
            continue
        full = safe_get_full_fp32_param(weight) if masters else weight
        if rank == 0:
            weights[name] = full.detach().float().cpu().contiguous()
    return weights


def start_engine(job: TrainJob, world: int) -> Any:
    """Load the model and hand it, with its optimizer, to DeepSpeed."""
    import logging

    import deepspeed
    from deepspeed.utils import logger

    from srm_ray.model.adapters import load_policy
    from srm_ray.training import saved_state
    from srm_ray.training.deepspeed_ops import no_compiled_collectives
    from srm_ray.training.losses import backbone_of

    logger.setLevel(logging.ERROR)
    no_compiled_collectives()
    model = load_policy(job.model, job.adapter, attention=job.attention, liger=job.liger, precision=job.precision)
    if job.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if job.compile:
        backbone_of(model).compile()
    model.train()
    module = loss_module(model, job)
    engine, *_ = deepspeed.initialize(
        model=module, optimizer=make_optimizer(module, job), config=deepspeed_config(job, world)
    )
    saved_state.read_as_data(engine)
    return engine


def make_optimizer(module: Any, job: TrainJob) -> Any:
    from srm_ray.training.schedule import decay_groups

    groups = decay_groups(module, job.weight_decay)
    options: dict[str, Any] = {"lr": job.schedule.at(0), "betas": job.betas, "eps": job.eps}
    if job.adam_bits == 8:
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(groups, **options)
    import torch

    return torch.optim.AdamW(groups, fused=True, **options)


def clips_itself(job: TrainJob) -> bool:
    """Without ZeRO and reduced weights DeepSpeed clips but does not tell the norm, so the rank does both."""
    return job.zero_stage == 0 and job.precision in ("float32", "bf16_autocast")


def deepspeed_config(job: TrainJob, world: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": job.micro_batch,
        "gradient_accumulation_steps": -(-job.batch // (job.micro_batch * world)),
        "gradient_clipping": 0.0 if clips_itself(job) else job.clip,
        "zero_optimization": {"stage": job.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": job.precision == "bfloat16"},
        "fp16": {"enabled": job.precision == "float16"},
        "steps_per_print": 1_000_000_000,
    }


def loss_module(model: Any, job: TrainJob) -> Any:
    """A module whose forward pass returns summed losses of a micro-batch, shape [4]."""
    import torch

    from srm_ray.training import losses

    class SummedLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            tokens_BT: Any,
            positions_BT: Any,
            mask_BT: Any,
            reference_P2: Any = None,
            noise_seeds_B: Any = None,
        ) -> Any:
            if job.pairs:
                return self.pair_sums(self.row_logprobs(tokens_BT, positions_BT, mask_BT), reference_P2)
            logprobs_N = self.logprobs(tokens_BT, positions_BT, mask_BT, noise_seeds_B)
            kind = losses.TOKEN_LOSSES[job.loss] if self.training else losses.nll
            loss = kind(logprobs_N)
            return torch.stack([loss, *[loss.new_zeros(())] * 3])

        def logprobs(self, tokens_BT: Any, positions_BT: Any, mask_BT: Any, noise_seeds_B: Any = None) -> Any:
            reduced = job.precision == "bf16_autocast"
            kind = tokens_BT.device.type
            noise = (job.neftune, noise_seeds_B) if self.training and noise_seeds_B else None
            with torch.autocast(kind, torch.bfloat16) if reduced else contextlib.nullcontext():
                return losses.target_logprobs(self.model, tokens_BT, positions_BT, mask_BT, neftune=noise)

        def row_logprobs(self, tokens_BT: Any, positions_BT: Any, mask_BT: Any) -> Any:
            """Summed log-probability of each row's masked tokens, [B]."""
            logprobs_N = self.logprobs(tokens_BT, positions_BT, mask_BT)
            return losses.sum_by_row(logprobs_N, mask_BT)

        def pair_sums(self, logprobs_B: Any, reference_P2: Any) -> Any:
            delta_P2 = logprobs_B.view(-1, 2) - reference_P2
            chosen_P, rejected_P = delta_P2.unbind(1)
            margin_P = job.beta * (chosen_P - rejected_P)
            loss_P = losses.PAIR_LOSSES[job.loss](chosen_P, rejected_P, job.beta)
            zero = margin_P.new_zeros(())
            return torch.stack([loss_P.sum(), (margin_P > 0).float().sum(), margin_P.sum(), zero])

    return SummedLoss()


def to_device(rows: Rows, device: Any) -> tuple[Any, Any, Any]:
    import numpy as np
    import torch

    return (
        torch.from_numpy(np.asarray(rows.tokens, np.int64)).to(device),
        torch.from_numpy(np.asarray(rows.positions, np.int64)).to(device),
        torch.from_numpy(np.array(rows.mask)).to(device),
    )


class Log:
    """Rank 0's progress line and metrics of each step.

    Names: train/loss (nats a token, or a pair), train/grad_norm (before clipping), train/lr,
    train/tokens (positions computed), eval/loss, pairs/accuracy, pairs/margin, time/step (seconds),
    throughput/learner_tokens_per_s, throughput/mfu (share of the peak: the GPUs' BF16 peak as published,
    or what a CPU reaches in a large matrix product).
    """

    def __init__(self, job: TrainJob, progress_file: Path, world: int) -> None:
        from srm_ray.runs.metrics import MetricsLog

        self.job, self.file = job, progress_file
        self.peak = world * peak_flops(job.precision != "float32")
        folder = Path(job.run_dir)
        self.metrics = MetricsLog(folder / "metrics.jsonl", folder / "tensorboard") if job.run_dir else None
        self.spent, self.steps = 0.0, 0
        self.done = 0  # steps
        self.said = self.told = time.monotonic()

    def begin(self, done: int) -> None:
        if self.metrics:
            self.metrics.after(done)
        self.done = done
        self.tell(f"{self.job.name}: continuing after step {done}" if done else "")

    def tell(self, line: str = "", status: str = "") -> None:
        """To the driver: where this is, and a line to say."""
        record = {"job": self.job.name, "step": self.done, "steps": self.job.schedule.steps}
        with self.file.open("a") as file:
            file.write(json.dumps({**record, "status": status, "line": line}) + "\n")
        self.told = time.monotonic()
        self.said = self.told if line else self.said

    def status(self, status: str, step: int | None = None) -> None:
        """What goes on within a step; told every few seconds."""
        self.done = self.done if step is None else step
        if time.monotonic() - self.told > TELL_EVERY:
            self.tell(status=status)

    def step(
        self, step: int, loss: float, norm: float, lr: float, tokens: int, seconds: float, extra: Any, module: Any
    ) -> None:
        self.spent += seconds
        self.steps += 1
        self.done = step
        rate = tokens / seconds
        late = time.monotonic() - self.said > SAY_EVERY
        if late or step % self.job.say_every == 0 or step == self.job.schedule.steps or extra:
            left = self.spent / self.steps * (self.job.schedule.steps - step)
            measured = "".join(f"  {name} {value:.4f}" for name, value in extra.items())
            self.tell(
                f"{self.job.name} {step}/{self.job.schedule.steps}  loss {loss:.4f}{measured}  grad_norm {norm:.2f}  "
                f"lr {lr:.2e}  {rate:,.0f} tokens/s  {duration(left)} left"
            )
        if self.metrics:
            record = {"step": step, "train/loss": loss, "train/grad_norm": norm, "train/lr": lr, "train/tokens": tokens}
            speed = {
                "time/step": seconds,
                "throughput/learner_tokens_per_s": rate,
                **utilisation(module, rate, self.peak),
            }
            self.metrics.write({**record, **extra, **speed})

    def flush(self) -> None:
        if self.metrics:
            self.metrics.flush()

    def close(self) -> None:
        if self.metrics:
            self.metrics.flush()
            self.metrics.close()


PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


def peak_flops(reduced: bool) -> float:
    """FLOPs a second of this rank's device at best; 0 for a GPU that is not known. On a CPU measured,
    in BF16 where `reduced`."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        return next((flops for known, flops in PEAK_FLOPS.items() if known in name), 0.0)
    size, seconds = 1024, []
    square = torch.ones(size, size, dtype=torch.bfloat16 if reduced else torch.float32)
    for _ in range(4):
        began = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def utilisation(module: Any, tokens_per_second: float, peak: float) -> dict[str, float]:
    """Model FLOPs utilisation: 6 FLOPs a parameter and token (PaLM, appendix B)."""
    if not peak:
        return {}
    parameters = sum(getattr(weight, "ds_numel", weight.numel()) for weight in module.parameters())
    return {"throughput/mfu": 6 * parameters * tokens_per_second / peak}
