"""`--dry-run`: parameters, memory and placement of a training job, against what the cluster has."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from srm_ray.config.lora import LoraConfig
from srm_ray.config.optim import OptimizerConfig
from srm_ray.config.stages import TrainStage
from srm_ray.console.progress import echo
from srm_ray.training.logits import targets_at_once

if TYPE_CHECKING:
    from transformers import PretrainedConfig

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each worker's device. copies: the weights as BF16 computes with them."""

    weights: float
    copies: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return sum(getattr(self, part.name) for part in fields(self))


@dataclass(frozen=True, slots=True)
class ModelSize:
    """parameters: all, but for an adapter's. trained: of them, or the adapter's. hidden, ffn: widths. nf4: weights that
    are not trained take 4 bits."""

    parameters: int
    trained: int
    hidden: int
    layers: int
    ffn: int
    vocabulary: int
    nf4: bool = False


def memory(size: ModelSize, optim: OptimizerConfig, *, workers: int, tokens: int) -> Memory:
    """Estimate for FP32 masters, with products in BF16 unless the precision is float32. tokens: of a forward pass.

    ZeRO 1 shards the optimizer, 2 also gradients, 3 also weights (Rajbhandari et al. 2020, table 1).
    Activations for each token and layer: 40 x hidden + 8 x feed-forward bytes, which is what transformers'
    Qwen3 keeps for the backward pass in autocast (its norms and residual stream are FP32; a test
    measures it); fused kernels keep less. With activation checkpointing the layer's input alone, and
    one layer in full. Logits: 6 bytes kept and 4 of gradient, a chunk of targets at a time.
    """
    shard = [1 if optim.zero_stage < stage else workers for stage in (1, 2, 3)]
    layer = 40 * size.hidden + 8 * size.ffn
    base = size.parameters if size.trained < size.parameters else 0  # of an adapter, which is not among them
    frozen = base * (0.55 if size.nf4 else 4)
    kept = size.layers * 4 * size.hidden + layer if optim.activation_checkpointing else size.layers * layer
    return Memory(
        weights=(size.trained * 4 + frozen) / shard[2],
        copies=2 * size.parameters / shard[2] if optim.precision != "float32" else 0,
        gradients=size.trained * 4 / shard[1],
        optimizer=0 if optim.offload_optimizer else size.trained * (8 if optim.adam_bits == 32 else 2) / shard[0],
        activations=tokens * kept,
        logits=min(tokens, targets_at_once(size.vocabulary)) * size.vocabulary * 10,
    )


def show_plan(config: TrainStage, model: str, row_length: int, lora: LoraConfig, rows_per_unit: int = 1) -> int:
    """Print the plan of a stage that starts from `model`; exit status 0."""
    from transformers import AutoConfig

    return show_plan_of(
        config, AutoConfig.from_pretrained(model, trust_remote_code=False), row_length, lora, rows_per_unit
    )


def size_of(model_config: "PretrainedConfig", lora: LoraConfig) -> ModelSize:
    parameters, trained = count(model_config, lora)
    return ModelSize(
        parameters,
        trained,
        hidden=model_config.hidden_size,
        layers=model_config.num_hidden_layers,
        ffn=model_config.intermediate_size,
        vocabulary=model_config.vocab_size,
        nf4=lora.quantise == "nf4",
    )


def training_memory(
    config: TrainStage, model_config: "PretrainedConfig", row_length: int, lora: LoraConfig, rows_per_unit: int = 1
) -> tuple[ModelSize, Memory]:
    """The model, and bytes on each worker of a training stage."""
    size = size_of(model_config, lora)
    tokens = config.optim.micro_batch * rows_per_unit * row_length
    return size, memory(size, config.optim, workers=config.workers, tokens=tokens)


def show_plan_of(
    config: TrainStage, model_config: "PretrainedConfig", row_length: int, lora: LoraConfig, rows_per_unit: int = 1
) -> int:
    size, need = training_memory(config, model_config, row_length, lora, rows_per_unit)
    optim = config.optim
    echo(f"parameters     {size.parameters:,} ({size.trained:,} trained)")
    echo(f"placement      {config.workers} Ray Train worker(s), ZeRO stage {optim.zero_stage}")
    echo(
        f"step           {optim.batch} units = {optim.batch // (optim.micro_batch * config.workers)} micro-batches of "
        f"{optim.micro_batch} on each worker, {optim.batch * rows_per_unit * row_length:,} tokens"
    )
    for name in (*(part.name for part in fields(need)), "total"):
        echo(f"{name:<14} {getattr(need, name) / GIB:8.2f} GiB on each worker")
    echo("KV cache           0.00 GiB on each worker (nothing is generated)")
    echo(f"cluster        {cluster(config.workers, need.total)}")
    return 0


def count(model_config: "PretrainedConfig", lora: LoraConfig) -> tuple[int, int]:
    """(all parameters, trained ones), on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    from srm_ray.model.lora import Adapter, trainable, with_adapter

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(model_config)
        parameters = sum(weight.numel() for weight in model.parameters())
        adapter = Adapter.of(lora)
        return parameters, trainable(with_adapter(model, adapter)) if adapter else parameters


def cluster(workers: int, need: float) -> str:
    """What the machine or cluster has, and whether the job fits."""
    import psutil
    import torch

    if torch.cuda.is_available():
        have = [torch.cuda.get_device_properties(n).total_memory for n in range(torch.cuda.device_count())]
        fits = len(have) >= workers and min(have) >= need
        text = f"{len(have)} GPU(s) here of {min(have) / GIB:.0f} GiB"
    else:
        total = psutil.virtual_memory().total
        fits = total >= need * workers
        text = f"no GPU here; {psutil.cpu_count()} CPU cores, {total / GIB:.0f} GiB of memory"
    return f"{text}: {'fits' if fits else 'does not fit'} {workers} x {need / GIB:.2f} GiB"
