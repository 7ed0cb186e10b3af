"""The one DeepSpeed engine, of every stage and of GRPO's learner: build, step, gradient norm, save, load, weights.

    loss of a micro-batch --backward--> ... the last one's --> step(lr) --> gradient norm

DeepSpeed holds FP32 parameters (the master weights); with bf16_autocast the module's own forward pass computes in BF16,
entered inside it, not around the engine, so that gradients are reduced over ranks in FP32.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from srm_ray.config.optim import OptimizerConfig
from srm_ray.config.precision import AUTO
from srm_ray.model.lora import is_adapted, save_adapter_alone

if TYPE_CHECKING:
    import torch
    from deepspeed import DeepSpeedEngine
    from torch import Tensor, nn
    from transformers import PreTrainedModel

TAG = "state"
FORMER_TAG = "learner"  # of GRPO's checkpoints, when its engine was another


class Engine:
    """A module under DeepSpeed. Calls that compute or communicate are made on every rank at once.

    module: its `model` is the transformers causal LM (or one with an adapter), whose weights are saved. options: with
    the precision settled. compiling: entered while an operator is compiled, which takes minutes.

    The process group is joined from the environment (RANK, WORLD_SIZE, MASTER_ADDR, ...) unless there is one.
    """

    def __init__(
        self,
        module: "nn.Module",
        options: OptimizerConfig,
        compiling: contextlib.AbstractContextManager[object] | None = None,
    ):
        import logging

        import deepspeed
        from deepspeed.utils import logger

        from srm_ray.training import saved_state
        from srm_ray.training.deepspeed_ops import no_compiled_collectives

        if options.precision == AUTO:
            raise ValueError("precision auto is settled by the driver, before an engine is built")
        logger.setLevel(logging.ERROR)
        no_compiled_collectives()
        self.module, self.options = module, options
        self.model = cast("PreTrainedModel", module.model)
        if is_adapted(self.model):
            save_adapter_alone(module)
        with compiling or contextlib.nullcontext():
            optimizer = make_optimizer(module, options)
        self.deepspeed: DeepSpeedEngine
        self.deepspeed, self.optimizer, _, _ = deepspeed.initialize(
            model=module, optimizer=optimizer, config=deepspeed_config(options)
        )
        saved_state.read_as_data(self.deepspeed)
        self.rank, self.world = deepspeed.comm.get_rank(), deepspeed.comm.get_world_size()

    @property
    def device(self) -> "torch.device":
        return self.deepspeed.device

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The module's forward pass."""
        return self.deepspeed(*inputs, **options)

    def train(self, mode: bool = True) -> None:
        self.deepspeed.train(mode)

    def count(self) -> int:
        """Parameters of the whole model."""
        return sum(getattr(p, "ds_numel", p.numel()) for p in self.module.parameters())

    # One optimizer step

    def backward(self, loss: "Tensor", *, last: bool) -> None:
        """Gradients of one micro-batch. last: of this rank's in the step.

        loss: its part of the step's; parts add up, over micro-batches and ranks, where DeepSpeed would average over
        ranks and divide by a number of micro-batches.
        """
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.deepspeed.backward(loss * self.world, scale_wrt_gas=False)
        if not last:
            self.deepspeed.step()  # counts the micro-batch, and does not step

    def step(self, lr: float) -> float:
        """The optimizer step on what `backward` gathered. Returns the gradient norm before clipping."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = lr
        norm = None
        if clips_itself(self.options):
            norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.options.clip_grad)
        self.deepspeed.step()
        return float(self.deepspeed.get_global_grad_norm() or 0.0) if norm is None else float(norm)

    # Weights and checkpoints

    @contextlib.contextmanager
    def gathered(self) -> "Iterator[list[tuple[str, nn.Parameter]]]":
        """The model's named parameters, whole on every rank and as the module computes with them, within the block."""
        import deepspeed

        named = list(self.model.named_parameters())
        with deepspeed.zero.GatheredParameters([p for _, p in named], enabled=self.options.zero_stage == 3):
            yield named

    def weights(self) -> "dict[str, Tensor]":
        """Name -> whole FP32 tensor in CPU memory on rank 0, the master weights where there are any; of a model with an
        adapter, of the trained ones. Collective."""
        from deepspeed.utils import safe_get_full_fp32_param

        model, engine, found = self.model, self.deepspeed, {}
        masters = engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled()
        adapted = is_adapted(model)
        for name, weight in model.named_parameters():
            if adapted and not weight.requires_grad:
                continue
            full = safe_get_full_fp32_param(weight) if masters else weight
            if self.rank == 0:
                found[name] = full.detach().float().cpu().contiguous()
        return found

    def save(self, folder: Path, **client_state: Any) -> None:
        """Weights, optimizer and `client_state` (plain values) into `folder`, every rank its part; of a model with an
        adapter without the base, which is where it was."""
        self.deepspeed.save_checkpoint(
            str(folder),
            tag=TAG,
            client_state=client_state,
            save_latest=False,
            exclude_frozen_parameters=is_adapted(self.model),
        )

    def load(self, folder: Path) -> dict[str, Any]:
        """What `save` wrote. Returns the client state; raises RuntimeError where there is none."""
        tag = FORMER_TAG if (folder / FORMER_TAG).is_dir() else TAG
        path, client_state = self.deepspeed.load_checkpoint(
            str(folder), tag=tag, load_module_strict=not is_adapted(self.model)
        )
        if path is None:
            raise RuntimeError(f"no training state in {folder}")
        return client_state


def make_optimizer(module: "nn.Module", options: OptimizerConfig) -> "torch.optim.Optimizer":
    """AdamW in the variant that the options ask for. Its learning rate is set at each step."""
    import torch

    from srm_ray.training.schedule import decay_groups

    groups = decay_groups(module, options.weight_decay)
    settings: dict[str, Any] = {"lr": options.lr, "betas": options.betas, "eps": options.eps}
    if options.offload_optimizer:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(groups, **settings)
    if options.adam_bits == 8:
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(groups, **settings)
    # On a CPU, ZeRO's one flat tensor gains little by a fused step, which rounds otherwise than records of runs did.
    return torch.optim.AdamW(groups, fused=options.zero_stage == 0 or torch.cuda.is_available(), **settings)


def clips_itself(options: OptimizerConfig) -> bool:
    """Without ZeRO and reduced weights DeepSpeed clips but does not return the norm, so the engine does both."""
    return options.zero_stage == 0 and options.precision in ("float32", "bf16_autocast")


def deepspeed_config(options: OptimizerConfig) -> dict[str, Any]:
    """Accumulation is steered by hand (`Engine.backward`), so the numbers of it are 1."""
    zero: dict[str, Any] = {"stage": options.zero_stage}
    if options.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0 if clips_itself(options) else options.clip_grad,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": options.precision == "bfloat16"},
        "fp16": {"enabled": options.precision == "float16"},
        "steps_per_print": 1 << 30,
    }
