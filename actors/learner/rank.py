"""Learner: one DeepSpeed rank in one Ray actor. Micro-batches in, updated weights out.

    driver --PackedBatch--> accumulate (forward, backward) --sums--> driver checks the mismatch
    driver --lr-----------> apply (optimizer step)         --grad norm-->
    driver <--WeightUpdate- publish (flat buffer in shared memory)

`accumulate` and `apply` are two calls so that the driver can refuse a batch whose log-probabilities do
not agree with the rollout workers' before anything is updated.
"""

import os
import random
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actors.learner.publishing import Publishing
from actors.learner.spec import LearnerSpec, Numerics, Started, StepSums, Update
from actors.learner.sums import Sums, Tokens
from actors.runtime import env
from actors.runtime.labels import STARTING, describe, node_id, show_status
from actors.runtime.liveness import STARTING as START
from actors.runtime.liveness import Progress, tracked
from actors.runtime.replies import PingReply, WorkerInfo
from srm_ray.errors import RunError
from srm_ray.process import memory
from srm_ray.rl.algorithms.contract import TokenInputs
from srm_ray.rl.batching import PackedBatch
from srm_ray.training import saved_state
from srm_ray.training.algorithm import algorithm_of
from srm_ray.training.deepspeed_ops import import_libraries
from srm_ray.training.engine import Engine
from srm_ray.weights.flat import WeightUpdate

if TYPE_CHECKING:
    from torch import Tensor

    from srm_ray.model.policy import PolicyModel


