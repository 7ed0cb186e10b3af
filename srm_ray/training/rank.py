"""One rank's part of a supervised or preference job.

    rows named by (seed, step) -> its share -> micro-batches -> loss sum / N -> DeepSpeed -> step

N is the number of loss tokens (or pairs) in the whole step, over all ranks and micro-batches. Every rank knows it from
the rows themselves, so loss and gradient do not depend on how a step is divided.

A step is a pure function of weights, optimizer state and (seed, step). So the newest complete checkpoint and its number
are all that resuming needs, whether Ray Train restarted a dead worker or the user ran the command again.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srm_ray.data.packing import Rows, batch_rows, open_rows
from srm_ray.files.atomic import replacing, replacing_file
from srm_ray.model.folder import LINEAGE
from srm_ray.model.lineage import read_lineage
from srm_ray.training.deepspeed_ops import import_libraries
from srm_ray.training.engine import Engine
from srm_ray.training.job import TrainSpec
from srm_ray.training.log import StepResult, TrainLogger
from srm_ray.training.objectives import loss_module, noise_seed, to_device

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def policy_of(job: TrainSpec) -> "PreTrainedModel":
    """The model that the job trains, with its adapter where there is one."""
    from srm_ray.model.lora import load_policy
    from srm_ray.training.losses import backbone_of

    options = job.optim
    attention = "sdpa" if options.attention == "auto" else options.attention
    model = load_policy(job.model, job.adapter, attention=attention, liger=options.liger, precision=options.precision)
    if options.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if options.compile:
        backbone_of(model).compile()
    return model.train()


def barrier() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()


class Rank:
    """One rank's part of one job."""

    def __init__(self, job: TrainSpec, rank: int, world: int, progress_file: Path) -> None:
        import_libraries()
        import torch

        self.job, self.rank, self.world = job, rank, world
        if not torch.cuda.is_available():
            torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        torch.manual_seed(job.seed)
        self.log = TrainLogger(job, progress_file, world) if rank == 0 else None
        self.rows = open_rows(Path(job.rows))
        self.eval_rows = open_rows(Path(job.eval_rows)) if job.eval_rows else None
        self.module = loss_module(policy_of(job), job)
        self.engine = Engine(self.module, job.optim)
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
                made = StepResult(loss, norm, tokens, seconds, {**extra, **evaluated})
                self.log.step(step + 1, made, self.module)
            if (step + 1) % self.job.checkpoint_every == 0 and self.job.run_dir:
                self.save(step + 1)
        self.finish()

    def report(self, status: str, step: int | None = None) -> None:
        """What this rank does, for who waits."""
        if self.log:
            self.log.status(status, step)

    # Rows

    def chosen(self, step: int) -> np.ndarray:
        """Indices of the rows, or pairs, of a step."""
        return batch_rows(self.count(self.rows), step, self.job.optim.batch, self.job.seed, shuffle=self.job.shuffle)

    def count(self, rows: Rows) -> int:
        """Units: rows, or pairs."""
        return len(rows) // (2 if self.job.pairs else 1)

    def units(self, rows: Rows, chosen: np.ndarray) -> Rows:
        """The rows of the chosen units; a pair is two rows."""
        return rows.take(np.stack([2 * chosen, 2 * chosen + 1], 1).ravel() if self.job.pairs else chosen)

    def mine(self, chosen: np.ndarray) -> list[np.ndarray]:
        """This rank's micro-batches of the chosen units: those of a step are dealt in turn."""
        own = chosen[self.rank :: self.world]
        return [
            own[start : start + self.job.optim.micro_batch] for start in range(0, len(own), self.job.optim.micro_batch)
        ]

    # One optimizer step

    def step(self, chosen: np.ndarray, step: int) -> tuple[float, float, dict[str, float]]:
        """Train on the chosen units. Returns the step's loss (mean over its N), the gradient's norm
        before clipping, and what else the loss reports."""
        import torch

        job, engine = self.job, self.engine
        denominator = max(1, len(chosen) if job.pairs else int(self.rows.mask[chosen].sum()))
        sums = torch.zeros(4, device=engine.device)
        parts = self.mine(chosen)
        for number, part in enumerate(parts, 1):
            compiles = ", compiling" if job.optim.compile and self.log and not self.log.steps else ""
            self.report(f"step {step + 1}: micro-batch {number} of {len(parts)}{compiles}", step)
            torch.manual_seed(noise_seed(job.seed, step, part[0]))  # of dropout
            losses = self.forward(self.rows, part, self.reference, step)
            engine.backward(losses[0] * (1 / denominator), last=number == len(parts))
            sums += losses.detach()
        norm = engine.step(job.schedule.at(step))
        sums = self.total(sums) / denominator
        extra = {"pairs/accuracy": float(sums[1]), "pairs/margin": float(sums[2])} if job.pairs else {}
        return float(sums[0]), norm, extra

    def forward(self, rows: Rows, part: np.ndarray, reference: np.ndarray | None, step: int = 0) -> "Tensor":
        """Sums over the part: [loss, pairs ranked right, margin, 0]."""
        import torch

        device = self.engine.device
        tensors = to_device(self.units(rows, part), device)
        if reference is not None:
            return self.engine(*tensors, torch.from_numpy(reference[part]).to(device))
        noise = [noise_seed(self.job.seed, step, row) for row in part] if self.job.neftune else None
        return self.engine(*tensors, noise_seeds_B=noise)

    def total(self, value: "Tensor") -> "Tensor":
        """Summed over ranks."""
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
        self.engine.train(False)
        with torch.no_grad():
            for number, (part, counts) in enumerate(self.dealt(self.count(self.eval_rows))):
                self.report(f"held-out loss, {number * self.world * len(part):,} of {self.count(self.eval_rows):,}")
                losses = self.forward(self.eval_rows, part, self.eval_reference)
                sums += counts * losses
        self.engine.train()
        count = self.count(self.eval_rows) if self.job.pairs else self.eval_rows.targets
        sums = self.total(sums) / max(1, count)
        extra = {"eval/pairs_accuracy": float(sums[1])} if self.job.pairs else {}
        return {"eval/loss": float(sums[0]), **extra}

    def reference_logprobs(self, rows: Rows, folder: Path) -> np.ndarray:
        """log pi_ref of every pair's completions, [pairs, 2]: made once by the untrained policy, then cached."""
        import torch

        cache = folder / "reference.npy"
        found = cache.is_file()
        barrier()  # nobody writes it before all have looked
        if not found:
            logprobs = torch.zeros(self.count(rows), 2, device=self.engine.device)
            self.engine.train(False)
            with torch.no_grad():
                for number, (part, counts) in enumerate(self.dealt(self.count(rows))):
                    done = number * self.world * len(part)
                    self.report(f"reference log-probabilities, {done:,} of {self.count(rows):,} pairs")
                    tensors = to_device(self.units(rows, part), self.engine.device)
                    scored = self.module.row_logprobs(*tensors).view(-1, 2).float()
                    if counts:
                        logprobs[part] = scored
            self.engine.train()
            logprobs = self.total(logprobs)
            if self.rank == 0:
                with replacing_file(cache) as partial, partial.open("wb") as file:
                    np.save(file, logprobs.cpu().numpy())
        barrier()
        return np.load(cache)

    def dealt(self, count: int) -> Iterator[tuple[np.ndarray, bool]]:
        """This rank's micro-batches of units 0 to `count`, and whether each counts: every rank gets as
        many as any other, since each takes part in the collectives of sharded weights."""
        size = self.job.optim.micro_batch
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
        self.engine.load(folder)
        return step

    def save(self, step: int) -> None:
        """Commit `checkpoints/step_<step>`: training state of every rank, and the model's folder."""
        from srm_ray.runs import checkpoints

        root = Path(self.job.run_dir) / "checkpoints"
        if self.log:
            self.log.flush()
            self.log.report(status=f"writing the checkpoint of step {step}")
        with checkpoints.writing(root, step, keep=self.job.keep) if self.rank == 0 else contextlib.nullcontext():
            barrier()
            partial = root / f".step_{step}.partial"
            self.engine.save(partial)
            self.export(partial / "model", {"step": step})
            barrier()
        barrier()

    def finish(self) -> None:
        """`final/`: the best checkpoint by held-out loss where that is asked for, else the last weights."""
        job = self.job
        if self.log:
            self.log.report(status=f"writing {job.destination}")
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

        weights = self.engine.weights()
        if self.rank == 0:
            lineage = {**self.job.lineage, **extra}
            with replacing(folder) as partial:
                save_model(
                    self.engine.model,
                    weights,
                    partial,
                    tokenizer_from=self.job.model,
                    lineage=lineage,
                    chat_template=self.job.chat_template,
                )