class Learner:
    """A rank. Calls that contain collectives (all but `address` and `ping`) go to every rank at once."""

    def __init__(self, rank: int, world_size: int, spec: LearnerSpec):
        self.rank, self.world_size, self.spec = rank, world_size, spec
        self.name = f"learner-{rank}"
        env.keep_log(self.name)
        self.version = 0
        self.state = STARTING
        self.publishing: Publishing | None = None
        self.progress = Progress()
        self.node = node_id()
        self.algorithm = algorithm_of(spec.algorithm, spec.loss)

    def __repr__(self) -> str:
        return describe("Learner", self.name, self.version, self.state)

    def address(self) -> tuple[str, int]:
        """Where the ranks meet: this actor's host and a free port."""
        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    @tracked(START)
    def start(self, master: tuple[str, int]) -> Started:
        """Join the group and build model, optimizer and engine."""
        self._prepare_environment(master)
        import_libraries()
        import torch

        if not self.spec.learner.gpus:
            torch.set_num_threads(self.spec.threads)
        self._seed()
        module = self._build_policy()
        # Of an adapter the reference is the base, with the adapter off: no second model.
        second = bool(self.spec.loss.kl_beta and not self.spec.learner.lora.rank)
        self.reference = self._build_policy().eval().requires_grad_(False) if second else None
        compiling = self.progress.doing(START, "(compiling DeepSpeed's Adam for this CPU, once)")
        self.engine = Engine(module, self.spec.learner, compiling)
        if self.reference is not None:
            self.reference.to(self.engine.device)
        self._set_state("ready")
        return Started(os.getpid(), self.node, self._numerics())

    def _numerics(self) -> Numerics:
        import torch

        gpu = bool(self.spec.learner.gpus)
        return {
            "threads": self.spec.threads,
            "device": torch.cuda.get_device_name(self.engine.device)
            if gpu
            else torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "deepspeed": metadata.version("deepspeed"),
        }

    def _prepare_environment(self, master: tuple[str, int]) -> None:
        """What torch.distributed and DeepSpeed read, set before either is imported."""
        host, port = master
        gpu = bool(self.spec.learner.gpus)
        os.environ.update(
            RANK=str(self.rank),
            WORLD_SIZE=str(self.world_size),
            # Ray shows each actor its own GPUs only, so a GPU rank's device is always number 0.
            LOCAL_RANK="0" if gpu else str(self.rank),
            LOCAL_SIZE=str(self.world_size),
            MASTER_ADDR=host,
            MASTER_PORT=str(port),
            TOKENIZERS_PARALLELISM="false",
        )
        if not gpu:
            os.environ.update(DS_ACCELERATOR="cpu", OMP_NUM_THREADS=str(self.spec.threads))
            # oneDNN keeps a kernel for each of the newest shapes, by default of so many that they fill for 500 steps.
            # With few of them a step takes as long.
            os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

    def _seed(self) -> None:
        import torch

        random.seed(self.spec.seed)
        np.random.seed(self.spec.seed)
        torch.manual_seed(self.spec.seed)

    def _build_policy(self) -> "PolicyModel":
        import torch

        from srm_ray.model.lora import Adapter, load_policy
        from srm_ray.model.policy import PolicyModel

        options = self.spec.learner
        whole = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(options.precision, torch.float32)
        model = load_policy(self.spec.model, Adapter.of(options.lora), precision=options.precision, dtype=whole)
        if options.activation_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        autocast = torch.bfloat16 if options.precision == "bf16_autocast" else None
        return PolicyModel(
            model,
            temperature=self.spec.temperature,
            autocast=autocast,
            entropy_gradient=self.spec.loss.entropy_bonus,
        )

    # The step

    def accumulate(self, batches: list[PackedBatch], update: Update) -> StepSums:
        """Forward and backward over this rank's micro-batches. Returns sums over completion tokens."""
        self._set_state("learning")
        self.engine.train()
        sums = Sums()
        for index, batch in enumerate(self._followed("learning from", batches)):
            loss = self._micro_loss(batch, update, sums)
            self.engine.backward(loss, last=index == len(batches) - 1)
        return sums.result()

    @tracked("updating weights")
    def apply(self, lr: float) -> float:
        """The optimizer step on what `accumulate` gathered. Returns the gradient norm before clipping."""
        self._set_state("updating")
        norm = self.engine.step(lr)
        self.version += 1
        self._set_state("ready")
        return norm

    def logprobs(self, batches: list[PackedBatch]) -> list[np.ndarray]:
        """Log-probabilities of each micro-batch's completion tokens under the current weights. [C] each."""
        return [logprobs_C for logprobs_C, _ in self.scores(batches)]

    def scores(self, batches: list[PackedBatch]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Log-probabilities, and entropies where they were drawn, of each micro-batch's completion tokens. [C] each."""
        import torch

        self.engine.train(False)
        with torch.no_grad():
            found = [self._forward(self.engine, batch)[:2] for batch in self._followed("scoring", batches)]
        return [(logprobs_C.cpu().numpy(), entropy_C.cpu().numpy()) for logprobs_C, entropy_C in found]

    def _followed(self, kind: str, batches: list[PackedBatch]) -> Iterator[PackedBatch]:
        """The micro-batches, each a step that the watchdog sees."""
        for index, batch in enumerate(batches):
            with self.progress.doing(kind, f"micro-batch {index + 1} of {len(batches)}"):
                yield batch

    def _micro_loss(self, batch: PackedBatch, update: Update, sums: Sums) -> "Tensor":
        import torch

        from srm_ray.rl import distillation
        from srm_ray.rl import loss as losses

        options, teacher = self.spec.loss, self.spec.teacher
        logprobs_C, entropy_C, *top = self._forward(self.engine, batch, top=bool(teacher and teacher.top_k))
        rollout_C = self._tensor(batch.rollout_logprobs_C)
        mask_C = self._tensor(batch.mask_C).to(logprobs_C.dtype)
        advantages_C, sequence_C = self._tensor(batch.advantages_C), self._tensor(batch.sequence_C)
        own_C = logprobs_C.detach() if batch.old_logprobs_C is None else self._tensor(batch.old_logprobs_C)
        old_C = rollout_C if options.ratio_against == "rollout" else own_C
        if teacher and not teacher.top_k:
            scored_C = self._of_teacher(batch.teacher_logprobs_C)
            advantages_C = distillation.token_advantages(advantages_C, own_C, scored_C, teacher.weight)
        terms = self.algorithm.loss(TokenInputs(logprobs_C, old_C, advantages_C, mask_C, sequence_C))
        weights_C = self._mismatch_weights(own_C, rollout_C, mask_C, sequence_C)
        masked = ((weights_C == 0) * mask_C).sum()
        by_sequence = self.algorithm.options.normalisation == "sequences"
        if by_sequence and not terms.averaged:
            weights_C = weights_C * losses.sequence_weights(mask_C, sequence_C)
        policy_C = mask_C if batch.policy_mask_C is None else mask_C * self._tensor(batch.policy_mask_C)
        loss = losses.reduced(terms, weights_C, policy_C, update.denominator)
        if update.entropy_beta:
            share_C = losses.sequence_weights(mask_C, sequence_C) if by_sequence else torch.ones_like(mask_C)
            bonus = (entropy_C * share_C * mask_C).sum() / update.denominator
            loss = loss - update.entropy_beta * bonus
        if options.kl_beta:
            kl = losses.kl_loss(logprobs_C, self._reference_logprobs(batch), mask_C, denominator=update.denominator)
            loss = loss + options.kl_beta * kl
            sums.add(kl=kl.detach())
        if teacher and teacher.top_k:
            apart_C = distillation.top_k_reverse_kl(top[0], self._of_teacher(batch.teacher_top_CK))
            share_C = losses.sequence_weights(mask_C, sequence_C) if by_sequence else torch.ones_like(mask_C)
            apart = (apart_C * share_C * mask_C).sum() / update.denominator
            loss = loss + teacher.weight * apart
            sums.add(top_k_kl=(apart_C.detach() * mask_C).sum())
        sums.add(loss=loss.detach(), masked=masked)
        sums.add_tokens(
            batch,
            self.algorithm.options,
            Tokens(own_C, rollout_C, mask_C, advantages_C, entropy_C.detach(), ratio_C=terms.ratio_C),
        )
        return loss

    def _reference_logprobs(self, batch: PackedBatch) -> "Tensor":
        """Of the completion tokens under the model that the run began with, [C]."""
        import torch

        from srm_ray.model.lora import without_adapter

        with torch.no_grad():
            if self.reference is not None:
                return self._forward(self.reference, batch)[0]
            with without_adapter(self.engine.model):
                return self._forward(self.engine, batch)[0]

    def _mismatch_weights(
        self, old_C: "Tensor", rollout_C: "Tensor", mask_C: "Tensor", sequence_C: "Tensor"
    ) -> "Tensor":
        from srm_ray.rl import loss as losses

        options = self.spec.loss
        cap = None if options.ratio_against == "rollout" else options.importance_cap  # its ratio corrects already
        if options.importance_level == "token":
            return losses.mismatch_weights(old_C, rollout_C, cap=cap, band=options.importance_band)
        return losses.sequence_mismatch_weights(
            old_C,
            rollout_C,
            mask_C=mask_C,
            sequence_C=sequence_C,
            geometric=options.importance_level == "geometric",
            cap=cap,
            band=options.importance_band,
        )

    def _forward(
        self, module: "Engine | PolicyModel", batch: PackedBatch, *, top: bool = False
    ) -> "tuple[Tensor, ...]":
        """Log-probabilities and entropies of the completion tokens, both [C]; with `top` log-probabilities of the
        teacher's likeliest tokens, too, [C, K]."""
        from srm_ray.model.packed_attention import AttentionLayout

        layout = AttentionLayout([self._tensor(b) for b in batch.buckets], self._tensor(batch.output_T))
        return module(
            self._tensor(batch.tokens_T),
            self._tensor(batch.positions_T),
            layout,
            self._tensor(batch.predict_C),
            self._tensor(batch.targets_C),
            *([self._of_teacher(batch.teacher_ids_CK)] if top else []),
        )

    def _of_teacher(self, array: np.ndarray | None) -> "Tensor":
        if array is None:
            raise RunError("completions lack the scores of a teacher, or its top k: their record was made without it")
        return self._tensor(array)

    def _tensor(self, array: np.ndarray) -> "Tensor":
        import torch

        return torch.tensor(array, device=self.engine.device)

    # Weights

    @tracked("publishing weights")
    def publish(self, version: int, elsewhere: bool = False) -> WeightUpdate | None:
        """Write the current weights as `version`; rank 0 returns the update, the others None.

        elsewhere: put them into Ray's object store too, for workers on other nodes.
        """
        self._set_state("publishing weights")
        memory.give_back(version)
        if 0 < self.spec.learner.gpus < 1:
            import torch

            torch.cuda.empty_cache()  # what the step used is the engine's now
        if self.publishing is None:
            self.publishing = Publishing(self.spec, self.node)
        update = self.publishing.publish(version, self.engine, elsewhere=elsewhere)
        self.version = version
        self._set_state("ready")
        return update

    @tracked("publishing weights")
    def share(self, update: WeightUpdate) -> WeightUpdate | None:
        """An update that was published for this node, so that workers on other nodes can read it; None where this
        rank no longer has it."""
        if update.handles:  # they lead to the weights of now
            return update if update.version == self.version else None
        return self.publishing.share(update) if self.publishing else None

    # Checkpoints

    @tracked("saving")
    def save(self, folder: str) -> None:
        """Model, optimizer and random state into `folder`, on every rank."""
        self._set_state("saving")
        self.engine.save(Path(folder), version=self.version)
        saved_state.write_random_state(Path(folder) / f"random_{self.rank}.json")
        self._set_state("ready")

    @tracked("loading a checkpoint")
    def load(self, folder: str) -> None:
        self.version = self.engine.load(Path(folder))["version"]
        saved_state.read_random_state(Path(folder) / f"random_{self.rank}.json")

    @tracked("exporting weights")
    def export(self, folder: str, plain: bool = True) -> None:
        """Hugging Face weights and config into `folder` (rank 0 writes): plain ones, or of a policy with an adapter the
        adapter alone."""
        from srm_ray.model import lora
        from srm_ray.model.folder import save_adapter, save_plain

        policy = self.engine.model
        if lora.is_adapted(policy) and plain:
            with self.engine.gathered():
                weights = {name: w.float().cpu() for name, w in lora.Merged(policy)} if self.rank == 0 else {}
        else:
            weights = self.engine.weights()
        if self.rank:
            return
        if lora.is_adapted(policy) and not plain:
            save_adapter(policy, weights, Path(folder))
        else:
            save_plain(self.spec.model, weights, Path(folder))

    def ping(self) -> PingReply:
        info = WorkerInfo(self.name, os.getpid(), self.node, self.version, self.state)
        return PingReply(info, self.progress.report())

    def close(self) -> None:
        if self.publishing is not None:
            self.publishing.close()
            self.publishing = None

    def _set_state(self, state: str) -> None:
        self.state = state
        show_status(self, self.name, self.version, state)
